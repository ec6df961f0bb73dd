"""What a network gives step by step: the core's steppers, a layer each, with the rest in NumPy."""

import numpy as np

from unrolled.core.stepper import CoreStepper
from unrolled.saved.network import Network


def outputs(network: Network, x: np.ndarray) -> np.ndarray:
    """Return what a network gives (T, width) for vectors (T, I) or symbols (T)."""
    if network.embedding is not None:
        x = network.embedding[x]
    for number, layer in enumerate(network.layers):
        (weights,) = layer.biased().directions
        symbols = network.one_hot and number == 0
        stepper = CoreStepper(layer.kind, [tuple(weights)], 1, symbols=symbols)
        for state, start in zip(stepper.states[0], layer.initial[0] if layer.initial else (), strict=False):
            state[0] = start
        rows = x[:, None] if symbols else np.ascontiguousarray(x)[:, None]
        x = np.array([stepper.step(row)[0].copy() for row in rows])
    head = network.head
    if head is None:
        return x
    y = x @ head.W.T + (0 if head.b is None else head.b)
    if head.softmax:
        y = np.exp(y - y.max(axis=1, keepdims=True))
        y /= y.sum(axis=1, keepdims=True)
    return y


def inputs(network: Network, T: int, seed: int = 3) -> np.ndarray:
    """Return T inputs of a network: symbols, or vectors of its type."""
    rng = np.random.default_rng(seed)
    if network.reads_symbols:
        return rng.integers(0, network.I, T)
    return rng.normal(size=(T, network.I)).astype(network.dtype)
