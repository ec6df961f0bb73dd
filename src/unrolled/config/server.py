"""The limits of a server, checked on creation.  No web framework here: `unrolled --help` reads this module."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.config.checks import Positive, PositiveInt, check_fields


@dataclass(frozen=True)
class Limits:
    """The limits of one server; a request beyond them is refused with an answer that says so.

    Attributes:
        body_bytes: Largest request (413).
        text_symbols: Longest text or prompt (413).
        written_symbols: Most symbols of one generation (400).
        writing_seconds: Longest time of one generation; at its end the text stops, with reason `time`.
        sending_seconds: Longest time a client may take to send its headers (it is cut off), and then its body (408).
        connections: Connections that one address may hold; one more closes the one that has been silent longest.
        requests: Requests handled at the same time (429); one address may have half of them.
        threads: Threads that compute.
    """

    body_bytes: PositiveInt = 65_536
    text_symbols: PositiveInt = 4_000
    written_symbols: PositiveInt = 4_000
    writing_seconds: Positive = 60.0
    sending_seconds: Positive = 10.0
    connections: PositiveInt = 100
    requests: PositiveInt = 64
    threads: PositiveInt = 2

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def connections_in_all(self) -> int:
        """Connections that all addresses together may hold: enough for every request, and for one address."""
        return max(4 * self.requests, self.connections)
