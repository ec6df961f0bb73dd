"""Generation, streamed: a slice of work at a time, so that many texts grow side by side on a few threads."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Literal

import anyio
import msgspec
import numpy as np
from anyio import CapacityLimiter, to_thread
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from unrolled.config.generation import GenerationConfig
from unrolled.runtime import generation
from unrolled.runtime.generation import Ids
from unrolled.runtime.model import RuntimeModel
from unrolled.views.page.messages import End, Piece, Problem

#: Seconds that one text may keep a thread before it is another's turn.
SLICE = 0.005
#: Seconds between two looks at the clock of a text that is written slowly.
TICK = 0.03
#: Seconds that a client may leave an ended text unread.
PATIENCE = 5.0


class Writing:
    """One text being written.

    Args:
        model: that writes.
        prompt: symbols to go on from (N,).
        options: how symbols are chosen.

    >>> from unrolled.lm.model import SequenceModel, ModelConfig, Vocabulary
    >>> model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab", "characters"), framed=False).runtime()
    >>> writing = Writing(model, np.array([0]), GenerationConfig(max_length=3, seed=1))
    >>> texts = [writing.more(2) for _ in range(3)]
    >>> texts[-1] is None, writing.symbols <= 3
    (True, True)
    """

    def __init__(self, model: RuntimeModel, prompt: Ids, options: GenerationConfig):
        self.symbols = 0
        self.reason: Literal["EOS", "length", "time"] = "length"
        self._pieces = model.vocabulary.pieces(self._chosen(model, prompt, options))

    def _chosen(self, model: RuntimeModel, prompt: Ids, options: GenerationConfig) -> Iterator[int]:
        for (k,) in generation.stream(model, [prompt], options):
            if k == model.eos_id:
                self.reason = "EOS"
                return
            if k != generation.NOTHING:
                self.symbols += 1
                yield int(k)

    def more(self, count: int) -> str | None:
        """Write up to `count` symbols in one slice of time; return their text, or None after the end.

        Raises: ValueError if the model's state overflows, so that there is nothing to choose from.
        """
        end = time.monotonic() + SLICE
        written = []
        with np.errstate(all="ignore"):
            for piece in islice(self._pieces, count):
                written.append(piece)
                if time.monotonic() > end:
                    break
        return "".join(written) if written else None


async def events(writing: Writing, pace: float, seconds: float, threads: CapacityLimiter) -> AsyncIterator[bytes]:
    """Yield a text as server-sent events: piece after piece, then the end.

    Args:
        writing: the text.
        pace: symbols a second; 0 is as fast as possible.
        seconds: after which it ends.
        threads: that work is done on.
    """
    begin = anyio.current_time()
    while True:
        elapsed = anyio.current_time() - begin
        if elapsed > seconds:
            writing.reason = "time"
            break
        due = math.ceil(pace * elapsed) + 1 - writing.symbols if pace else 1 << 30
        if due > 0:
            try:
                text = await to_thread.run_sync(writing.more, due, limiter=threads)
            except ValueError as error:
                yield event("error", Problem(str(error)))
                return
            if text is None:
                break
            if text:
                yield event("piece", Piece(text))
        if pace:
            await anyio.sleep(TICK)
    yield event("end", End(writing.reason, writing.symbols, anyio.current_time() - begin))


def event(name: str, message: msgspec.Struct) -> bytes:
    r"""Return one server-sent event; JSON has no line ends in it, so one data line holds it.

    >>> event("piece", Piece("a\nb"))
    b'event: piece\ndata: {"text":"a\\nb"}\n\n'
    """
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(message))


class EventStream(StreamingResponse):
    """Server-sent events, to a client that may read slowly, but not forever; one that leaves ends the work.

    Args:
        content: the events.
        seconds: that it may take to send them all.
    """

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], seconds: float):
        super().__init__(content)
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        with anyio.move_on_after(self.seconds):
            await super().__call__(scope, receive, send)


def start(
    model: RuntimeModel, prompt: Ids, options: GenerationConfig, pace: float, seconds: float, threads: CapacityLimiter
) -> EventStream:
    """Return the answer that streams a new text."""
    return EventStream(events(Writing(model, prompt, options), pace, seconds, threads), seconds + PATIENCE)
