"""One run of the viewer: what is open, the pages that the browser gets, the door."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from importlib.resources import files
from pathlib import Path
from types import TracebackType

from walkaround.dataset.readers import Dataset, Scene
from walkaround.dataset.rows import is_without_sequences, nothing_built
from walkaround.errors import FormatError, UsageError, WalkaroundError
from walkaround.viewer.answers import (
    as_json,
    describe_pair,
    describe_scene,
    send_curve,
    send_image,
    send_poster,
)
from walkaround.viewer.gateway import Gateway, Request, Response, is_loopback
from walkaround.viewer.link import Link
from walkaround.viewer.list_answers import (
    describe_choices,
    open_sequence,
    send_page,
    send_thumbnail,
    take_review,
    wanted_key,
)
from walkaround.viewer.listing import Listing
from walkaround.viewer.places import is_sequence, open_scene
from walkaround.viewer.window import Window

logger = logging.getLogger(__name__)

DEFAULT_PORT = 8090
_POSTER_S = 2.0
"""So long the first picture waits for points."""
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
_PAGES = {
    "/": "index.html",
    "/app.css": "app.css",
    "/app.js": "app.js",
    "/pair.js": "pair.js",
    "/list.js": "list.js",
    "/stage.js": "stage.js",
}
_ANSWERS = {"/api/image": send_image, "/api/pair": describe_pair, "/api/epipolar": send_curve}
_LIST_ANSWERS = {
    "/api/choices": ("GET", describe_choices),
    "/api/list": ("GET", send_page),
    "/api/thumbnail": ("GET", send_thumbnail),
    "/api/open": ("POST", open_sequence),
    "/api/review": ("POST", take_review),
}


class Session:
    """A running viewer. Use it in a ``with``; :attr:`address` is what to open in a browser."""

    def __init__(self, shown: Scene | Dataset, *, compare: Scene | None = None, host: str, port: int) -> None:
        self.listing = Listing(shown) if isinstance(shown, Dataset) else None
        self.window = Window()
        self.other: Window | None = None
        """The view at the right; made when it is first wanted."""
        self._link: Link | None = None
        self._is_dark = False
        self._lock = threading.Lock()
        self.token = None if is_loopback(host) else secrets.token_urlsafe(18)
        try:
            self.gateway = Gateway(
                host,
                port,
                token=self.token,
                respond=self.respond,
                upstreams={"3d": lambda: self.window.address, "3d-b": lambda: self._made_other().address},
            )
        except UsageError:
            self.window.close()
            raise
        self.host = host
        if isinstance(shown, Scene):
            self.window.show(shown)
        if compare is not None:
            self.compare(compare)

    def compare(self, scene: Scene | None) -> None:
        """Show a scene beside the first, and let the eyes move together; None ends that."""
        if scene is None:
            if self._link is not None:
                self._link.end()
            self._link = None
            return
        other = self._made_other()
        other.show(scene)
        self._link = Link(self.window, other)

    def _made_other(self) -> Window:
        with self._lock:
            if self.other is None:
                self.other = Window(has_folded_panel=True)
                self.other.set_theme(dark=self._is_dark)
            return self.other

    @property
    def address(self) -> str:
        """The address to open, token and all."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.gateway.port}/" + (f"?token={self.token}" if self.token else "")

    def respond(self, request: Request) -> Response:
        """Answer a request that is not for viser."""
        if request.method == "GET" and request.path in _PAGES:
            name = _PAGES[request.path]
            body = files("walkaround.viewer").joinpath("web", name).read_bytes()
            return Response(body=body, content_type=_TYPES[name.rpartition(".")[2]])
        try:
            return self._answer(request)
        except WalkaroundError as error:
            return as_json({"error": str(error)}, status=400)

    def _answer(self, request: Request) -> Response:
        if self.listing is not None:
            method, answer = _LIST_ANSWERS.get(request.path, ("", None))
            if answer is not None and request.method == method:
                return answer(self.listing, self.window, request)
            if (request.method, request.path) == ("POST", "/api/compare"):
                key = wanted_key(request)
                self.compare(self.listing.scene(key) if key else None)
        if (request.method, request.path) == ("POST", "/api/draws"):
            software = b'"software":true' in request.body.replace(b" ", b"")
            for window in (self.window, self.other):
                if window is not None:
                    window.draws_with(software=software)
            return as_json({"budget": self.window.panel.settings.budget if self.window.content else None})
        if (request.method, request.path) == ("POST", "/api/theme"):
            return self._set_theme(dark=b'"dark":true' in request.body.replace(b" ", b""))
        if request.path == "/api/compare":
            content = self.other.content if self.other is not None and self._link is not None else None
            return as_json(
                {"title": content.title if content else None, "key": content.scene.key if content else None}
            )
        content = self.window.content
        if request.method == "GET" and request.path == "/api/choices":
            return as_json({"list": False})
        if request.method == "GET" and content is not None:
            if request.path == "/api/scene":
                return describe_scene(content)
            if request.path == "/api/poster":
                detail = self.window.detail
                level = detail.wait_for_first(_POSTER_S) if detail is not None else None
                return send_poster(content, level, request.query)
            if request.path in _ANSWERS:
                return _ANSWERS[request.path](content, request.query)
        return Response(body=b"There is no such page.", status=404)

    def _set_theme(self, *, dark: bool) -> Response:
        """Draw on dark where the browser's system is dark; all browsers at one viewer see the same."""
        self._is_dark = dark
        for window in (self.window, self.other):
            if window is not None:
                window.set_theme(dark=dark)
        return as_json({"dark": dark})

    def close(self) -> None:
        """End the servers."""
        self.gateway.close()
        self.window.close()
        if self.other is not None:
            self.other.close()
        if self.listing is not None:
            self.listing.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_session(
    path: Path, *, compare: Path | None = None, host: str = "127.0.0.1", port: int = DEFAULT_PORT
) -> Session:
    """Open a sequence's folder, the file of a point cloud, or a whole dataset in a viewer.

    Parameters
    ----------
    compare
        A sequence to show beside it.
    host
        Where to listen. Anything but loopback makes a token that a browser must bring.
    port
        0 for any that is free.

    Raises
    ------
    FormatError
        There is nothing to show at ``path``.
    UsageError
        viser is not installed, or the address cannot be listened on.
    """
    _need_viser()
    shown = open_scene(path) if is_sequence(path) else _open_dataset(path)
    beside = None if compare is None else open_scene(compare)
    return Session(shown, compare=beside, host=host, port=port)


def _open_dataset(root: Path) -> Dataset:
    if not root.exists():
        raise FormatError(f"{root} does not exist. Name a sequence's folder or the folder of a dataset.")
    if is_without_sequences(root):
        raise FormatError(nothing_built(root))
    return Dataset(root, statuses=None)


def _need_viser() -> None:
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise UsageError("The viewer needs viser: pip install 'walkaround[view]'.") from error
