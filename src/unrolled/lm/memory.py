"""Whether training a model fits into memory, and what makes it fit: gates that are recomputed instead of saved."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np

from unrolled.config.model import ModelConfig
from unrolled.config.options import option
from unrolled.config.training import KEPT, TrainingConfig
from unrolled.core.free_memory import available, resident
from unrolled.corpus.splitting import Sequences
from unrolled.notation import CELLS, has_cell_state
from unrolled.saved.tensors import model_tensors
from unrolled.words import counted, sized

#: Units to which the core pads what it saves of a step.
PADDED = 16


class Largest(NamedTuple):
    """The largest batch: the symbols that it reads, and its time steps."""

    symbols: int
    steps: int

    @classmethod
    def of(cls, part: Sequences, stream: bool, training: TrainingConfig) -> Largest:
        """Return the largest batch of a run.

        >>> Largest.of(Sequences(np.zeros(8), np.array([0, 3, 8])), False, TrainingConfig(batch_size=1))
        Largest(symbols=4, steps=4)
        """
        B = training.batch_size
        if stream:
            steps = min(training.bptt, -(-(len(part.ids) - 1) // B))
            return cls(B * steps, steps)
        lengths = np.sort(part.lengths - 1)[-B:]
        return cls(int(lengths.sum()), int(lengths[-1]))

    def shared(self, processes: int) -> Largest:
        """Return what each of several processes that share a batch has of it.

        >>> Largest(symbols=100, steps=10).shared(3)
        Largest(symbols=34, steps=10)
        """
        return self._replace(symbols=-(-self.symbols // processes))


class Needs(NamedTuple):
    """Bytes that a run takes: for its parameters, with what is kept for each, and for its largest batch."""

    parameters: int
    batch: int

    @classmethod
    def of(
        cls, config: ModelConfig, V: int, training: TrainingConfig | None = None, largest: Largest | None = None
    ) -> Needs:
        """Return what a model with V symbols takes, and what its training does.

        >>> Needs.of(ModelConfig(hidden_size=64), 9, TrainingConfig(), Largest(symbols=6400, steps=100))
        Needs(parameters=633120, batch=13107200)
        """
        count = 4 * parameters(config, V)
        if training is None or largest is None:
            return cls(count * (KEPT if training else 1), 0)
        kind, (rows, T) = config.kind, largest
        number = 2 if training.precision == "bfloat16" else 4
        y, dropped = number, number * bool(config.dropout)  # what a mask leaves; itself it is kept nowhere
        gates, c = number * len(CELLS[kind].saved), 4 * has_cell_state(kind)
        recomputed = config.checkpoint_steps
        if recomputed is None:
            kept = rows * (y + dropped + gates + c)
        else:
            segment = min(T, math.ceil(T**0.5) if recomputed == "auto" else recomputed)
            kept = rows * (y + dropped) + rows * c // segment + rows * segment // T * (gates + c) // config.num_layers
        passing = rows * (2 * number + dropped)  # dy and dx of the layer that is walked back, before and after dropout
        return cls(count * KEPT, -(-config.hidden_size // PADDED) * PADDED * (config.num_layers * kept + passing))

    @property
    def total(self) -> int:
        """Bytes of both."""
        return self.parameters + self.batch


def room(limit: int | None = None) -> int:
    """Return how many more bytes this process may take: those free, or those left of a limit for all of it."""
    free = available()
    return free if limit is None else max(0, min(free, limit - resident()))


def fitted(
    config: ModelConfig, V: int, training: TrainingConfig, largest: Largest, limit: int | None = None
) -> ModelConfig:
    """Return a model that recomputes its gates if training it would not fit into memory otherwise.

    Args: as :func:`check_memory`.
    """
    if config.checkpoint_steps is not None or Needs.of(config, V, training, largest).total <= room(limit):
        return config
    spared = replace(config, checkpoint_steps="auto")
    fewer = Needs.of(spared, V, training, largest).batch < Needs.of(config, V, training, largest).batch
    return spared if fewer else config


def check_memory(
    config: ModelConfig,
    V: int,
    training: TrainingConfig | None = None,
    largest: Largest | None = None,
    limit: int | None = None,
) -> None:
    """Check that a model with V symbols fits into memory; it is not made for that.

    Args:
        config: its sizes.
        V: symbols of its vocabulary.
        training: how it is trained; None if it is not.
        largest: its largest batch.
        limit: bytes that this process may take in all; None for those that are free.

    Raises: MemoryError with the bytes needed, the bytes free, and the options that lower them.

    >>> check_memory(ModelConfig(hidden_size=10**6), 4)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    MemoryError: 4,000,028,000,004 parameters take 16,000.1 GB, and ... are free; lower hidden_size (now 1,000,000)
    """
    needs, free = Needs.of(config, V, training, largest), room(limit)
    if needs.total <= free:
        return
    if limit is not None and limit <= (taken := resident()):
        raise MemoryError(
            f"{option('memory')} is {sized(limit)}, and this process takes {sized(taken)} before it trains; give "
            f"{sized(taken + needs.total)} or more"
        )
    sizes = {name: getattr(config, name) for name in ("hidden_size", "num_layers", "embedding_size")}
    if training is None or largest is None or needs.parameters > needs.batch:
        kept = ", with what training keeps for each," if training else ""
        said = f"{parameters(config, V):,} parameters take{kept} {sized(needs.parameters)}"
    else:
        said = f"a batch of {counted(largest.symbols, 'symbol')} takes {sized(needs.batch)} in all layers"
        sizes |= {"batch_size": training.batch_size, "bptt": training.bptt}
    defaults = asdict(ModelConfig(embedding_size=256)) | asdict(TrainingConfig())
    raised = [name for name, size in sizes.items() if size > defaults[name]]
    lower = ", ".join(f"{option(name)} (now {sizes[name]:,})" for name in raised or ["hidden_size"])
    of = "are free" if limit is None else f"are left of {option('memory')}"
    raise MemoryError(f"{said}, and {sized(free)} {of}; lower {lower}")


def parameters(config: ModelConfig, V: int) -> int:
    """Return the number of parameters of a model with V symbols, without making one.

    >>> parameters(ModelConfig(cell="gru", hidden_size=10, num_layers=3), 4)
    1844
    """
    of = [  # of one and of two layers; every further layer is like the second
        sum(math.prod(each.shape) for each in model_tensors(replace(config, num_layers=L), V) if each.name != "start")
        for L in (1, 2)
    ]
    return of[0] + (config.num_layers - 1) * (of[1] - of[0])
