"""A corpus: data as ids, split into training, validation and test sequences.

Data has one of two shapes: independent sequences, each ended by EOS; or one long stream (in a stream of several files,
EOS ends each file).  Only training symbols make the vocabulary; what is new in validation or test is UNK.
"""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.config.data import DataConfig
from unrolled.config.options import brief, option
from unrolled.corpus import reading, records
from unrolled.corpus.encoding import Encoder, encode_records, encode_texts, kind_or
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.corpus.splitting import (
    Parts,
    Sequences,
    Split,
    as_sequences,
    as_stream,
    blocks,
    counts,
    renumbered,
    sequence_starts,
    split_blocks,
    split_units,
)
from unrolled.notation import gate_count
from unrolled.saved.tokenizers import tokenizer
from unrolled.saved.vocabulary import Vocabulary
from unrolled.words import counted

#: V from which a warning says how much memory a model needs.
LARGE_VOCABULARY = 50_000
#: Share of words never seen in training from which a warning says so.
MANY_UNSEEN = 0.05
#: Symbols of a sequence from which a warning says how much memory backpropagation through it needs.
LONG_SEQUENCE = 100_000


@dataclass(frozen=True, eq=False)
class Corpus:
    """Encoded splits and the vocabulary they are encoded with.

    Attributes:
        vocabulary: Of the training symbols, unless one was given.
        train, validation, test: The splits; one whose share is 0 has no sequence.
        stream: Whether the data is one long stream; else it is independent sequences that end with EOS.
        split: How the data was split.
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
        extend: bool = False,
        **changes: Any,
    ) -> Corpus:
        """Return the corpus of a file, a folder, several of these, or standard input (``-``).

        Args:
            data: what to read; a folder stands for all its files, sorted by path.
            config: how to read and split it.
            vocabulary: of a trained model, to encode data for that model; by default a new one is built.
            extend: add the training symbols that the vocabulary lacks; by default they are UNK.
            changes: fields of the config to change, as in ``Corpus.read("tunes.txt", lines=True)``.

        Raises: CorpusError if a file cannot be read as the config says, or a split would be empty.
        """
        config = _adapted(config, vocabulary, changes)
        sources = reading.find_sources(data, config.include, config.encoding)
        if not tokenizer(kind_or("characters", config)).reads_bytes:
            sources = reading.text_only(sources)
        format = records.format_of(sources, config)
        stream = format == "text" and not (config.lines or config.separator)
        if format == "text" and not config.separator:
            encoder, starts = encode_texts(sources, config)
        else:
            found = (
                (k, where, record)
                for k, source in enumerate(sources)
                for where, record in records.records(source, format, config)
            )
            encoder, starts = encode_records(found, config)
        return _split_and_number(encoder, starts, config, (vocabulary, extend), tuple(map(str, sources)), stream)

    @classmethod
    def from_text(
        cls,
        text: str | bytes,
        config: DataConfig | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        extend: bool = False,
        **changes: Any,
    ) -> Corpus:
        """Return the corpus of a text in memory: one stream, or with ``lines=True`` one sequence a line.

        Args, Raises: as :meth:`read`.  ValueError for bytes unless the kind is "bytes".

        >>> from unrolled.corpus.sonnets import sonnets
        >>> Corpus.from_text(sonnets()).split.sizes
        (86156, 4786, 4786)
        """
        config = _adapted(config, vocabulary, changes)
        encoder = Encoder(tokenizer(kind_or("characters", config)), lines=config.lines)
        encoder.text(unicodedata.normalize("NFC", encoder.tokenizer.text(text)) if config.nfc else text)
        if config.lines:
            encoder.end()
        return _split_and_number(encoder, [0], config, (vocabulary, extend), ("text in memory",), not config.lines)

    @classmethod
    def from_sequences(
        cls,
        sequences: Iterable[Sequence[str]],
        config: DataConfig | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        extend: bool = False,
        **changes: Any,
    ) -> Corpus:
        """Return the corpus of sequences in memory.

        Args:
            sequences: as the records of a file: lists of symbols (kind "symbols"; an explicit EOS at the end is not
                doubled), or texts, which are cut into symbols as the kind says (by default "characters").
            config, vocabulary, extend, changes: as :meth:`read`.

        Raises: CorpusError as :meth:`read`.
        """
        if isinstance(sequences, str | bytes):
            raise CorpusError("got one text, expected sequences of symbols or texts; use Corpus.from_text")
        config = _adapted(config, vocabulary, changes)
        places = ((f"sequence {k}", sequence) for k, sequence in enumerate(sequences))
        found = ((0, where, records.in_memory(sequence, where)) for where, sequence in places)
        encoder, starts = encode_records(found, config)
        return _split_and_number(encoder, starts, config, (vocabulary, extend), ("sequences in memory",), False)

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
        shape = "stream" if self.stream else counted(sum(map(len, self.splits.values())), "sequence")
        sizes = ", ".join(f"{len(part.ids):,} {name}" for name, part in self.splits.items() if len(part))
        return f"Corpus({shape} of {self.vocabulary.kind}: {sizes}; V {len(self.vocabulary)}; {self.split})"


def _adapted(config: DataConfig | None, vocabulary: Vocabulary | None, changes: dict[str, Any]) -> DataConfig:
    if vocabulary is not None:
        changes |= {"kind": vocabulary.kind, "nfc": vocabulary.nfc}
    return replace(config or DataConfig(), **changes)


def _split_and_number(
    encoder: Encoder,
    file_starts: list[int],
    config: DataConfig,
    known: tuple[Vocabulary | None, bool],
    sources: tuple[str, ...],
    stream: bool,
) -> Corpus:
    """Split what was encoded, and turn provisional ids into those of the vocabulary: known, extended or new."""
    inputs = sources[0] if len(sources) == 1 else counted(len(sources), "file")
    symbols, ids = encoder.symbols, encoder.ids()
    if config.split_by == "file":
        parts, split = split_units(ids, np.array(file_starts, np.int64), config, "files", inputs)
        parts = Parts(*(as_stream(part.ids) if stream else as_sequences(part.ids) for part in parts))
    elif stream and config.split_by == "sequence":
        raise CorpusError(
            f"{inputs}: a stream has no sequences to split; read each line as one ({option('lines', True)}), or use "
            f"{option('split_by', 'block')}"
        )
    elif stream:
        parts, split = split_blocks(ids, config, inputs)
    else:
        parts, split = split_units(ids, sequence_starts(ids), config, "sequences", inputs)
    if not stream:
        _check_lengths(max(int(part.lengths.max(initial=0)) for part in parts), inputs)
    (vocabulary, extend), learned = known, None
    if vocabulary is None or extend:
        often = zip(symbols, counts(parts.train.ids, len(symbols) + 2)[2:].tolist(), strict=True)
        seen = {symbol: n for symbol, n in often if n}
        learned = encoder.tokenizer.learn(seen, config.min_count)
        if seen and not learned and vocabulary is None:
            most = max(seen.values())
            raise CorpusError(
                f"{inputs}: {option('min_count')} is {config.min_count:,} and leaves no symbol, for the most frequent "
                f"one occurs in training {counted(most, 'time')}; {most:,} leaves one"
            )
        vocabulary = (vocabulary or Vocabulary([], encoder.tokenizer.kind, config.nfc)).extended(learned)
        _warn_of_vocabulary(vocabulary, stream, inputs)
    segments = vocabulary.segments(symbols)
    lengths = np.array([1, 1, *map(len, segments)])
    final = [vocabulary.eos_id, vocabulary.unk_id, *vocabulary.encode([*chain.from_iterable(segments)])]
    compact = np.array(final, np.min_scalar_type(len(vocabulary) - 1))  # END and UNKNOWN come first
    train, validation, test = (renumbered(part, compact, lengths) for part in parts)
    corpus = Corpus(vocabulary, train, validation, test, stream, split, sources)
    if learned is not None:
        _warn_of_unseen(corpus, inputs)
    return corpus


def _check_lengths(longest: int, inputs: str) -> None:
    """Refuse sequences that are too long for backpropagation through time, and warn of long ones."""
    found = f"{inputs}: the longest sequence has {counted(longest, 'symbol')}"
    remedy = f"cut it into shorter ones, or read the text as one stream ({option('lines', False)})"
    if longest > reading.RECORD_LIMIT:
        raise CorpusError(f"{found}, expected {reading.RECORD_LIMIT:,} at most; {remedy}")
    if longest >= LONG_SEQUENCE:
        size = 4 * longest * 256 * (gate_count("LSTM") + 2) / 1e9  # gates, c and h of each step, 4 bytes each
        message = f"{found}; backpropagation through it takes an LSTM of H 256 about {size:.1f} GB; {remedy}"
        warnings.warn(message, CorpusWarning, stacklevel=4)


def _warn_of_vocabulary(vocabulary: Vocabulary, stream: bool, inputs: str) -> None:
    if len(vocabulary.symbols) < 1 + stream:  # sequences of one symbol differ in length, streams of one do not
        names = ", ".join(map(brief, vocabulary.symbols)) or "empty"
        message = f"{inputs}: the vocabulary is {names}, so there is nothing to learn"
        warnings.warn(message, CorpusWarning, stacklevel=4)
    elif len(vocabulary) >= LARGE_VOCABULARY:
        warnings.warn(f"{inputs}: {memory_note(len(vocabulary))}", CorpusWarning, stacklevel=4)


def _warn_of_unseen(corpus: Corpus, inputs: str) -> None:
    """Warn if what is held out has many words that training never shows, UNK included."""
    rates = corpus.unk_rates
    held_out = max((rates[name] for name in rates if name != "train"), default=0.0)
    if corpus.vocabulary.tokenizer.open_ended and not rates["train"] and held_out >= MANY_UNSEEN:
        message = (
            f"{inputs}: {held_out:.0%} of the {corpus.vocabulary.kind} held out never occur in training, and "
            f"neither does UNK, so each will cost the model many bits; {option('min_count', 2)} lets it learn UNK"
        )
        warnings.warn(message, CorpusWarning, stacklevel=4)


def memory_note(V: int, H: int = 256, T: int = 64, B: int = 64) -> str:
    """Return how much memory an LSTM needs for a vocabulary of V symbols, in GB (10^9 bytes of float32).

    >>> memory_note(100_000)[:60]
    'V is 100,000: at H 256 weights, gradients and AdamW moments '
    """
    weights = 4 * 4 * V * (gate_count("LSTM") * H + H + 1) / 1e9  # itself, gradient and two moments, 4 bytes each
    logits = 2 * 4 * T * B * V / 1e9  # and their gradient
    return (
        f"V is {V:,}: at H {H} weights, gradients and AdamW moments need about {weights:.1f} GB and the logits of a "
        f"batch (T {T}, B {B}) {logits:.1f} GB; raise {option('min_count')}, use an embedding, or use a kind of "
        "smaller symbols"
    )
