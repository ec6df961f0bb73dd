"""Generation of symbols, one step at a time, by any model that can step.

The state is carried from step to step, so every symbol takes the same time, however long the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unrolled.config.generation import GenerationConfig
from unrolled.core.sampling import Chooser, Logits, log_softmax
from unrolled.saved.vocabulary import Text, Vocabulary, listed

Ids = NDArray[np.int64]

#: What a row yields in a step in which it generates no symbol: it reads its prompt, or has ended.
NOTHING = -1
#: Symbols that a :class:`Writer` generates in one call.
BLOCK = 16
#: Steps between two looks whether every text of a batch holds the text that it is to stop at.
LOOKED = 64


class SteppingModel(Protocol):
    """A model that reads one symbol per row and returns the logits of the next one."""

    eos_id: int
    unk_id: int
    start: Logits  # (V,) log-probabilities of the first symbol

    def initial(self, B: int) -> Any:
        """Return the state of B rows that have read nothing."""

    def read(self, ids: Ids, state: Any) -> tuple[Logits, Any]:
        """Read ids (B,); return the logits (B, V) of the next symbol, and the new state."""

    def select(self, state: Any, rows: NDArray[np.intp]) -> Any:
        """Return the state of these rows (R,), in this order; a row may appear twice."""


@runtime_checkable
class Writer(Protocol):
    """A stepper that also chooses symbols itself, several steps in one call."""

    def write(self, choose: Chooser, logits: Logits, state: Any, n: int) -> tuple[Ids, Logits, Any]:
        """Choose and read up to n symbols per row; stop after a step in which a row chose EOS.

        Returns: the symbols (N, B), N at most n, the logits (B, V) of the next symbol, and the new state.
        """


def stream(stepper: SteppingModel, prompts: Sequence[Ids], config: GenerationConfig) -> Iterator[Ids]:
    """Yield the symbols (B,) that the rows generate in each step; NOTHING where a row reads its prompt or has ended.

    A row ends with EOS, which it still yields, or after `config.max_length` symbols.  After an empty prompt the first
    symbol is chosen by `stepper.start`.
    """
    B = len(prompts)
    lengths = np.array([len(prompt) for prompt in prompts])
    last = lengths + config.max_length - 1  # the step of each row's last symbol
    choose = Chooser(config, stepper.unk_id, B)
    logits: Logits = np.broadcast_to(stepper.start, (B, len(stepper.start)))
    state = stepper.initial(B)
    ended = np.zeros(B, bool)
    t = 0
    writer = stepper if isinstance(stepper, Writer) else None
    while not ended.all():
        writing = np.flatnonzero((t >= lengths) & ~ended)
        if writer and len(writing) == B:
            block, logits, state = writer.write(choose, logits, state, min(BLOCK, last.min() + 1 - t))
            yield from block
            t += len(block)
            written = block[-1]
        else:
            ids = np.array([prompt[t] if t < len(prompt) else stepper.eos_id for prompt in prompts])
            written = np.full(B, NOTHING)
            if len(writing):
                ids[writing] = written[writing] = choose(logits[writing], writing)
                yield written
            t += 1
            if not (ended | (written == stepper.eos_id) | (t > last)).all():
                logits, state = stepper.read(ids, state)
        ended |= (written == stepper.eos_id) | (t > last)


def beam(stepper: SteppingModel, prompt: Ids, config: GenerationConfig) -> Ids:
    """Return the most probable continuation that beam search finds, with a beam of `config.beam_width` texts.

    Texts are ranked by their log-probability in nats; a text that has ended with EOS keeps its score.
    """
    state = stepper.initial(1)
    logits: Logits = np.asarray(stepper.start)[None]
    for symbol in prompt:
        logits, state = stepper.read(np.array([symbol]), state)
    texts: list[list[int]] = [[]]
    scores = np.zeros(1)
    ended = np.zeros(1, bool)
    for _ in range(config.max_length):
        grown = scores[:, None] + log_softmax(logits)  # (W, V)
        grown[ended] = -np.inf
        if not config.allow_unk:
            grown[:, stepper.unk_id] = -np.inf
        grown[ended, stepper.eos_id] = scores[ended]
        W = min(config.beam_width, grown.size)
        best = np.argsort(-grown, axis=None, kind="stable")[:W]
        parents, symbols = np.divmod(best[np.isfinite(grown.flat[best])], grown.shape[1])
        scores = grown[parents, symbols]
        texts = [texts[w] if ended[w] else [*texts[w], int(v)] for w, v in zip(parents, symbols, strict=True)]
        ended = symbols == stepper.eos_id
        if ended[0]:  # scores only fall, so no other text can overtake this one
            break
        logits, state = stepper.read(symbols, stepper.select(state, parents))
    return np.array(texts[0], np.int64)


def generate(
    stepper: SteppingModel,
    prompts: Sequence[Ids],
    config: GenerationConfig,
    stopped: Callable[[list[Ids]], bool] | None = None,
) -> list[Ids]:
    """Return the symbols that continue each prompt, with EOS if it was reached.

    Args: stepper, prompts, config; asked now and then, whether what is written so far is enough.
    """
    if config.strategy == "beam":
        return [beam(stepper, prompt, config) for prompt in prompts]
    steps: list[Ids] = []

    def rows() -> list[Ids]:
        written = np.array(steps, np.int64).reshape(-1, len(prompts) or 1)  # (T, B)
        return [row[row != NOTHING] for row in written.T[: len(prompts)]]

    for ids in stream(stepper, prompts, config):
        steps.append(ids)
        if stopped and len(steps) % LOOKED == 0 and stopped(rows()):
            break
    return rows()


class TextStepper(SteppingModel, Protocol):
    """A stepper with a vocabulary."""

    vocabulary: Vocabulary
    framed: bool  # whether it learned sequences that end with EOS


def generate_texts(stepper: TextStepper, prompts: Sequence[Text], config: GenerationConfig) -> list[str]:
    """Return a continuation of each prompt as text, without EOS."""
    vocabulary, prompts = stepper.vocabulary, listed(prompts)
    stop = str(vocabulary.normal(config.stop))

    def texts(rows: list[Ids]) -> Iterator[str]:
        for ids, prompt in zip(rows, prompts, strict=True):
            yield vocabulary.text(ids[ids != vocabulary.eos_id], _joined_to(prompt, vocabulary))

    def stopped(rows: list[Ids]) -> bool:
        ended = (ids[-1:].tolist() == [vocabulary.eos_id] for ids in rows)
        return all(over or stop in text for over, text in zip(ended, texts(rows), strict=True))

    prompted = [vocabulary.encode(prompt) for prompt in prompts]
    written = generate(stepper, prompted, config, stopped if stop else None)
    return ["".join(until(iter([text]), stop)) for text in texts(written)]


def stream_text(stepper: TextStepper, prompt: Text, config: GenerationConfig) -> Iterator[str]:
    """Yield a continuation of a prompt piece by piece, without EOS.

    Raises: ValueError for the beam strategy, whose text is known only at the end.
    """
    vocabulary = stepper.vocabulary
    if config.strategy == "beam":
        raise ValueError("strategy 'beam' cannot stream, because its text is known only at the end; use generate")
    steps = stream(stepper, [vocabulary.encode(prompt)], config)
    written = (int(ids[0]) for ids in steps if ids[0] != vocabulary.eos_id)
    return until(vocabulary.pieces(written, _joined_to(prompt, vocabulary)), str(vocabulary.normal(config.stop)))


def _joined_to(prompt: Text, vocabulary: Vocabulary) -> Text:
    """Return the text behind which a continuation begins with a space; none where the space is left to the caller."""
    return prompt if vocabulary.tokenizer.spaces_first else ""


def until(pieces: Iterator[str], stop: str) -> Iterator[str]:
    """Yield pieces of a text up to where it holds another; what may be the beginning of that is held back.

    >>> list(until(iter(["so ", "lo", "ng ", "lives"]), "ng l")), list(until(iter(["a", "b"]), ""))
    (['so ', 'lo', ''], ['a', 'b'])
    """
    if not stop:
        yield from pieces
        return
    held = ""
    for piece in pieces:
        held += piece
        at = held.find(stop)
        if at >= 0:
            yield held[:at]
            return
        kept = next(n for n in range(min(len(stop), len(held)), -1, -1) if held.endswith(stop[:n]))
        if kept < len(held):
            yield held[: len(held) - kept]
            held = held[len(held) - kept :]
    yield held
