"""A corpus: symbol sequences as numbers, split into train, validation and test, with how that was done.

Two shapes of data.  Independent sequences, each ended by EOS; or one long stream (in a stream of several files EOS
ends each file).  Only training symbols make the vocabulary, so what is new in validation or test is UNK.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.config.data import DataConfig
from unrolled.corpus import reading, records
from unrolled.corpus.encoding import END, UNKNOWN, Compact, Intake
from unrolled.corpus.reading import CorpusError, CorpusWarning, Source
from unrolled.corpus.records import Format, Record
from unrolled.corpus.splitting import (
    Parts,
    Sequences,
    Split,
    as_sequences,
    as_stream,
    blocks,
    counts,
    sequence_starts,
    split_blocks,
    split_units,
)
from unrolled.notation import gate_count
from unrolled.saved.vocabulary import Vocabulary

#: From this V on, a warning says what the model will cost.
LARGE_VOCABULARY = 50_000
#: Symbols of a sequence from which on a warning says what the way back through it costs.
LONG_SEQUENCE = 100_000


@dataclass(frozen=True, eq=False)
class Corpus:
    """Encoded splits, the vocabulary they are encoded with, and how both came about.

    Attributes:
        vocabulary: Of the training symbols.
        train, validation, test: The splits; one that was not asked for has no sequence.
        stream: Whether the data is one long stream, else independent sequences that end in EOS.
        split: How it was split.
        sources: Names of the inputs.

    >>> corpus = Corpus.from_sequences([["a", "b"], ["a", "a", "b", "b"]], validation=0, test=0)
    >>> corpus.vocabulary.names, [ids.tolist() for ids in corpus.train]
    (('a', 'b', 'EOS', 'UNK'), [[0, 1, 2], [0, 0, 1, 1, 2]])
    """

    vocabulary: Vocabulary
    train: Sequences
    validation: Sequences
    test: Sequences
    stream: bool
    split: Split
    sources: tuple[str, ...]

    @classmethod
    def read(
        cls,
        data: str | Path | Sequence[str | Path],
        config: DataConfig | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        **changes: Any,
    ) -> Corpus:
        """Return the corpus of a file, a folder, several of these, or standard input (``-``).

        Args:
            data: what to read; a folder stands for all its files, sorted by path.
            config: how to read and split it.
            vocabulary: of a trained model, to read other data as that model reads it; default is a new one.
            changes: fields of the config to change, as in ``Corpus.read("tunes.txt", lines=True)``.

        Raises: CorpusError if a file cannot be read as the config says, or a split would be empty.
        """
        config = _adapted(config, vocabulary, changes)
        sources = reading.find_sources(data)
        format = records.format_of(sources, config)
        intake, starts = _texts(sources, config) if format == "text" else _records(sources, format, config)
        stream = format == "text" and not config.lines
        return _assemble(intake, config, vocabulary, tuple(map(str, sources)), stream, starts)

    @classmethod
    def from_text(
        cls,
        text: str | bytes,
        config: DataConfig | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        **changes: Any,
    ) -> Corpus:
        """Return the corpus of a text in memory: one stream, or with ``lines=True`` one sequence a line.

        Args, Raises: as :meth:`read`; bytes are for kind "bytes".

        >>> from unrolled.corpus.sonnets import sonnets
        >>> Corpus.from_text(sonnets()).split.sizes
        (86156, 4786, 4786)
        """
        config = _adapted(config, vocabulary, changes)
        if isinstance(text, bytes) and config.kind != "bytes":
            raise CorpusError(f"the text is bytes and the kind {config.kind!r}; decode it, or use kind='bytes'")
        intake = Intake(config.kind if config.kind != "auto" else "characters", lines=config.lines)
        if isinstance(text, bytes):
            intake.data(text)
        else:
            intake.text("".join(reading.normalised(iter([text]))) if config.nfc else text)
        if config.lines:
            intake.end()
        return _assemble(intake, config, vocabulary, ("text in memory",), not config.lines, [0])

    @classmethod
    def from_sequences(
        cls,
        sequences: Iterable[Sequence[str]],
        config: DataConfig | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        **changes: Any,
    ) -> Corpus:
        """Return the corpus of symbol sequences in memory; the kind is "symbols" unless said otherwise.

        Args:
            sequences: lists of symbols (an explicit EOS at the end is not doubled), or texts.
            config, vocabulary, changes: as :meth:`read`.

        Raises: CorpusError as :meth:`read`.
        """
        config = _adapted(config, vocabulary, changes)
        intake = Intake(config.kind if config.kind != "auto" else "symbols")
        for k, sequence in enumerate(sequences):
            _take_in_record(intake, sequence, config, f"sequence {k}")
        return _assemble(intake, config, vocabulary, ("sequences in memory",), False, [0])

    @property
    def splits(self) -> dict[str, Sequences]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def unk_rates(self) -> dict[str, float]:
        """The fraction of symbols, in [0, 1], that are UNK, of each split that holds any."""
        return {name: self.vocabulary.unk_rate(part.ids) for name, part in self.splits.items() if len(part)}

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hexadecimal, of the vocabulary and of every id in its split: equal if training is equal."""
        digest = hashlib.sha256(self.vocabulary.to_json())
        for part in self.splits.values():
            digest.update(part.offsets.astype("<i8").tobytes())
            for block in blocks(part.ids):
                digest.update(block.astype("<u4").tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        shape = "stream" if self.stream else f"{sum(map(len, self.splits.values())):,} sequences"
        sizes = ", ".join(f"{len(part.ids):,} {name}" for name, part in self.splits.items() if len(part))
        return f"Corpus({shape} of {self.vocabulary.kind}: {sizes}; V {len(self.vocabulary)}; {self.split})"


def _adapted(config: DataConfig | None, vocabulary: Vocabulary | None, changes: dict[str, Any]) -> DataConfig:
    if vocabulary is not None:
        changes |= {"kind": vocabulary.kind, "nfc": vocabulary.nfc}
    return replace(config or DataConfig(), **changes)


def _texts(sources: Sequence[Source], config: DataConfig) -> tuple[Intake, list[int]]:
    """Take in plain texts; return the intake and the place where each source begins."""
    intake = Intake(config.kind if config.kind != "auto" else "characters", lines=config.lines)
    apart = config.lines or config.split_by == "file" or len(sources) > 1
    starts = []
    for source in sources:
        starts.append(intake.length)
        if intake.kind == "bytes":
            for data in reading.byte_blocks(source):
                intake.data(data)
        else:
            texts = reading.text_blocks(source)
            if config.nfc:
                texts = reading.normalised(texts)
            if intake.kind in ("words", "symbols"):
                texts = reading.whole_words(texts, source)
            for text in texts:
                intake.text(text)
        if apart:
            intake.end()
    return intake, starts


def _records(sources: Sequence[Source], format: Format, config: DataConfig) -> tuple[Intake, list[int]]:
    """Take in records, each a sequence; return the intake and the place where each source begins."""
    found = (
        (k, where, record)
        for k, source in enumerate(sources)
        for where, record in records.records(source, format, config.column)
    )
    first = next(found, None)
    intake = Intake(config.kind if config.kind != "auto" else records.kind_of(first and first[2]))
    starts: dict[int, int] = {}
    skipped = 0
    for k, where, record in chain([first] if first else [], found):
        starts.setdefault(k, intake.length)
        skipped += not _take_in_record(intake, record, config, where)
    if skipped:
        warnings.warn(f"{skipped:,} records without a symbol were skipped", CorpusWarning, stacklevel=3)
    return intake, list(starts.values())


def _take_in_record(intake: Intake, record: Record | Sequence[str], config: DataConfig, where: str) -> bool:
    """Take in one sequence and end it; return whether it held a symbol."""
    before = intake.length
    if isinstance(record, str):
        intake.text("".join(reading.normalised(iter([record]))) if config.nfc else record)
    elif intake.kind == "symbols":
        intake.record(record)
    else:
        raise CorpusError(
            f"{where}: a list of symbols, but the kind is {intake.kind}; use kind symbols, or give a text"
        )
    held = intake.length > before
    intake.end()
    return held


def _assemble(
    intake: Intake,
    config: DataConfig,
    vocabulary: Vocabulary | None,
    sources: tuple[str, ...],
    stream: bool,
    file_starts: list[int],
) -> Corpus:
    """Split what was taken in, number it anew by the vocabulary, and look for surprises."""
    inputs = sources[0] if len(sources) == 1 else f"{len(sources)} files"
    symbols, numbers = tuple(intake.symbols), intake.numbers()
    if config.split_by == "file":
        parts, split = split_units(numbers, np.array(file_starts, np.int64), config, "files", inputs)
        parts = Parts(*(as_stream(part.ids) if stream else as_sequences(part.ids) for part in parts))
    elif stream and config.split_by == "sequence":
        raise CorpusError(
            f"{inputs}: a stream has no sequences to split; read each line as one (lines), or split by block"
        )
    elif stream:
        parts, split = split_blocks(numbers, config, inputs)
    else:
        parts, split = split_units(numbers, sequence_starts(numbers), config, "sequences", inputs)
    if not stream:
        _look_at_lengths(max(int(part.lengths.max(initial=0)) for part in parts), inputs)
    if vocabulary is None:
        often = counts(parts.train.ids, len(symbols) + 2)[2:]
        kept = np.flatnonzero(often >= config.min_count)
        vocabulary = Vocabulary(sorted(symbols[k] for k in kept), intake.kind, config.nfc)
        _warn_of_vocabulary(vocabulary, stream, inputs)
    final = np.empty(len(symbols) + 2, np.min_scalar_type(len(vocabulary) - 1))
    final[END], final[UNKNOWN], final[2:] = vocabulary.eos_id, vocabulary.unk_id, vocabulary.encode(symbols)
    train, validation, test = (Sequences(_renumbered(part.ids, final), part.offsets) for part in parts)
    return Corpus(vocabulary, train, validation, test, stream, split, sources)


def _look_at_lengths(longest: int, inputs: str) -> None:
    """Refuse sequences that no memory holds when they are walked back whole; warn of long ones."""
    found = f"{inputs}: the longest sequence has {longest:,} symbols"
    remedy = "cut it into shorter ones, or read the text as one stream (no lines)"
    if longest > reading.RECORD_LIMIT:
        raise CorpusError(f"{found}, expected {reading.RECORD_LIMIT:,} at most; {remedy}")
    if longest >= LONG_SEQUENCE:
        kept = 4 * longest * 256 * (gate_count("LSTM") + 2) / 1e9  # gates, c and h of each step, 4 bytes each
        message = f"{found}; the way back through it takes an LSTM of H 256 about {kept:.1f} GB; {remedy}"
        warnings.warn(message, CorpusWarning, stacklevel=4)


def _warn_of_vocabulary(vocabulary: Vocabulary, stream: bool, inputs: str) -> None:
    if len(vocabulary.symbols) < 1 + stream:  # sequences of one symbol differ in length, a stream of one does not
        shown = ", ".join(map(repr, vocabulary.symbols)) or "empty"
        message = f"{inputs}: the vocabulary is {shown}, with nothing to tell apart there is nothing to learn"
        warnings.warn(message, CorpusWarning, stacklevel=4)
    elif len(vocabulary) >= LARGE_VOCABULARY:
        message = f"{inputs}: {memory_note(len(vocabulary), vocabulary.kind)}"
        warnings.warn(message, CorpusWarning, stacklevel=4)


def memory_note(V: int, kind: str, H: int = 256, T: int = 64, B: int = 64) -> str:
    """Return what a vocabulary of V symbols costs an LSTM with one-hot input, in GB (10^9 bytes of float32).

    >>> memory_note(100_000, "words")[:63]
    'V is 100,000, which takes a model of words: at H 256 its weight'
    """
    weights = 4 * 4 * V * (gate_count("LSTM") * H + H + 1) / 1e9  # itself, gradient and two moments, 4 bytes each
    logits = 2 * 4 * T * B * V / 1e9  # and their gradient
    remedy = "raise min_count or use an embedding" if kind == "words" else "use kind words, raise min_count or embed"
    return (
        f"V is {V:,}, which takes a model of words: at H {H} its weights, gradients and AdamW moments need about "
        f"{weights:.1f} GB and the logits of a batch (T {T}, B {B}) {logits:.1f} GB; {remedy}"
    )


def _renumbered(numbers: Compact, final: Compact) -> Compact:
    """Return final[numbers], in place where the type allows, and read-only."""
    ids = numbers if numbers.dtype == final.dtype else np.empty(len(numbers), final.dtype)
    for before, after in zip(blocks(numbers), blocks(ids), strict=True):
        after[:] = final[before]
    ids.flags.writeable = False
    return ids
