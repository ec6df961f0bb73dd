"""A corpus: data as ids, split into training, validation and test sequences.

Data has one of two shapes: independent sequences, each ended by EOS; or one long stream (in a stream of several files,
EOS ends each file).  Only training symbols make the vocabulary; what is new in validation or test is UNK.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.config.checks import check_value
from unrolled.config.data import DataConfig
from unrolled.config.options import option, typed
from unrolled.corpus import finding, prepared, records
from unrolled.corpus.encoding import Encoder, encode_records, encode_texts, kind_or
from unrolled.corpus.numbering import (
    Known,
    assigned,
    check_lengths,
    final_ids,
    fingerprint,
    first_counts,
    vocabulary_of,
)
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.corpus.splitting import (
    Parts,
    Sequences,
    Split,
    as_sequences,
    as_stream,
    blocks,
    counts,
    divided,
    renumbered,
    sequence_starts,
)
from unrolled.saved.tokenizers import tokenizer
from unrolled.saved.vocabulary import Vocabulary
from unrolled.words import counted

#: Share of words never seen in training from which a warning says so.
MANY_UNSEEN = 0.05


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
            data: what to read; a folder stands for all its files, sorted by path, unless it is a prepared corpus
                (:func:`unrolled.corpus.prepare`), which is mapped into memory.
            config: how to read and split it.
            vocabulary: of a trained model, to encode data for that model; by default a new one is built.
            extend: add the training symbols that the vocabulary lacks; by default they are UNK.
            changes: fields of the config to change, as in ``Corpus.read("tunes.txt", lines=True)``.

        Raises: CorpusError if a file cannot be read as the config says, or a split would be empty.
        """
        names = [data] if isinstance(data, str | Path) else data
        if len(names) == 1 and prepared.is_prepared(names[0]):
            return cls._mapped(Path(names[0]), config, vocabulary, changes)
        config = _adapted(config, vocabulary, changes)
        sources = finding.find_sources(data, config.include, config.encoding)
        if not tokenizer(kind_or("characters", config)).reads_bytes:
            sources = finding.text_only(sources)
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
        return _split_and_number(encoder, starts, config, Known(vocabulary, extend), tuple(map(str, sources)), stream)

    @classmethod
    def _mapped(
        cls, folder: Path, config: DataConfig | None, known: Vocabulary | None, changes: dict[str, Any]
    ) -> Corpus:
        """Return a prepared corpus, mapped into memory; how it was read and split is decided."""
        index, vocabulary = prepared.read_index(folder)
        prepared.check_config(folder, index, replace(config or DataConfig(), **changes))
        if known is not None and known != vocabulary:
            raise CorpusError(
                f"{folder}: prepared with a vocabulary of its own, {vocabulary}, but the model has {known}; read the "
                "data itself"
            )
        train, validation, test = (prepared.map_part(folder, k, index, len(vocabulary)) for k in prepared.SPLITS)
        corpus = cls(vocabulary, train, validation, test, index.stream, index.split, (str(folder),))
        # What reading all of it would find is known already.
        vars(corpus)["fingerprint"], vars(corpus)["first_counts"] = index.fingerprint, np.array(index.first)
        corpus._unk_rates.update(
            {name: part.unknown / part.symbols for name, part in index.parts.items() if part.symbols}
        )
        return corpus

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

        Args, Raises: as :meth:`read`.  ValueError for bytes unless the kind is "bytes"; CorpusError for a format or a
            column, which a text does not have, and for bytes with a separator.

        >>> from unrolled.corpus.sonnets import sonnets
        >>> Corpus.from_text(sonnets()).split.sizes
        (86156, 4786, 4786)
        """
        if not isinstance(text, str | bytes):
            raise TypeError(f"got {type(text).__name__}, expected a text; use Corpus.from_sequences for several")
        config, name, starts = _adapted(config, vocabulary, changes), "text in memory", [0]
        if config.column or config.format not in ("auto", "text"):
            said = option("column", config.column) if config.column else option("format", config.format)
            raise CorpusError(
                f"{name} has neither records nor columns; leave out {said}, or use {option('format', 'text')}"
            )
        if config.separator:
            if isinstance(text, bytes):
                raise CorpusError(f"{option('separator', config.separator)} divides text, not bytes; decode them first")
            found = records.parts([text], name, typed(config.separator))
            encoder, starts = encode_records(((0, *each) for each in found), config)
            return _split_and_number(encoder, starts, config, Known(vocabulary, extend), (name,), False)
        encoder = Encoder(tokenizer(kind_or("characters", config)), lines=config.lines)
        encoder.text(unicodedata.normalize("NFC", encoder.tokenizer.text(text)) if config.nfc else text)
        if config.lines:
            encoder.end()
        return _split_and_number(encoder, starts, config, Known(vocabulary, extend), (name,), not config.lines)

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
                doubled), or texts, which are cut into symbols as the kind says (by default "characters"); or mappings,
                whose field `column` is one of these.
            config, vocabulary, extend, changes: as :meth:`read`.

        Raises: CorpusError as :meth:`read`.
        """
        config = _adapted(config, vocabulary, changes)
        encoder, starts = encode_records(records.of_values(sequences, config.column), config)
        return _split_and_number(encoder, starts, config, Known(vocabulary, extend), ("sequences in memory",), False)

    @property
    def splits(self) -> dict[str, Sequences]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def unk_rates(self) -> dict[str, float]:
        """The fraction of symbols, in [0, 1], that are UNK, of each split that holds any."""
        return {name: self.unk_rate(name) for name, part in self.splits.items() if len(part)}

    def unk_rate(self, split: str) -> float:
        """Return the fraction of the symbols of one split, in [0, 1], that are UNK; they are counted once."""
        check_value("split", split, str)
        if split not in self.splits:
            raise ValueError(f"there is no split {split!r}; there are {', '.join(self.splits)}")
        if split not in self._unk_rates:
            self._unk_rates[split] = self.vocabulary.unk_rate(self.splits[split].ids)
        return self._unk_rates[split]

    @cached_property
    def _unk_rates(self) -> dict[str, float]:
        """Those that are known so far."""
        return {}

    @cached_property
    def fingerprint(self) -> str:
        """The sha256, in hexadecimal, of the vocabulary and of every id in its split: equal if training is equal."""
        return fingerprint(self.vocabulary, ((part.offsets, blocks(part.ids)) for part in self.splits.values()))

    @cached_property
    def first_counts(self) -> npt.NDArray[np.int64]:
        """How often each symbol begins a sequence of the training split, (V,), or occurs in its stream."""
        return first_counts(self.train, self.stream, len(self.vocabulary))

    def __repr__(self) -> str:
        shape = "stream" if self.stream else counted(sum(map(len, self.splits.values())), "sequence")
        sizes = ", ".join(f"{len(part.ids):,} {name}" for name, part in self.splits.items() if len(part))
        return f"Corpus({shape} of {self.vocabulary.kind}: {sizes}; V {len(self.vocabulary)}; {self.split})"


