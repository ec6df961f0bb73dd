"""What a network computes, by the equations in NumPy float64: what every other library's numbers are compared with."""

import numpy as np

from tests.nn.oracle import unroll
from unrolled.formats.network_of import PARTS
from unrolled.saved.network import Network


def outputs(network: Network, x: np.ndarray) -> np.ndarray:
    """Return y (T, B, width) for vectors (T, B, I) or symbols (T, B); (B, width) of a head that reads the last step."""
    if network.embedding is not None:
        x = network.embedding[x]
    elif network.one_hot:
        x = np.eye(network.I)[x]
    for layer in network.layers:
        x = np.concatenate([_direction(layer, x, reverse) for reverse in range(layer.D)], -1)
    head = network.head
    if head is None:
        return x
    if head.when == "last":  # of each direction: the one that reads backward ends at time 0
        ways = np.split(x, network.layers[-1].D, -1)
        x = np.concatenate([way[0 if reverse else -1] for reverse, way in enumerate(ways)], -1)
    elif head.when == "last_output":
        x = x[-1]
    logits = x @ head.W.T.astype(np.float64) + (0 if head.b is None else head.b)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) if head.softmax else logits


def inputs(network: Network, T: int = 7, B: int = 3, seed: int = 0) -> np.ndarray:
    """Return random symbols (T, B), or vectors (T, B, I) float32."""
    rng = np.random.default_rng(seed)
    if network.reads_symbols:
        return rng.integers(0, network.I, (T, B))
    return rng.normal(size=(T, B, network.I)).astype(np.float32)


def lacking(network: Network, parts: str) -> str | None:
    """Return what a message calls the first of these parts, by their names in `PARTS`, that a network has."""
    there = (PARTS[part] for part in parts.split())
    return next((called for has, called in there if any(map(has, network.layers))), None)


def _direction(layer, x, reverse):
    biased = layer.biased().directions[reverse]
    w = {name: None if v is None else v.astype(np.float64) for name, v in biased._asdict().items()}
    B = x.shape[1]
    states = layer.initial[reverse] if layer.initial else [np.zeros(width) for width in layer.state_widths()]
    h, *c = (np.tile(s.astype(np.float64), (B, 1)) for s in states)
    return unroll(layer.kind, x.astype(np.float64), h, c[0] if c else None, w, reverse=bool(reverse))[0]
