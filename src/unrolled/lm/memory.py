"""Whether training a model fits into memory."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np

from unrolled.config.model import ModelConfig
from unrolled.config.options import option
from unrolled.config.training import TrainingConfig
from unrolled.core.free_memory import available
from unrolled.corpus.splitting import Sequences
from unrolled.notation import CELLS, has_cell_state
from unrolled.saved.tensors import model_tensors
from unrolled.words import counted

#: Numbers that training keeps for each parameter: itself, its gradient, two moments, its best value.
KEPT = 5


def check_memory(config: ModelConfig, V: int, training: TrainingConfig | None = None, rows: int = 0) -> None:
    """Check that a model with V symbols fits into memory; it is not made for that.

    Args:
        config: its sizes.
        V: symbols of its vocabulary.
        training: how it is trained; None if it is not.
        rows: time steps times rows of its largest batch, as :func:`largest_batch` finds them.

    Raises: MemoryError with the bytes needed, the bytes free, and the options that lower them.

    >>> check_memory(ModelConfig(hidden_size=10**6), 4)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    MemoryError: 4,000,028,000,004 parameters take 16,000.1 GB, and ... GB are free; lower hidden_size (now 1,000,000)
    """
    count = parameters(config, V)
    of_weights = 4 * count * (KEPT if training else 1)
    narrow = training is not None and training.precision == "bfloat16"
    of_unit = (2 if narrow else 4) * (1 + (0 if config.checkpoint_steps else len(CELLS[config.kind].saved)))
    of_batch = rows * config.num_layers * config.hidden_size * (of_unit + 4 * has_cell_state(config.kind))
    free = available()
    if of_weights + of_batch <= free:
        return
    sizes = {name: getattr(config, name) for name in ("hidden_size", "num_layers", "embedding_size")}
    if training is None or of_weights > of_batch:
        kept = ", with what training keeps for each," if training else ""
        said = f"{count:,} parameters take{kept} {of_weights / 1e9:,.1f} GB"
    else:
        said = f"a batch of {counted(rows, 'symbol')} takes {of_batch / 1e9:,.1f} GB in all layers"
        sizes |= {"batch_size": training.batch_size, "bptt": training.bptt}
    defaults = asdict(ModelConfig(embedding_size=256)) | asdict(TrainingConfig())
    raised = [name for name, size in sizes.items() if size > defaults[name]]
    lower = ", ".join(f"{option(name)} (now {sizes[name]:,})" for name in raised or ["hidden_size"])
    raise MemoryError(f"{said}, and {free / 1e9:,.1f} GB are free; lower {lower}")


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


def largest_batch(part: Sequences, stream: bool, training: TrainingConfig) -> int:
    """Return the symbols that the largest batch reads: time steps times rows.

    >>> largest_batch(Sequences(np.zeros(8), np.array([0, 3, 8])), False, TrainingConfig(batch_size=1))
    4
    """
    B = training.batch_size
    if stream:
        return B * min(training.bptt, -(-(len(part.ids) - 1) // B))
    return int(np.sort(part.lengths - 1)[-B:].sum())
