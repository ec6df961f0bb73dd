"""The gate order of every other format, in the letters of :mod:`unrolled.notation`, and the change from one to another.

torch's is this package's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.notation import GATES

#: By format and kind of cell, its order in our letters.  ONNX writes i o f c and z r h, Keras i f c o and z r h.
ORDERS: dict[str, dict[str, str]] = {
    "torch": GATES,
    "onnx": {"LSTM": "iofg", "GRU": "zrn"},
    "keras": {"LSTM": "ifgo", "GRU": "zrn"},
}


def reordered(stacked: NDArray[Any], kind: str, source: str, target: str) -> NDArray[Any]:
    """Return blocks of gates (G*H, ...) that one format stacks in the order of another.

    >>> reordered(np.array([1, 2, 3, 4]), "LSTM", "torch", "onnx").tolist()
    [1, 4, 2, 3]
    >>> reordered(np.array([1, 2, 3]), "GRU", "keras", "torch").tolist()
    [2, 1, 3]
    """
    before, after = (ORDERS[format].get(kind, GATES[kind]) for format in (source, target))
    blocks = np.split(stacked, len(before))
    return np.concatenate([blocks[before.index(gate)] for gate in after])
