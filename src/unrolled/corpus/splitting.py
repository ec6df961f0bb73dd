"""Sequences of ids, and how they are split into training, validation and test data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.config.data import DataConfig
from unrolled.config.options import option
from unrolled.corpus.encoding import END, Compact
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.words import counted

#: Symbols that are processed at a time, to avoid an 8-byte copy of all.
BLOCK = 1 << 20

#: Positions in an array of ids, (n,).
Positions = npt.NDArray[np.int64]
#: What a split does not divide.
Unit = Literal["symbols", "sequences", "files"]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of ids, end to end in one array; a stream is one sequence.

    Args:
        ids: (N,) unsigned integers, of the smallest type that holds V.
        offsets: (n + 1,) int64; sequence k is ids[offsets[k]:offsets[k + 1]].

    >>> pair = Sequences(np.array([0, 1, 2, 1, 2], np.uint8), np.array([0, 3, 5]))
    >>> len(pair), pair[1].tolist(), pair.predicted
    (2, [1, 2], 3)
    """

    ids: Compact
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, k: int) -> Compact:
        if not -len(self) <= k < len(self):
            raise IndexError(f"sequence {k} of {len(self)}")
        k %= len(self)
        return self.ids[self.offsets[k] : self.offsets[k + 1]]

    def __iter__(self) -> Iterator[Compact]:
        return (self[k] for k in range(len(self)))

    def thinned(self, k: int) -> Sequences:
        """Return every k-th sequence.

        >>> [ids.tolist() for ids in Sequences(np.array([5, 6, 7, 8], np.uint8), np.array([0, 1, 3, 4])).thinned(2)]
        [[5], [8]]
        """
        return _gathered(self.ids, self.offsets[:-1:k], self.lengths[::k])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of symbols of each sequence (n,), EOS included."""
        return np.diff(self.offsets)

    @property
    def predicted(self) -> int:
        """The number of symbols that a model predicts: all but the first of each sequence."""
        return len(self.ids) - len(self)

    def __repr__(self) -> str:
        return f"Sequences({counted(len(self), 'sequence')}, {counted(len(self.ids), 'symbol')})"


@dataclass(frozen=True)
class Split:
    """How a corpus was split.

    Attributes:
        unit: What was not divided: symbols of a stream, sequences or files.
        validation: Share of the units held out to steer training.
        test: Share of the units held out for the final measurement.
        seed: Of the permutation of units; None where they were cut in the order train, validation, test.
        sizes: Units in train, validation and test.
    """

    unit: Unit
    validation: float
    test: float
    seed: int | None
    sizes: tuple[int, int, int]

    def of_symbols(self, train: int, validation: int, test: int) -> Split:
        """Return the split with so many symbols in its parts, if it divides symbols: a pre-token may be several.

        >>> Split("symbols", 0.2, 0.2, None, (3, 1, 1)).of_symbols(7, 2, 1).sizes
        (7, 2, 1)
        """
        return replace(self, sizes=(train, validation, test)) if self.unit == "symbols" else self

    def __str__(self) -> str:
        train, validation, test = (f"{size:,}" for size in self.sizes)
        if self.seed is None:
            return f"the first {train} {self.unit} train, the next {validation} validate, the last {test} test"
        return f"of the {self.unit}, {train} train, {validation} validate, {test} test, drawn with seed {self.seed}"


class Parts(NamedTuple):
    """The three splits, in provisional ids."""

    train: Sequences
    validation: Sequences
    test: Sequences


class Assignment(NamedTuple):
    """Which units make each split: where they start in the data and how long they are, in the order of the data."""

    starts: list[Positions]  # of train, validation and test
    lengths: list[Positions]
    split: Split


def assign_blocks(symbols: int, config: DataConfig, inputs: str) -> Assignment:
    """Cut a stream of so many symbols into one block for each split, in the order train, validation, test."""
    sizes = _sizes(symbols, 2, config, "symbols", inputs)
    train, validation, test = sizes
    starts = [np.array([start]) for start in (0, train, train + validation)]
    split = Split("symbols", config.validation, config.test, None, (train, validation, test))
    return Assignment(starts, [np.array([size]) for size in sizes], split)


def assign_units(starts: Positions, symbols: int, config: DataConfig, unit: Unit, inputs: str) -> Assignment:
    """Assign whole units, which begin at `starts`, to the splits: at random, or in order if split by block."""
    starts, lengths = _long_enough(starts, symbols)
    sizes = _sizes(len(starts), 1, config, unit, inputs)
    seed = None if config.split_by == "block" else config.split_seed
    order = np.arange(len(starts)) if seed is None else np.random.default_rng(seed).permutation(len(starts))
    shares = [np.sort(units) for units in np.split(order, np.cumsum(sizes)[:2])]
    split = Split(unit, config.validation, config.test, seed, sizes)
    return Assignment([starts[share] for share in shares], [lengths[share] for share in shares], split)


def divided(ids: Compact, assigned: Assignment) -> Parts:
    """Return the splits of ids: views of a stream's blocks, copies of units that may lie anywhere."""
    if assigned.split.unit == "symbols":
        cuts = [int(start[0]) for start in assigned.starts[1:]]
        return Parts(*(as_stream(part) for part in np.split(ids, cuts)))
    return Parts(*(_gathered(ids, *units) for units in zip(assigned.starts, assigned.lengths, strict=True)))


