"""min-char-rnn: an Elman network on one-hot symbols as arrays Wxh, Whh, Why, bh, by, in .npz or .safetensors.

    h = tanh(Wxh x + Whh h + bh)        y = Why h + by

Wxh (H, V), Whh (H, H), Why (V, H), bh (H, 1) or (H), by (V, 1) or (V).
Source: A. Karpathy, Minimal character-level language model, https://gist.github.com/karpathy/d4dee566867f8291f086
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.config.options import listed
from unrolled.formats.arrays import Arrays, numbers, read_arrays
from unrolled.formats.assembly import one_layer
from unrolled.formats.network_of import FormatError
from unrolled.formats.outside_files import finished
from unrolled.notation import Weights
from unrolled.saved.network import Head, Network

NAMES = ("Wxh", "Whh", "Why", "bh", "by")


def from_char_rnn(path: str | Path) -> Network:
    """Return the network that a file of these five arrays is; it reads symbols.

    Raises: FormatError if one is missing or does not fit, or the file is damaged.
    """
    return finished(Path(path), lambda: _network(str(path), read_arrays(path)))


def _network(where: str, arrays: Arrays) -> Network:
    if {*NAMES} - {*arrays}:
        raise FormatError(f"{where}: has arrays {listed(sorted(arrays))}, expected {', '.join(NAMES)}")
    Wxh, Whh, Why = (_shaped(where, arrays, name, 2) for name in NAMES[:3])
    bh, by = (_shaped(where, arrays, name, 1) for name in NAMES[3:])
    layer = one_layer(where, "RNN_TANH", Weights(Wxh, Whh, bh, np.zeros_like(bh)))
    return Network((layer,), one_hot=True, head=Head(Why, by))


def _shaped(where: str, arrays: Arrays, name: str, dimensions: int) -> NDArray[np.floating]:
    array = numbers(f"{where}: {name}", arrays[name])
    if dimensions == 1 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != dimensions:
        raise FormatError(f"{where}: {name} is {array.shape}, expected {'a matrix' if dimensions == 2 else '(N, 1)'}")
    return array
