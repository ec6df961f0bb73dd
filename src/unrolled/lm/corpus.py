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
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.lm import reading
from unrolled.lm.config import DataConfig
from unrolled.lm.intake import END, UNKNOWN, Compact, Intake
from unrolled.lm.reading import CorpusError, CorpusWarning, Source
from unrolled.lm.splitting import Parts, Sequences, Split, as_stream, blocks, split_blocks, split_units
from unrolled.lm.vocabulary import Vocabulary
from unrolled.notation import gate_count

#: From this V on, a warning says what the model will cost.
LARGE_VOCABULARY = 50_000


def sonnets() -> str:
    """Return the text that ships with the package: Shakespeare's Sonnets, 95,728 characters.

    >>> sonnets()[:11]
    'THE SONNETS'
    """
    return resources.files("unrolled.lm").joinpath("data/sonnets.txt").read_text("ascii")


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
        by_file: bool = False,
        **changes: Any,
    ) -> Corpus:
        """Return the corpus of a file, a folder, several of these, or standard input (``-``).

        Args:
            data: what to read; a folder stands for all its files, sorted by path.
            config: how to read and split it.
            vocabulary: of a trained model, to read other data as that model reads it; default is a new one.
            by_file: split a stream of several files by whole files instead of blocks.
            changes: fields of the config to change, as in ``Corpus.read("tunes.txt", lines=True)``.

        Raises: CorpusError if a file cannot be read as the config says, or a split would be empty.
        """
        config = _adapted(config, vocabulary, changes)
        sources = reading.find_sources(data)
        lines = config.lines and config.format == "text"
        stream = config.format == "text" and not lines
        if by_file and not stream:
            raise CorpusError("a split by files is for streams; sequences are split by sequence")
        intake, starts, skipped = Intake(config.kind, lines=lines), [], 0
        for source in sources:
            _warn_of_format(source, config)
            starts.append(intake.length)
            skipped += _take_in(source, intake, config)
            if not stream or by_file or len(sources) > 1:
                intake.end()
        if skipped:
            warnings.warn(f"{skipped:,} records without a symbol were skipped", CorpusWarning, stacklevel=2)
        names = tuple(map(str, sources))
        return _assemble(intake, config, vocabulary, names, stream, starts if by_file else None)

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

        >>> Corpus.from_text(sonnets()).split.sizes
        (86156, 4786, 4786)
        """
        config = _adapted(config, vocabulary, changes)
        if isinstance(text, bytes) and config.kind != "bytes":
            raise CorpusError(f"the text is bytes and the kind {config.kind!r}; decode it, or use kind='bytes'")
        intake = Intake(config.kind, lines=config.lines)
        if isinstance(text, bytes):
            intake.data(text)
        else:
            intake.text("".join(reading.normalised(iter([text]))) if config.nfc else text)
        if config.lines:
            intake.end()
        return _assemble(intake, config, vocabulary, ("text in memory",), not config.lines, None)

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
        config = _adapted(config or DataConfig(kind="symbols"), vocabulary, changes)
        intake = Intake(config.kind)
        for k, sequence in enumerate(sequences):
            _take_in_record(intake, sequence, config, f"sequence {k}")
        return _assemble(intake, config, vocabulary, ("sequences in memory",), False, None)

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


def _warn_of_format(source: Source, config: DataConfig) -> None:
    suffix = source.path.suffix.lower() if source.path else ""
    meant = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv"}.get(suffix)
    if config.format == "text" and meant:
        warnings.warn(f"{source} is read as plain text; format {meant} reads its records", CorpusWarning, stacklevel=3)


def _take_in(source: Source, intake: Intake, config: DataConfig) -> int:
    """Read one source into the intake; return the number of records that held no symbol."""
    skipped = 0
    if config.format == "jsonl":
        for where, record in reading.json_records(source):
            skipped += not _take_in_record(intake, record, config, where)
    elif config.format == "csv":
        for where, cell in reading.csv_cells(source, config.column):
            skipped += not _take_in_record(intake, cell, config, where)
    elif config.kind == "bytes":
        for data in reading.byte_blocks(source):
            intake.data(data)
    else:
        texts = reading.text_blocks(source)
        if config.nfc:
            texts = reading.normalised(texts)
        if config.kind in ("words", "symbols"):
            texts = reading.whole_words(texts, source)
        for text in texts:
            intake.text(text)
    return skipped


def _take_in_record(intake: Intake, record: str | Sequence[str], config: DataConfig, where: str) -> bool:
    """Take in one sequence and end it; return whether it held a symbol."""
    before = intake.length
    if isinstance(record, str):
        intake.text("".join(reading.normalised(iter([record]))) if config.nfc else record)
    elif config.kind == "symbols":
        intake.record(record)
    else:
        raise CorpusError(
            f"{where}: a list of symbols, but the kind is {config.kind}; use kind symbols, or give a text"
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
    file_starts: list[int] | None,
) -> Corpus:
    """Split what was taken in, number it anew by the vocabulary, and look for surprises."""
    inputs = sources[0] if len(sources) == 1 else f"{len(sources)} files"
    symbols, ends, numbers = tuple(intake.symbols), intake.ends(), intake.numbers()
    if file_starts is not None:
        parts, split = split_units(numbers, np.array([*file_starts, len(numbers)]), config, "files", inputs)
        parts = Parts(*(as_stream(part.ids) for part in parts))
    elif stream:
        parts, split = split_blocks(numbers, config, inputs)
    else:
        parts, split = split_units(numbers, np.concatenate([[0], ends + 1]), config, "sequences", inputs)
    if vocabulary is None:
        vocabulary = _vocabulary(symbols, parts.train.ids, config)
        _warn_of_vocabulary(vocabulary, stream, inputs)
    final = np.empty(len(symbols) + 2, np.min_scalar_type(len(vocabulary) - 1))
    final[END], final[UNKNOWN], final[2:] = vocabulary.eos_id, vocabulary.unk_id, vocabulary.encode(symbols)
    train, validation, test = (Sequences(_renumbered(part.ids, final), part.offsets) for part in parts)
    return Corpus(vocabulary, train, validation, test, stream, split, sources)


def _vocabulary(symbols: tuple[str, ...], train: Compact, config: DataConfig) -> Vocabulary:
    counts = np.zeros(len(symbols) + 2, np.int64)
    for block in blocks(train):
        counts += np.bincount(block, minlength=len(counts))
    kept = np.flatnonzero(counts[2:] >= config.min_count)
    return Vocabulary(sorted(symbols[k] for k in kept), config.kind, config.nfc)


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
