"""What the viewer's own pages ask for about a dataset: its list, thumbnails, opening, decisions."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from walkaround.dataset.readers import Scene
from walkaround.dataset.reviews import Review
from walkaround.errors import FormatError, UsageError
from walkaround.io.image import encode_jpeg
from walkaround.viewer.answers import as_json, describe_scene
from walkaround.viewer.gateway import Request, Response
from walkaround.viewer.listing import Filter, Listing
from walkaround.viewer.pictures import thumbnail

if TYPE_CHECKING:
    from walkaround.viewer.window import Window

_KEPT_THUMBNAILS = 2000
_NO_PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>'
"""Of a point cloud alone, or of a broken image."""


def describe_choices(listing: Listing, window: Window, request: Request) -> Response:
    """Say what the list can be filtered by, and what can be decided."""
    return as_json({"list": True, "name": listing.dataset.root.resolve().name, **listing.choices()})


def send_page(listing: Listing, window: Window, request: Request) -> Response:
    """Send a page of the list."""
    offset = request.query.get("offset", "0")
    if not (offset.isdecimal() and len(offset) < 16):
        raise UsageError(f"offset={offset!r:.80} is no number of a row.")
    return as_json(listing.page(Filter.of_query(request.query), int(offset)))


def send_thumbnail(listing: Listing, window: Window, request: Request) -> Response:
    """Send a small image of a sequence, from the middle of its walk."""
    scene = listing.scene(request.query.get("key", ""))
    body = _thumbnail_bytes(scene)
    kind = "image/jpeg" if body else "image/svg+xml"
    return Response(
        body=body or _NO_PICTURE, content_type=kind, headers={"Cache-Control": "private, max-age=600"}
    )


def open_sequence(listing: Listing, window: Window, request: Request) -> Response:
    """Show a sequence of the list in the 3-D view."""
    key = wanted_key(request)
    window.show(listing.scene(key))
    if window.content is None:
        raise UsageError("The viewer is ending.")
    _write_decision(window, key, listing.counting(key))
    return describe_scene(window.content)


def _write_decision(window: Window, key: str, review: Review | None) -> None:
    """Let the panel of the sequence that is shown say what was decided."""
    content = window.content
    if content is not None and content.scene.key == key:
        content.decided = review.said if review is not None else ""
        window.panel.write(content)


def wanted_key(request: Request) -> str:
    """Return the key of the sequence that a request names; empty without one."""
    return _text(_body(request), "key")


def take_review(listing: Listing, window: Window, request: Request) -> Response:
    """Write what a person decided about a sequence; send the decision that counts now, if any."""
    body = _body(request)
    key = _text(body, "key")
    counting = listing.review(
        key,
        _text(body, "decision"),
        label=_text(body, "label") or None,
        note=_text(body, "note"),
    )
    _write_decision(window, key, counting)
    nothing = {"decision": None, "label": None, "note": "", "time": None}
    return as_json({**(asdict(counting) if counting else nothing), "status": listing.status(key)})


@lru_cache(maxsize=_KEPT_THUMBNAILS)
def _cached_thumbnail(scene: Scene) -> bytes:
    names = scene.image_names
    try:
        return encode_jpeg(thumbnail(scene, names[len(names) // 2]), 80) if names else b""
    except FormatError:
        return b""


def _thumbnail_bytes(scene: Scene) -> bytes:
    try:
        return _cached_thumbnail(scene)
    except TypeError:  # files in archives cannot be hashed
        return _cached_thumbnail.__wrapped__(scene)


def _body(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The request is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("The request is no JSON object.")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise UsageError(f"{name} is no text.")
    return value.strip()
