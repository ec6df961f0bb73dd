"""What stands before every request: whose page asks, how many ask, and what a browser may do with the answer."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unrolled.views.page.refusals import Refusal

#: Names under which a browser on this machine reaches it.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

#: A browser takes nothing from elsewhere, runs nothing that stands in the page itself, and shows it in no frame.
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
    """An application behind a door.

    Args:
        app: what is guarded.
        hosts: names that a request may call this server by; a page elsewhere that points its own name here (DNS
            rebinding) is refused.
        requests: most requests under /api at the same time.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], requests: int):
        self.app, self.hosts, self.requests = app, frozenset(hosts), requests
        self.at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; either way with the headers."""
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
            if self.at_work >= self.requests:
                sentence = (
                    f"{self.requests} requests are at work, which is all this server takes; try again in a second"
                )
                raise Refusal(429, sentence, {"Retry-After": "1"})
        except Refusal as refusal:
            await refusal.answer()(scope, receive, send_guarded)
            return
        self.at_work += 1
        try:
            await self.app(scope, receive, send_guarded)
        finally:
            self.at_work -= 1

    def _check_sender(self, headers: Headers) -> None:
        """Refuse a name that is not this server's, and a page that this server did not send."""
        host = headers.get("host", "")
        if _name(host) not in self.hosts:
            raise Refusal(400, f"this server is not {host!r}; call it by one of {', '.join(sorted(self.hosts))}")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host:
            raise Refusal(403, f"a page of {origin!r} may not ask this server; open the server's own page")
        own = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        if origin is None and not own and headers.get("sec-fetch-mode") != "navigate":
            raise Refusal(403, "another site's page may not ask this server; open the server's own page")


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
