"""The one door to the viewer: a small HTTP server that checks who knocks and passes viser's traffic on.

viser itself listens on a loopback address of its own and asks nobody for anything. A browser lets any web
page send requests to loopback, so the door looks at ``Host`` (a foreign name that resolves to us is turned
away) and ``Origin`` (a foreign page is). Where other machines can reach it, a token is asked for; then a
cookie stands for it.
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import secrets
import select
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from walkaround.errors import UsageError

COOKIE = "walkaround_token_"
"""Before the port: browsers keep cookies by host, and a host may run several viewers."""
MAX_BODY_BYTES = 1 << 20
_CHUNK = 1 << 18
_NO_STORE = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a handler of the viewer's own pages gets."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Response:
    """What it gives back."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def is_loopback(host: str) -> bool:
    """True when a host name or address is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def hidden_address() -> str:
    """Return a loopback address for viser, which lets in whoever finds it: not the one that everybody tries.

    A web page can ask 127.0.0.1 for every port, but not 2**24 addresses for each. Where the system has only
    127.0.0.1, it is that.
    """
    host = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
    with socket.socket() as trial:
        try:
            trial.bind((host, 0))
        except OSError:
            return "127.0.0.1"
    return host


class Gateway:
    """Serves own pages by ``respond`` and passes ``/<name>/...`` on to the viser server of that name.

    Parameters
    ----------
    port
        0 for any that is free.
    token
        None lets in whoever reaches a loopback address.
    upstreams
        Name -> function that gives host and port of a server; called at each request for it.

    Raises
    ------
    UsageError
        The address cannot be listened on, or is not loopback and there is no token.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str | None,
        respond: Callable[[Request], Response],
        upstreams: Mapping[str, Callable[[], tuple[str, int]]],
    ) -> None:
        if token is None and not is_loopback(host):
            raise UsageError(f"--host {host} is reached from other machines and needs a token.")
        self.token = token
        self.respond = respond
        self.upstreams = upstreams
        self.local_only = is_loopback(host)
        try:
            self._server = _server_class(host)((host.strip("[]"), port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(_not_listening(host, port, error)) from error
        self._server.gateway = self  # type: ignore[attr-defined]
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="gateway", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def _not_listening(host: str, port: int, error: OSError | OverflowError) -> str:
    """Say why an address cannot be listened on: the host is not of this machine, or the port is not free."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    if isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
        return (
            f"--host {host} is no address of this machine ({reason}). Give one that it has, 127.0.0.1 for"
            " this machine alone or 0.0.0.0 for all its networks."
        )
    remedy = "Choose another with --port; 0 takes any free one."
    return f"{host} port {port} cannot be listened on ({reason}). {remedy}"


def allowed_host(header: str, *, local_only: bool) -> bool:
    """True when a ``Host`` header names this server: on loopback, only a loopback name is ours."""
    name = urlsplit(f"//{header}").hostname
    return name is not None and (not local_only or is_loopback(name))


def same_origin(origin: str | None, host: str) -> bool:
    """True when a request comes from a page of this server, or from no page at all."""
    return origin is None or urlsplit(origin).netloc == host


def cookie_token(header: str | None, port: int) -> str:
    """Return the token for this port in a ``Cookie`` header; empty without one."""
    try:
        found = SimpleCookie(header or "").get(f"{COOKIE}{port}")
    except CookieError:
        return ""
    return found.value if found else ""


def _server_class(host: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        block_on_close = False

    return Server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    @property
    def _gateway(self) -> Gateway:
        return self.server.gateway  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: addresses of pages hold the token."""

    def _handle(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        host = self.headers.get("Host", "")
        if not allowed_host(host, local_only=self._gateway.local_only):
            return self._send(_refusal(HTTPStatus.FORBIDDEN, f"This server is not {host!r:.80}."))
        if not same_origin(self.headers.get("Origin"), host):
            return self._send(_refusal(HTTPStatus.FORBIDDEN, "Another site's page may not ask for this."))
        if not self._is_known():
            return self._let_in(url.path, query)
        name, _, rest = url.path.lstrip("/").partition("/")
        upstream = self._gateway.upstreams.get(name)
        if upstream is not None:
            return self._pass_on(upstream(), rest, url.query)
        self._send(self._gateway.respond(self._request(url.path, query)))

    def _request(self, path: str, query: dict[str, str]) -> Request:
        length = self.headers.get("Content-Length", "0")
        size = int(length) if length.isdecimal() else 0
        if size > MAX_BODY_BYTES:
            self.close_connection = True
            return Request(method="", path=path, query=query)
        return Request(method=self.command, path=path, query=query, body=self.rfile.read(size))

    def _is_known(self) -> bool:
        token = self._gateway.token
        return token is None or hmac.compare_digest(
            cookie_token(self.headers.get("Cookie"), self._gateway.port).encode(), token.encode()
        )

    def _let_in(self, path: str, query: dict[str, str]) -> None:
        """Take the token out of the address and give a cookie for it, or refuse."""
        token = self._gateway.token or ""
        if not hmac.compare_digest(query.pop("token", "").encode(), token.encode()):
            text = "This viewer asks for its token: open the address that `walkaround view` printed."
            return self._send(_refusal(HTTPStatus.UNAUTHORIZED, text))
        place = "/" + path.lstrip("/") + (f"?{urlencode(query)}" if query else "")
        cookie = f"{COOKIE}{self._gateway.port}={token}; Path=/; HttpOnly; SameSite=Strict"
        headers = {"Location": place, "Set-Cookie": cookie}
        self._send(Response(body=b"", status=HTTPStatus.SEE_OTHER, headers=headers))

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        headers = {**_NO_STORE, "Content-Type": response.content_type, **response.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection or self.command not in ("GET", "POST"):
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(response.body)

    def _pass_on(self, address: tuple[str, int], rest: str, query: str) -> None:
        """Send the request on and then everything, both ways, until either side ends."""
        self.close_connection = True
        head = [f"{self.command} /{rest}{'?' + query if query else ''} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() != "cookie"]
        with suppress(OSError), socket.create_connection(address) as upstream:
            upstream.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
            self.connection.settimeout(None)
            _splice(self.connection, upstream)


def _splice(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(other, one), daemon=True)
    back.start()
    _copy(one, other)
    back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends; then tell the target, and the source that nobody reads it."""
    with suppress(OSError):
        while True:
            select.select([source], [], [])
            data = source.recv(_CHUNK)
            if not data:
                break
            target.sendall(data)
    for end, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with suppress(OSError):
            end.shutdown(how)


def _refusal(status: HTTPStatus, text: str) -> Response:
    return Response(body=text.encode(), status=status)
