"""POST /api/models/{model}/generate: new text as server-sent events.

Work is done in short slices, so that many texts are generated at a time on a few threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from threading import Event
from typing import Annotated, Any, Literal, get_type_hints

import anyio
import msgspec
import numpy as np
from anyio import CapacityLimiter, to_thread
from msgspec import Meta, Struct
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from unrolled.config.checks import LARGE
from unrolled.config.generation import GenerationConfig
from unrolled.runtime import generation
from unrolled.runtime.generation import Ids
from unrolled.runtime.text import TextModel
from unrolled.views.page.errors import Problem, RequestError
from unrolled.views.page.models import ServedModel, Service
from unrolled.words import counted

#: The options of GenerationConfig that a request may set, with their types and ranges: no beam, which cannot stream,
#: and no text to stop at, for a client reads until it has enough.
OPTIONS: dict[str, Any] = get_type_hints(GenerationConfig, include_extras=True) | {
    "strategy": Literal["sample", "greedy"]
}
del OPTIONS["beam_width"], OPTIONS["stop"]

#: Seconds of work on one text before it is another's turn.
SLICE = 0.005
#: Seconds between two slices of a text whose rate is limited.
TICK = 0.03
#: Seconds that a client may take to read a text that has ended.
PATIENCE = 5.0


class Prompt(Struct, frozen=True, forbid_unknown_fields=True):
    """The text to continue, and how fast."""

    prompt: str = ""
    symbols_per_second: Annotated[
        float, Meta(description="Rate of the stream; 0 is as fast as possible.", ge=0, le=LARGE)
    ] = 0

    def options(self) -> GenerationConfig:
        """Return the options, as the runtime takes them.

        Raises: ValueError naming the option that is out of its range.
        """
        return GenerationConfig(**{name: getattr(self, name) for name in OPTIONS})


GenerateRequest = msgspec.defstruct(
    "GenerateRequest",
    [(name, kind, getattr(GenerationConfig, name)) for name, kind in OPTIONS.items()],
    bases=(Prompt,),
    namespace={"__doc__": "A text to continue, and how symbols are chosen."},
    frozen=True,
    forbid_unknown_fields=True,
)


class Piece(Struct, frozen=True):
    """Event `piece`: text that was just written."""

    text: str
    symbols: Annotated[int, Meta(description="Symbols written so far, EOS not counted.", ge=0)]


class End(Struct, frozen=True):
    """Event `end`: nothing more will come."""

    reason: Annotated[Literal["EOS", "length", "time"], Meta(description="What ended it.")]
    symbols: Annotated[int, Meta(description="Symbols written, EOS not counted.", ge=0)]
    seconds: Annotated[float, Meta(description="From the request to the end.", ge=0)]


class Generation:
    """One text while it is generated.

    Args:
        model: the model.
        prompt: symbols to continue, (N,).
        options: how symbols are chosen.
        after: the text of the prompt, behind which the new one is shown.

    >>> from unrolled.lm.model import SequenceModel, ModelConfig, Vocabulary
    >>> model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab", "characters"), framed=False).runtime()
    >>> writing = Generation(model, np.array([0]), GenerationConfig(max_length=3, seed=1))
    >>> texts = [writing.more(2) for _ in range(3)]
    >>> texts[-1] is None, writing.symbols <= 3
    (True, True)
    """

    def __init__(self, model: TextModel, prompt: Ids, options: GenerationConfig, after: str = ""):
        self.symbols = 0
        self.reason: Literal["EOS", "length", "time"] = "length"
        self._pieces = model.vocabulary.pieces(self._chosen(model, prompt, options), after)

    def _chosen(self, model: TextModel, prompt: Ids, options: GenerationConfig) -> Iterator[int]:
        for (k,) in generation.stream(model.writer, [prompt], options):
            if k == model.eos_id:
                self.reason = "EOS"
                return
            if k != generation.NOTHING:
                self.symbols += 1
                yield int(k)

    def more(self, count: int) -> str | None:
        """Generate up to `count` symbols in one slice of time; return their text, or None after the end.

        Raises: ValueError if the model's state overflows, and no probabilities are left to choose by.
        """
        end = time.monotonic() + SLICE
        written = []
        with np.errstate(all="ignore"):
            for piece in islice(self._pieces, count):
                written.append(piece)
                if time.monotonic() > end:
                    break
        return "".join(written) if written else None


async def events(
    writing: Generation, pace: float, seconds: float, threads: CapacityLimiter, ending: Event
) -> AsyncIterator[bytes]:
    """Yield a text as server-sent events: piece after piece, then the end.

    Args:
        writing: the text.
        pace: symbols per second; 0 is as fast as possible.
        seconds: time limit.
        threads: that do the work.
        ending: set when the server ends.
    """
    begin = anyio.current_time()
    while True:
        if ending.is_set():
            yield event("error", Problem("the server was ended; ask again when it runs"))
            return
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
                yield event("piece", Piece(text, writing.symbols))
        if pace:
            await anyio.sleep(TICK)
    yield event("end", End(writing.reason, writing.symbols, anyio.current_time() - begin))


def event(name: str, message: msgspec.Struct) -> bytes:
    r"""Return one server-sent event; JSON has no line ends in it, so one data line holds it.

    >>> event("piece", Piece("a\nb", 3))
    b'event: piece\ndata: {"text":"a\\nb","symbols":3}\n\n'
    """
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(message))


class EventStream(StreamingResponse):
    """Server-sent events to a client that may read slowly, but not forever; the work ends when it disconnects.

    Args:
        content: the events.
        seconds: time limit for sending them all.
    """

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], seconds: float):
        super().__init__(content)
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        with anyio.move_on_after(self.seconds):
            await super().__call__(scope, receive, send)


def generate(service: Service, served: ServedModel, request: Prompt) -> EventStream:
    """Stream new text as server-sent events: any number of `piece`, then one `end` or `error`.

    Raises: RequestError 400 if an option is out of its range; 413 if the prompt is too long.
    """
    limits = service.limits
    try:
        options = request.options()
    except ValueError as error:
        raise RequestError(400, str(error)) from None
    if options.max_length > limits.written_symbols:
        most = counted(limits.written_symbols, "symbol")
        raise RequestError(400, f"max_length is {options.max_length:,}; this server writes at most {most}")
    writing = Generation(served.runtime, served.encode(request.prompt, limits), options, request.prompt)
    content = events(writing, request.symbols_per_second, limits.writing_seconds, service.threads, service.ending)
    return EventStream(content, limits.writing_seconds + PATIENCE)
