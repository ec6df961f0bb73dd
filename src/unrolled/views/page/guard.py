"""Checks before every request (host, origin, number of requests), and security headers on every answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from threading import Event
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unrolled.views.page.errors import RequestError
from unrolled.words import counted

#: Names by which a browser on this machine reaches the server.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

#: A browser loads nothing from other sites, runs no inline script, and shows the page in no frame.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Middleware that refuses requests of other sites and limits how many are handled at a time.

    Args:
        app: the application.
        hosts: names that a request may call this server by; a page of another site whose name resolves to
            this machine (DNS rebinding) is refused.
        requests: most requests under /api at the same time; one address has at most half of them, so that it keeps
            nobody else out.
        ending: to be set when the server ends, so that what it writes ends too.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], requests: int, ending: Event):
        self.app, self.hosts, self.requests, self.ending = app, frozenset(hosts), requests, ending
        self.active = 0
        self.of_address: Counter[str] = Counter()  # those that are active

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; add the headers to the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            self._check_sender(Headers(scope=scope))
            if not scope["path"].startswith("/api/"):
                await self.app(scope, receive, send_guarded)
                return
            address = (scope.get("client") or ("",))[0]
            self._check_room(address)
        except RequestError as error:
            await error.response()(scope, receive, send_guarded)
            return
        self.active += 1
        self.of_address[address] += 1
        try:
            await self.app(scope, receive, send_guarded)
        finally:
            self.active -= 1
            self.of_address -= Counter([address])  # which forgets an address that has none left

    def _check_room(self, address: str) -> None:
        """Refuse one more request of an address if it has half of all, or all are taken."""
        half = (self.requests + 1) // 2
        if self.active >= self.requests:
            many = f"{counted(self.requests, 'request')} are being handled, the limit of this server"
        elif self.of_address[address] >= half:
            many = f"{counted(half, 'request')} from your address are being handled, the most that one address may have"
        else:
            return
        raise RequestError(429, f"{many}; try again in a second", {"Retry-After": "1"})

    def _check_sender(self, headers: Headers) -> None:
        """Refuse a host name that is not this server's, and a page of another site."""
        host = headers.get("host", "")
        if _name(host) not in self.hosts:
            raise RequestError(400, f"this server is not {host!r}; call it by one of {', '.join(sorted(self.hosts))}")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host:
            raise RequestError(403, f"a page of {origin!r} may not call this server; open the server's own page")
        own = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        if origin is None and not own and headers.get("sec-fetch-mode") != "navigate":
            raise RequestError(403, "another site's page may not call this server; open the server's own page")


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _name(host: str) -> str | None:
    """Return the name in a Host header, without its port.

    >>> _name("localhost:8000"), _name("[::1]:8000"), _name("127.0.0.1"), _name("[::1")
    ('localhost', '::1', '127.0.0.1', None)
    """
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
