"""Networks whose matrices a smaller type holds exactly, and those of float32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import StoredWeights
from unrolled.notation import Weights
from unrolled.saved.network import Layer, Network
from unrolled.saved.stored import nearest


def narrowed(network: Network, weights: StoredWeights) -> Network:
    """Return the network whose matrices are the nearest that a smaller type holds; its arrays are float32.

    Args: the network; "bfloat16", "int8" with one scale per row, or "float32" for matrices that are saved as they are.
    Raises: ValueError for another type, or if a weight is not finite in float32.

    >>> layer = Layer("RNN_TANH", (Weights(np.array([[0.3]]), np.array([[1.0]])),))
    >>> narrowed(Network((layer,)), "bfloat16").layers[0].directions[0].W_ih
    array([[0.30078125]], dtype=float32)
    """
    if weights not in get_args(StoredWeights):
        raise ValueError(f"weights are {weights!r}, expected {', '.join(get_args(StoredWeights))}")
    for name, w in network.tensors().items():
        with np.errstate(over="ignore"):
            if not np.isfinite(w.astype(np.float32)).all():
                raise ValueError(f"{name} holds a number that is not finite in float32; train the network again")
    narrow = None if weights == "float32" else weights

    def change(w: NDArray[Any] | None) -> Any:
        return None if w is None else nearest(w, narrow) if narrow and w.ndim == 2 else w.astype(np.float32)

    def of_layer(layer: Layer) -> Layer:
        initial = layer.initial and tuple(tuple(s.astype(np.float32) for s in states) for states in layer.initial)
        return Layer(layer.kind, tuple(Weights(*map(change, each)) for each in layer.directions), initial)

    head = network.head and replace(network.head, W=change(network.head.W), b=change(network.head.b))
    layers = tuple(map(of_layer, network.layers))
    return replace(network, layers=layers, embedding=change(network.embedding), head=head, narrow=narrow)
