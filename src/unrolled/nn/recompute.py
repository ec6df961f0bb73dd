"""Less memory for the backward pass: keep no gates, and compute those of one segment after the other again.

Source: Gruslys et al., "Memory-efficient backpropagation through time", 2016.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

#: Steps in a segment; "auto" for about sqrt(T); None keeps every gate.
CheckpointSteps: TypeAlias = int | Literal["auto"] | None


def checked(wanted: CheckpointSteps) -> CheckpointSteps:
    """Return the `checkpoint_steps` of a layer.

    Raises: ValueError for anything but None, "auto" and a number of steps.

    >>> checked("auto")
    'auto'
    """
    if wanted is None or wanted == "auto" or (type(wanted) is int and wanted >= 1):
        return wanted
    raise ValueError(f'checkpoint_steps is {wanted!r}, expected None, "auto" or the steps of a segment, 1 or more')


def segment_steps(wanted: CheckpointSteps, T: int) -> int:
    """Return how many of T steps make a segment, 0 for a call that keeps every gate.

    The core rounds up to whole blocks of its sums over rows (docs/kernels.md).

    >>> segment_steps("auto", 1000), segment_steps(64, 1000), segment_steps(None, 1000)
    (32, 64, 0)
    """
    if checked(wanted) is None:
        return 0
    return math.ceil(T**0.5) if wanted == "auto" else int(wanted)  # type: ignore[arg-type]
