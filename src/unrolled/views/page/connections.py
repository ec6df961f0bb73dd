"""Connections to the server: how long one may take to ask, how many one address may hold, and what ends them all."""

from __future__ import annotations

import asyncio
import itertools
from threading import Event
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from unrolled.config.server import Limits

#: Numbers the connections of this process.
_MADE = itertools.count()


class Connection(H11Protocol):
    """An HTTP connection that is closed if no request comes in time.

    If an address opens more connections than it may, or all together do, the one that has waited longest for a
    request makes room; so connections that say nothing keep nobody out.
    """

    limits: Limits
    order: int  # in which connections were made; some loops give all of one turn the same time
    deadline: asyncio.TimerHandle | None = None

    @property
    def host(self) -> str:
        """The address of the client."""
        return self.client[0] if self.client else ""

    @property
    def waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; make room first."""
        super().connection_made(transport)
        self.order = next(_MADE)
        self._wait()
        everyone = [each for each in self.connections if isinstance(each, Connection)]
        held = [each for each in everyone if not each.transport.is_closing()]
        of_one = [each for each in held if each.host == self.host]
        for some, most in ((of_one, self.limits.connections), (held, self.limits.connections_in_all)):
            if len(some) > most:
                min((each for each in some if each.waiting), key=lambda each: each.order).transport.abort()
                break

    def data_received(self, data: bytes) -> None:
        """Take what came; the time for a request does not begin anew with each byte."""
        super().data_received(data)
        if not self.waiting:
            self._stop_waiting()
        elif self.deadline is None:
            self._wait()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a request to speak another protocol is answered in this one, and nothing is missing here."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self.deadline = self.loop.call_later(self.limits.sending_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


class Server(uvicorn.Server):
    """A server that tells running generations to end when it is asked to end itself.

    Args: config: of the server; ending: what they look at.
    """

    def __init__(self, config: uvicorn.Config, ending: Event):
        super().__init__(config)
        self.ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal to end."""
        self.ending.set()
        super().handle_exit(sig, frame)


def limited(limits: Limits) -> type[Connection]:
    """Return the class of connections with these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits})