def _adapted(config: DataConfig | None, vocabulary: Vocabulary | None, changes: dict[str, Any]) -> DataConfig:
    if vocabulary is not None:
        changes |= {"kind": vocabulary.kind, "nfc": vocabulary.nfc}
    return replace(config or DataConfig(), **changes)


def _split_and_number(
    encoder: Encoder, file_starts: list[int], config: DataConfig, known: Known, sources: tuple[str, ...], stream: bool
) -> Corpus:
    """Split what was encoded, and turn provisional ids into those of the vocabulary: known, extended or new."""
    inputs = sources[0] if len(sources) == 1 else counted(len(sources), "file")
    symbols, ids = encoder.symbols, encoder.ids()
    chosen = assigned(len(ids), np.array(file_starts, np.int64), partial(sequence_starts, ids), stream, config, inputs)
    parts = divided(ids, chosen)
    if chosen.split.unit == "files":
        parts = Parts(*(as_stream(part.ids) if stream else as_sequences(part.ids) for part in parts))
    if not stream:
        check_lengths(max(int(part.lengths.max(initial=0)) for part in parts), inputs)
    often = counts(parts.train.ids, len(symbols) + 2)[2:]
    vocabulary, learned = vocabulary_of(encoder.tokenizer, symbols, often, config, known, stream, inputs)
    train, validation, test = (renumbered(part, *final_ids(vocabulary, symbols)) for part in parts)
    split = chosen.split.of_symbols(len(train.ids), len(validation.ids), len(test.ids))
    corpus = Corpus(vocabulary, train, validation, test, stream, split, sources)
    if learned:
        warn_of_unseen(corpus, inputs)
    return corpus


def warn_of_unseen(corpus: Corpus, inputs: str) -> None:
    """Warn if what is held out has many words that training never shows, UNK included."""
    rates = corpus.unk_rates
    held_out = max((rates[name] for name in rates if name != "train"), default=0.0)
    if corpus.vocabulary.tokenizer.open_ended and not rates["train"] and held_out >= MANY_UNSEEN:
        message = (
            f"{inputs}: {held_out:.0%} of the {corpus.vocabulary.kind} held out never occur in training, and "
            f"neither does UNK, so each will cost the model many bits; {option('min_count', 2)} lets it learn UNK"
        )
        warnings.warn(message, CorpusWarning, stacklevel=4)
