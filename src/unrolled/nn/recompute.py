"""Less memory for the backward pass: save no gates, and recompute them segment by segment.

Source: Gruslys et al., "Memory-efficient backpropagation through time", 2016.
"""

from __future__ import annotations

import math

from torch import Tensor

from unrolled.config.checks import CheckpointSteps, check_checkpoint_steps
from unrolled.core.fields import Layout
from unrolled.notation import CELLS


def segment_steps(kind: str, layout: Layout, x: Tensor, wanted: CheckpointSteps) -> int:
    """Return the number of steps whose gates are recomputed together, 0 for a call that saves every gate.

    The core rounds up to whole blocks of its sums over rows (docs/kernels.md).

    Args: wanted: `checkpoint_steps` of the layer.
    Raises: ValueError for a `checkpoint_steps` out of range.

    >>> import torch
    >>> x = torch.zeros(1000, 1, 4)
    >>> [segment_steps("LSTM", Layout(), x, wanted) for wanted in ("auto", 64, None)]
    [32, 64, 0]
    """
    if wanted is None:
        return 0
    check_checkpoint_steps(wanted)
    if not CELLS[kind].saved:
        return 0
    T = x.shape[int(layout.batch_first)] if layout.batch_sizes is None else len(layout.batch_sizes)
    return math.ceil(T**0.5) if wanted == "auto" else wanted
