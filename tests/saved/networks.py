"""Networks of every shape that a folder or another format may have to hold, with random weights."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from unrolled.notation import CELLS, Kind, Weights, weight_shapes
from unrolled.saved.network import Head, Layer, Network, TextPart
from unrolled.saved.vocabulary import Vocabulary

SIZES = ((3, 5), (1, 1), (4, 9))


def layer(
    kind: Kind, I: int, H: int, D: int = 1, *, P: int = 0, bias: bool = True, initial: bool = False, **options: Any
) -> Layer:
    """Return a layer with random weights; options `seed` and `dtype`."""
    rng, dtype = np.random.default_rng(options.get("seed", 0)), options.get("dtype", np.float32)

    def random(*shape: int) -> Any:
        return rng.uniform(-0.9, 0.9, shape).astype(dtype)

    shapes = weight_shapes(kind, I, H, bias=bias, proj_size=P)
    directions = tuple(Weights(**{name: random(*shape) for name, shape in shapes.items()}) for _ in range(D))
    states = tuple(tuple(random((P or H) if s == "h" else H) for s in CELLS[kind].states) for _ in range(D))
    return Layer(kind, directions, states if initial else None)


def networks() -> Iterator[tuple[str, Network]]:
    """Yield networks by name: each kind of cell, and each part that may be there or not."""
    rng = np.random.default_rng(7)
    for kind in CELLS:
        for I, H in SIZES:
            yield f"{kind}-{I}-{H}", Network((layer(kind, I, H),))
    for kind in ("LSTM", "GRU", "RNN_TANH", "RNN_RELU"):
        yield f"{kind}-two-ways", Network((layer(kind, 3, 5, 2), layer(kind, 10, 4, 2, seed=1)))
        yield f"{kind}-float64", Network((layer(kind, 3, 5, dtype=np.float64),))
        yield f"{kind}-no-bias", Network((layer(kind, 3, 5, bias=False),))
        yield f"{kind}-initial", Network((layer(kind, 3, 5, initial=True),))
        yield f"{kind}-one-hot", Network((layer(kind, 6, 5),), one_hot=True)
    yield "projected", Network((layer("LSTM", 3, 5, 2, P=2), layer("LSTM", 4, 6, P=3, seed=1)))
    yield "mixed", Network((layer("LSTM", 3, 5), layer("GRU", 5, 4), layer("RNN_RELU", 4, 2)))
    W, b, E = (rng.normal(size=shape).astype(np.float32) for shape in ((7, 5), (7,), (7, 3)))
    for when in ("each", "last"):
        for softmax in (False, True):
            head = Head(W, b, when, softmax)  # type: ignore[arg-type]
            yield f"head-{when}-{softmax}", Network((layer("GRU", 3, 5),), head=head)
    yield "head-LSTM", Network((layer("LSTM", 3, 5),), head=Head(W, b))  # what an audio plug-in holds
    yield "head-no-bias", Network((layer("GRU", 3, 5),), E, head=Head(W))
    for when in ("last", "last_output"):
        head = Head(rng.normal(size=(7, 10)).astype(np.float32), b, when)  # type: ignore[arg-type]
        yield f"head-two-ways-{when}", Network((layer("GRU", 3, 5, 2),), head=head)
    yield from text_networks()


def text_networks() -> Iterator[tuple[str, Network]]:
    """Yield networks of text; all but the last are what a `SequenceModel` can be."""
    rng = np.random.default_rng(8)
    vocabulary = Vocabulary("abcde", "characters")
    W, b, E, start = (rng.normal(size=shape).astype(np.float32) for shape in ((7, 5), (7,), (7, 3), (7,)))
    text = TextPart(vocabulary, False, start)
    for kind in ("LSTM", "GRU", "RNN_TANH", "RNN_RELU"):
        layers = (layer(kind, 3, 5, initial=True), layer(kind, 5, 5, initial=True, seed=1))
        yield f"text-{kind}", Network(layers, E, head=Head(W, b), text=text)
        yield f"text-{kind}-one-hot", Network((layer(kind, 7, 5),), one_hot=True, head=Head(W, b), text=text)
    yield "text-mixed", Network((layer("LSTM", 3, 4), layer("GRU", 4, 5)), E, head=Head(W, b), text=text)