def _sizes(units: int, least: int, config: DataConfig, what: str, inputs: str) -> tuple[int, int, int]:
    """Return the number of units of each split: 0, or at least `least`; a share that comes to less holds none out."""
    if units == 0:
        raise CorpusError(f"{inputs}: empty, it holds no {what}; check that this is the right file")
    if units < least:
        raise CorpusError(f"{inputs}: {units} symbol only; predicting the next one needs at least {least}")
    shares = {"validation": config.validation, "test": config.test}
    sizes = {name: int(units * share + 0.5) for name, share in shares.items()}
    if too_small := [name for name, share in shares.items() if share and sizes[name] < least]:
        sizes |= dict.fromkeys(too_small, 0)
        asked = " and ".join(option(name, shares[name]) for name in too_small)
        names = " and ".join(too_small)
        message = f"{inputs}: too little data for {asked} ({what}: {units:,}); nothing is held out for {names}"
        warnings.warn(message, CorpusWarning, stacklevel=5)
    validation, test = sizes["validation"], sizes["test"]
    train = units - validation - test
    if train < least:
        smaller = f"smaller shares ({option('validation')}, {option('test')})"
        raise CorpusError(f"{inputs}: {train} of {units:,} {what} are left to train on; give more data or {smaller}")
    return train, validation, test


def _long_enough(starts: Positions, end: int) -> tuple[Positions, Positions]:
    """Return start and length of each unit of more than one symbol; a lone EOS is dropped."""
    lengths = np.diff(np.append(starts, end))
    return starts[lengths > 1], lengths[lengths > 1]


def _gathered(ids: Compact, starts: Positions, lengths: Positions) -> Sequences:
    """Return copies of the units at these starts, end to end."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    units = np.empty(offsets[-1], ids.dtype)
    for k, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        units[offsets[k] : offsets[k + 1]] = ids[start : start + length]
    return Sequences(units, offsets)


def as_stream(ids: Compact) -> Sequences:
    """Return a stream as one sequence; an empty stream has no sequence."""
    return Sequences(ids, np.array([0, len(ids)] if len(ids) else [0]))


def beginning(part: Sequences, most: int) -> Sequences:
    """Return the whole sequences within the first `most` symbols, or that much of the first.

    >>> beginning(Sequences(np.array([0, 1, 2, 1, 2], np.uint8), np.array([0, 3, 5])), 4)
    Sequences(1 sequence, 3 symbols)
    """
    n = int(np.searchsorted(part.offsets, most, side="right")) - 1
    return Sequences(part.ids[: part.offsets[n]], part.offsets[: n + 1]) if n else as_stream(part.ids[:most])


def as_sequences(ids: Compact) -> Sequences:
    """Return the sequences that END separates."""
    return _gathered(ids, *_long_enough(sequence_starts(ids), len(ids)))


def sequence_starts(ids: Compact) -> Positions:
    """Return where sequences may begin: at 0 and after each END."""
    found = [np.flatnonzero(block == END) + 1 + k * BLOCK for k, block in enumerate(blocks(ids))]
    return np.concatenate([np.zeros(1, np.int64), *found])


def renumbered(part: Sequences, final: Compact, lengths: Positions) -> Sequences:
    """Return sequences in final ids; the ids are read-only, and overwrite the provisional ones where the type allows.

    Args:
        part: sequences in provisional ids below n.
        final: the final ids of provisional id 0, then of 1, ..., n - 1.
        lengths: (n,) how many final ids each provisional one becomes.
    """
    if (lengths == 1).all():
        ids, offsets = part.ids if part.ids.dtype == final.dtype else np.empty(len(part.ids), final.dtype), part.offsets
        for before, after in zip(blocks(part.ids), blocks(ids), strict=True):
            after[:] = final[before]
    else:
        ends = np.concatenate([[0], np.cumsum(lengths[part.ids])])
        first = (np.cumsum(lengths) - lengths)[part.ids]  # where the final ids of each symbol begin
        ids = final[np.repeat(first - ends[:-1], lengths[part.ids]) + np.arange(ends[-1])]
        offsets = ends[part.offsets]
    ids.flags.writeable = False
    return Sequences(ids, offsets)


def counts(ids: Compact, n: int) -> npt.NDArray[np.int64]:
    """Return how often each id below n occurs, (n,), without an 8-byte copy of all."""
    if ids.dtype == np.uint8 and len(ids) >= BLOCK:  # two at a time
        even = len(ids) // 2 * 2
        pairs = counts(ids[:even].view(np.uint16), 1 << 16).reshape(256, 256)
        both: npt.NDArray[np.int64] = pairs.sum(0) + pairs.sum(1)
        return both[:n] + counts(ids[even:], n)
    found = np.zeros(n, np.int64)
    for block in blocks(ids):
        found += np.bincount(block, minlength=n)
    return found


def blocks(ids: Compact) -> Iterator[Compact]:
    """Yield views of ``BLOCK`` ids each."""
    return (ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK))
