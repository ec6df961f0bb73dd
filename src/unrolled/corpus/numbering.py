"""From provisional ids to final ones: how the data is assigned to splits, which vocabulary it makes, and its numbers.

Data in memory and data in a prepared folder come by these rules, so that both train the same model.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.config.data import DataConfig
from unrolled.config.options import brief, option
from unrolled.config.training import KEPT
from unrolled.corpus import reading
from unrolled.corpus.encoding import Compact
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.corpus.splitting import Assignment, Positions, Sequences, assign_blocks, assign_units, counts
from unrolled.notation import gate_count
from unrolled.saved.tokenizers.base import Tokenizer
from unrolled.saved.vocabulary import Vocabulary
from unrolled.words import counted

#: V from which a warning says how much memory a model needs.
LARGE_VOCABULARY = 50_000
#: Symbols of a sequence from which a warning says how much memory backpropagation through it needs.
LONG_SEQUENCE = 100_000


class Known(NamedTuple):
    """The vocabulary of a trained model, and whether new symbols extend it."""

    vocabulary: Vocabulary | None = None
    extend: bool = False


def assigned(
    symbols: int,
    file_starts: Positions,
    sequence_starts: Callable[[], Positions],
    stream: bool,
    config: DataConfig,
    inputs: str,
) -> Assignment:
    """Return which units of the data make each split, as the config says.

    Args: how many symbols there are; where files begin; what finds where sequences begin; whether it is one stream; the
        config; the name of the inputs, for messages.
    """
    if config.split_by == "file":
        return assign_units(file_starts, symbols, config, "files", inputs)
    if not stream:
        return assign_units(sequence_starts(), symbols, config, "sequences", inputs)
    if config.split_by == "sequence":
        raise CorpusError(
            f"{inputs}: a stream has no sequences to split; read each line as one ({option('lines', True)}), or use "
            f"{option('split_by', 'block')}"
        )
    return assign_blocks(symbols, config, inputs)


def vocabulary_of(
    tokenizer: Tokenizer,
    symbols: Sequence[str],
    often: npt.NDArray[np.int64],
    config: DataConfig,
    known: Known,
    stream: bool,
    inputs: str,
) -> tuple[Vocabulary, bool]:
    """Return the vocabulary of some data, and whether it was learned from it.

    Args: how text is cut; the symbols in the order of their provisional ids, and how often each occurs in training; how
        the data is read; what is known; whether it is one stream; the name of the inputs, for messages.
    """
    vocabulary, extend = known
    if vocabulary is not None and (not extend or tokenizer.complete):
        return vocabulary, False
    own = vocabulary or Vocabulary([], tokenizer.kind, config.nfc)
    most = max(0, config.vocabulary_size - len(own)) if config.vocabulary_size else None
    if vocabulary is not None and 0 < config.vocabulary_size < len(own):
        limit = (
            f"{option('vocabulary_size')} is {config.vocabulary_size:,}, and the vocabulary to extend has {len(own):,}"
        )
        warnings.warn(f"{inputs}: {limit}; no symbol is added, and none is taken away", CorpusWarning, stacklevel=5)
    if config.tokenizer:
        return Vocabulary(tokenizer.read(config.tokenizer, most, config.nfc), tokenizer.kind, config.nfc), True
    there = {*own.symbols}
    seen = {symbol: n for symbol, n in zip(symbols, often.tolist(), strict=True) if n}
    learned = tokenizer.learn({symbol: n for symbol, n in seen.items() if symbol not in there}, config.min_count, most)
    if seen and not learned and vocabulary is None:
        most_often = max(seen.values())
        raise CorpusError(
            f"{inputs}: {option('min_count')} is {config.min_count:,} and leaves no symbol, for the most frequent "
            f"one occurs in training {counted(most_often, 'time')}; {most_often:,} leaves one"
        )
    vocabulary = own.extended(learned)
    _warn_of_vocabulary(vocabulary, stream, inputs)
    return vocabulary, True


def final_ids(vocabulary: Vocabulary, symbols: Sequence[str]) -> tuple[Compact, Positions]:
    """Return the final ids of each provisional id, end to end, and how many each has, END and UNKNOWN first."""
    segments = vocabulary.segments(symbols)
    lengths = np.array([1, 1, *map(len, segments)])
    final = [vocabulary.eos_id, vocabulary.unk_id, *vocabulary.encode([*chain.from_iterable(segments)])]
    return np.array(final, np.min_scalar_type(len(vocabulary) - 1)), lengths


def fingerprint(vocabulary: Vocabulary, parts: Iterable[tuple[Positions, Iterable[Compact]]]) -> str:
    """Return the sha256, in hexadecimal, of a vocabulary, and of the offsets and the blocks of ids of each split."""
    digest = hashlib.sha256(vocabulary.to_json())
    for offsets, ids in parts:
        digest.update(offsets.astype("<i8").tobytes())
        for block in ids:
            digest.update(block.astype("<u4").tobytes())
    return digest.hexdigest()


def first_counts(train: Sequences, stream: bool, V: int) -> npt.NDArray[np.int64]:
    """Return how often each symbol begins a sequence, (V,); of a stream any symbol may be the first."""
    return counts(train.ids if stream else train.ids[train.offsets[:-1]], V)


def check_lengths(longest: int, inputs: str) -> None:
    """Refuse sequences that are too long for backpropagation through time, and warn of long ones."""
    found = f"{inputs}: the longest sequence has {counted(longest, 'symbol')}"
    remedy = f"cut it into shorter ones, or read the text as one stream ({option('lines', False)})"
    if longest > reading.RECORD_LIMIT:
        raise CorpusError(f"{found}, expected {reading.RECORD_LIMIT:,} at most; {remedy}")
    if longest >= LONG_SEQUENCE:
        size = 4 * longest * 256 * (gate_count("LSTM") + 2) / 1e9  # gates, c and h of each step, 4 bytes each
        message = f"{found}; backpropagation through it takes an LSTM of H 256 about {size:.1f} GB; {remedy}"
        warnings.warn(message, CorpusWarning, stacklevel=5)


def _warn_of_vocabulary(vocabulary: Vocabulary, stream: bool, inputs: str) -> None:
    if len(vocabulary.symbols) < 1 + stream:  # sequences of one symbol differ in length, streams of one do not
        names = ", ".join(map(brief, vocabulary.symbols)) or "empty"
        message = f"{inputs}: the vocabulary is {names}, so there is nothing to learn"
        warnings.warn(message, CorpusWarning, stacklevel=5)
    elif len(vocabulary) >= LARGE_VOCABULARY:
        warnings.warn(f"{inputs}: {memory_note(len(vocabulary))}", CorpusWarning, stacklevel=5)


def memory_note(V: int, H: int = 256, E: int = 128) -> str:
    """Return how much memory training takes for a vocabulary of V symbols, in GB (10^9 bytes of float32).

    >>> memory_note(100_000)[:77]
    'V is 100,000: at H 256 and E 128, the rows of embedding and head take 1.2 GB '
    """
    weights = KEPT * 4 * V * (H + 1 + E) / 1e9  # 4 bytes each
    fewer, spelled = option("vocabulary_size"), option("kind", "bpe")
    return (
        f"V is {V:,}: at H {H} and E {E}, the rows of embedding and head take {weights:.1f} GB with what training "
        f"keeps for each; {fewer} keeps the most frequent symbols, and {spelled} spells words in fewer"
    )
