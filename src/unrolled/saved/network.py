"""A network apart from any library: its layers, what it reads, and what its head predicts.

What trains networks, runs them, saves them and brings them in and out of other formats meets here.  Letters and shapes
are those of :mod:`unrolled.notation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import check_value
from unrolled.config.model import CellName, ModelConfig
from unrolled.core.int8 import LONGEST
from unrolled.notation import CELLS, SHAPES, Kind, Weights, gate_count, stored_name, weight_shapes
from unrolled.saved.atomic_files import Tensors
from unrolled.saved.model import SavedModel
from unrolled.saved.stored import Narrow
from unrolled.saved.vocabulary import Vocabulary
from unrolled.words import counted

Array = NDArray[Any]

#: What a head reads: the output of the last layer at "each" step; h of each direction after its "last" step, which is
#: the first of the sequence for the reverse one; or the output at the last step, "last_output", where the reverse
#: direction has read that step alone.  With one direction the last two are the same, and called "last".
When = Literal["each", "last", "last_output"]
#: The cell and the nonlinearity by which a configuration names a kind of cell.
_CELLS: dict[str, tuple[CellName, Literal["tanh", "relu"]]] = {
    "LSTM": ("lstm", "tanh"),
    "GRU": ("gru", "tanh"),
    "RNN_TANH": ("rnn", "tanh"),
    "RNN_RELU": ("rnn", "relu"),
}


@dataclass(frozen=True)
class Layer:
    """One recurrent layer.

    Attributes:
        kind: Kind of cell, as in :data:`unrolled.notation.CELLS`.
        directions: Weights of the forward direction, and of the reverse one if there is one: W_ih (G*H, I),
            W_hh (G*H, P), b_ih and b_hh (G*H) or None, W_hr (P, H) or None, p (3*H) or None.
        initial: The state before the first step of each direction, h (P), for LSTM followed by c (H); None for zeros.

    >>> layer = Layer("RNN_TANH", (Weights(np.ones((2, 3)), np.eye(2)),))
    >>> layer.I, layer.H, layer.P, layer.D, layer.width
    (3, 2, 2, 1, 2)
    """

    kind: Kind
    directions: tuple[Weights, ...]
    initial: tuple[tuple[Array, ...], ...] | None = None

    @property
    def I(self) -> int:  # noqa: E743
        """The width of its input."""
        return int(self.directions[0].W_ih.shape[1])

    @property
    def H(self) -> int:
        """Its units."""
        return int(self.directions[0].W_hh.shape[0]) // gate_count(self.kind)

    @property
    def P(self) -> int:
        """The width of h: H, unless it is projected."""
        return int(self.directions[0].W_hh.shape[1])

    @property
    def D(self) -> int:
        """Its directions."""
        return len(self.directions)

    @property
    def width(self) -> int:
        """The width of its output, D*P."""
        return self.D * self.P

    @property
    def has_bias(self) -> bool:
        """Whether it has biases."""
        return self.directions[0].b_ih is not None

    @property
    def is_projected(self) -> bool:
        """Whether h is a projection W_hr of o * tanh(c)."""
        return self.directions[0].W_hr is not None

    def biased(self) -> Layer:
        """Return this layer with biases, zeros where it has none."""
        zeros = np.zeros(len(self.directions[0].W_ih), self.directions[0].W_ih.dtype)
        return (
            self
            if self.has_bias
            else replace(self, directions=_each(self, lambda w: w._replace(b_ih=zeros, b_hh=zeros)))
        )

    def state_widths(self) -> tuple[int, ...]:
        """Return the width of each state: P of h, H of c."""
        return tuple(self.P if name == "h" else self.H for name in CELLS[self.kind].states)


@dataclass(frozen=True)
class Head:
    """What turns the outputs of the last layer into predictions: y = W x + b, and maybe its softmax.

    Attributes:
        W: (V, D*P).
        b: (V), or None.
        when: What it reads: the output at "each" step, h of each direction after its "last" one, as torch's `h_n` and
            Keras have it, or the output at the last step, "last_output", as torch's `output[-1]`.
        softmax: Whether it gives probabilities, not logits.
    """

    W: Array
    b: Array | None = None
    when: When = "each"
    softmax: bool = False

    @classmethod
    def unchanged(cls, layer: Layer, when: When) -> Head:
        """Return the head that gives what it reads of a layer: W is the identity (D*P, D*P)."""
        return cls(np.eye(layer.width, dtype=layer.directions[0].W_ih.dtype), None, when)


@dataclass(frozen=True)
class TextPart:
    """What a network of text knows of its symbols.

    Attributes:
        vocabulary: The symbols that it reads and writes.
        framed: Whether it learned sequences that end with EOS; else one stream.
        start: (V,) log-probabilities of a first symbol.
    """

    vocabulary: Vocabulary
    framed: bool
    start: NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """Recurrent layers, bottom first, with what may stand before and after them.

    All arrays are of one type, float32 or float64.

    Attributes:
        layers: At least one; each reads what the one below writes.
        embedding: (V, E), for symbols that are looked up in it; None.
        one_hot: Whether it reads symbols without an embedding, as one-hot vectors of the first layer's I.
        head: What follows the last layer, or None.
        text: What a network of text knows of its symbols, or None.
        origin: JSON values that say where it comes from.
        narrow: The smaller type that holds its matrices exactly, and as which they are saved; None.

    Raises: ValueError if a part does not fit the others; the message names it.

    >>> layer = Layer("RNN_TANH", (Weights(np.ones((2, 3)), np.eye(2)),))
    >>> Network((layer,), head=Head(np.ones((5, 4))))
    Traceback (most recent call last):
        ...
    ValueError: head: W is (5, 4), expected (V, D*P) with D*P = 2
    """

    layers: tuple[Layer, ...]
    embedding: Array | None = None
    one_hot: bool = False
    head: Head | None = None
    text: TextPart | None = None
    origin: dict[str, Any] | None = None
    narrow: Narrow | None = None

    def __post_init__(self) -> None:
        _check(self)
        if self.head is not None and self.head.when == "last_output" and self.layers[-1].D == 1:
            object.__setattr__(self, "head", replace(self.head, when="last"))

    @property
    def reads_symbols(self) -> bool:
        """Whether a step reads a symbol rather than a vector."""
        return self.one_hot or self.embedding is not None

    @property
    def I(self) -> int:  # noqa: E743
        """The width of what it reads: V of symbols, I of vectors."""
        return self.layers[0].I if self.embedding is None else len(self.embedding)

    @property
    def width(self) -> int:
        """The width of what it gives: V of the head, or D*P of the last layer."""
        return self.layers[-1].width if self.head is None else len(self.head.W)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its arrays."""
        found: np.dtype[Any] = np.dtype(self.layers[0].directions[0].W_ih.dtype)
        return found

    @property
    def stored(self) -> str:
        """The type of its matrices in a file: float32, float64, bfloat16 or int8."""
        return self.narrow or str(self.dtype)

    @property
    def is_steppable(self) -> bool:
        """Whether it has a next step: no layer runs backward."""
        return all(layer.D == 1 for layer in self.layers)

    def tensors(self) -> Tensors:
        """Return its arrays by their stored names, without `start`.

        >>> layer = Layer("GRU", (Weights(np.ones((6, 3)), np.ones((6, 2))),) * 2)
        >>> [*Network((layer,), head=Head(np.ones((5, 4)))).tensors()][:3]
        ['rnn.weight_ih_l0', 'rnn.weight_hh_l0', 'rnn.weight_ih_l0_reverse']
        """
        found: Tensors = {} if self.embedding is None else {"embedding.weight": self.embedding}
        for number, layer in enumerate(self.layers):
            for reverse, weights in enumerate(layer.directions):
                there = {name: w for name, w in weights._asdict().items() if w is not None}
                found |= {f"rnn.{stored_name(name, number, bool(reverse))}": w for name, w in there.items()}
                for name, s in zip(CELLS[layer.kind].states, (layer.initial or ((),) * 2)[reverse], strict=False):
                    found[initial_name(name, number, bool(reverse))] = s
        if self.head is not None:
            found |= {"head.weight": self.head.W} | ({} if self.head.b is None else {"head.bias": self.head.b})
        return found

    @classmethod
    def of_model(cls, saved: SavedModel) -> Network:
        """Return the network of a text model."""
        tensors, kind, L = saved.tensors, saved.model.kind, saved.model.num_layers
        states = [tensors[f"initial.{k}"] for k in range(len(CELLS[kind].states)) if f"initial.{k}" in tensors]
        layers = []
        for layer in range(L):
            weights = Weights(**{w: tensors[f"rnn.{stored_name(w, layer)}"] for w in weight_shapes(kind, 1, 1)})
            layers.append(Layer(kind, (weights,), (tuple(s[layer, 0] for s in states),) if states else None))
        E = tensors.get("embedding.weight")
        head = Head(tensors["head.weight" if "head.weight" in tensors else "embedding.weight"], tensors["head.bias"])
        text = TextPart(saved.vocabulary, saved.framed, tensors["start"])
        origin, narrow = without_weights(saved.origin)
        return cls(tuple(layers), E, E is None, head, text, origin, narrow)

    def model_config(self) -> ModelConfig | None:
        """Return the configuration of the text model that this network is, or None if it is none."""
        first, head = self.layers[0], self.head
        alike = all(
            (layer.kind, layer.H, layer.initial is None) == (first.kind, first.H, first.initial is None)
            and layer.D == 1
            and not layer.is_projected
            for layer in self.layers
        )
        if not alike or first.kind not in _CELLS or self.text is None or not self.reads_symbols:
            return None
        if head is None or head.when != "each" or head.softmax or len(head.W) != len(self.text.vocabulary):
            return None
        cell, nonlinearity = _CELLS[first.kind]
        return ModelConfig(
            cell,
            first.H,
            len(self.layers),
            0 if self.embedding is None else int(self.embedding.shape[1]),
            nonlinearity=nonlinearity,
            learned_initial_state=first.initial is not None,
        )


def initial_name(state: str, layer: int, reverse: bool) -> str:
    """Return the stored name of the state before the first step of one layer and direction.

    >>> initial_name("c", 1, True)
    'initial.c_l1_reverse'
    """
    return f"initial.{state}_l{layer}" + ("_reverse" if reverse else "")


def without_weights(config: dict[str, Any]) -> tuple[dict[str, Any], Narrow | None]:
    """Return the keys of config.json but the one that says how matrices lie in the file, and what that says."""
    return {key: value for key, value in config.items() if key != "weights"}, config.get("weights")


def _each(layer: Layer, change: Callable[[Weights], Weights]) -> tuple[Weights, ...]:
    return tuple(change(weights) for weights in layer.directions)


def _check(network: Network) -> None:
    for where, given, kind in _given(network):
        if not isinstance(given, kind):
            raise TypeError(f"{where} is a {type(given).__name__}, expected {kind.__name__}")
    if not network.layers:
        raise ValueError("a network needs at least one layer")
    if network.one_hot and network.embedding is not None:
        raise ValueError("symbols are read one-hot or through an embedding, not both")
    if network.embedding is not None and network.embedding.ndim != 2:
        raise ValueError(f"embedding is {network.embedding.shape}, expected (V, E)")
    width = None if network.embedding is None else network.embedding.shape[1]
    for number, layer in enumerate(network.layers):
        for where, what, letters, shape in _parts(layer, width):
            if what.shape != shape:
                sizes = dict(zip(letters, shape, strict=True))
                expected = f"({', '.join(letters)}) with {', '.join(f'{a} = {n}' for a, n in sizes.items())}"
                raise ValueError(f"layer {number}: {where} is {what.shape}, expected {expected}")
        width = layer.width
    head, text = network.head, network.text
    if head is not None:
        check_value("when", head.when, When)
    if head is not None and (head.W.ndim != 2 or head.W.shape[1] != width):
        raise ValueError(f"head: W is {head.W.shape}, expected (V, D*P) with D*P = {width}")
    if head is not None and head.b is not None and head.b.shape != head.W.shape[:1]:
        raise ValueError(f"head: b is {head.b.shape}, expected (V) with V = {len(head.W)}")
    if text is not None:
        V = len(text.vocabulary)
        if not network.reads_symbols or network.I != V:
            raise ValueError(f"the vocabulary has V = {V} symbols, but the network reads {_read(network)}")
        if text.start.shape != (V,):
            raise ValueError(f"start is {text.start.shape}, expected (V) with V = {V}")
    if network.narrow == "int8" and network.is_steppable:
        _check_int8(network)
    for name, array in network.tensors().items():
        if array.dtype != network.dtype or array.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name} is {array.dtype}, expected one type for all, float32 or float64")


def _check_int8(network: Network) -> None:
    """Refuse rows that are too long for the sums of int8; columns that symbols look up are not summed."""
    widths = {}
    for k, layer in enumerate(network.layers):
        widths[f"W_ih of layer {k}"] = 0 if network.reads_symbols and not k else layer.I
        widths[f"W_hh of layer {k}"] = max(layer.P, layer.H * layer.is_projected)
    for where, width in widths.items():
        if width > LONGEST:
            raise ValueError(
                f"{where} has rows of {counted(width, 'number')}, too long for the sums of int8, expected "
                f"{LONGEST:,} at most; keep its weights in float32 or bfloat16"
            )


def _given(network: Network) -> Iterator[tuple[str, Any, type]]:
    """Yield each part of a network, the outer before the inner: where it stands, what was given, and what it must be.

    >>> [where for where, _, _ in _given(Network((Layer("RNN_TANH", (Weights(np.ones((2, 3)), np.eye(2)),)),)))]
    ['layers', 'layer 0', 'directions of layer 0', 'a direction of layer 0', 'W_ih of layer 0', 'W_hh of layer 0']
    """
    yield "layers", network.layers, Sequence
    for number, layer in enumerate(network.layers):
        of = f"of layer {number}"
        yield f"layer {number}", layer, Layer
        yield f"directions {of}", layer.directions, Sequence
        for weights in layer.directions:
            yield f"a direction {of}", weights, Weights
            yield from ((f"{name} {of}", w, np.ndarray) for name, w in weights._asdict().items() if w is not None)
        if layer.initial is not None:
            yield f"initial {of}", layer.initial, Sequence
            for states in layer.initial:
                yield f"a direction of initial {of}", states, Sequence
                yield from ((f"a state in initial {of}", s, np.ndarray) for s in states)
    arrays = {"embedding": network.embedding}
    if network.head is not None:
        yield "head", network.head, Head
        yield "W of the head", network.head.W, np.ndarray
        arrays["b of the head"] = network.head.b
    yield from ((name, array, np.ndarray) for name, array in arrays.items() if array is not None)


def _read(network: Network) -> str:
    return counted(network.I, "symbol") if network.reads_symbols else f"vectors of {counted(network.I, 'number')}"


def _parts(layer: Layer, width: int | None) -> Iterator[tuple[str, Array, tuple[str, ...], tuple[int, ...]]]:
    """Yield each array of a layer: where it stands, itself, and its shape in letters and in numbers."""
    if layer.kind not in CELLS:
        raise ValueError(f"a layer is of the kind {layer.kind!r}, expected one of {', '.join(CELLS)}")
    if not 1 <= len(layer.directions) <= 2 or any(w.W_ih.ndim != 2 or w.W_hh.ndim != 2 for w in layer.directions):
        raise ValueError("a layer has one direction or two, each of matrices W_ih (G*H, I) and W_hh (G*H, P)")
    states = CELLS[layer.kind].states
    if layer.initial is not None and [*map(len, layer.initial)] != [len(states)] * layer.D:
        raise ValueError(f"initial holds, of each direction of a {layer.kind}, {' and '.join(states)}")
    proj_size = layer.P if layer.is_projected else 0
    bias, I = layer.has_bias, layer.I if width is None else width
    shapes = weight_shapes(layer.kind, I, layer.H, bias=bias, proj_size=proj_size)
    if not layer.is_projected:
        shapes["W_hh"] = (gate_count(layer.kind) * layer.H, layer.H)
    for reverse, weights in enumerate(layer.directions):
        side = " of the reverse direction" if reverse else ""
        for name, w in weights._asdict().items():
            if (w is None) == (name in shapes):
                raise ValueError(f"{name}{side} is {'missing' if w is None else 'there'}, unlike in a {layer.kind}")
            if w is not None:
                yield name + side, w, SHAPES[name], shapes[name]
        if layer.initial is not None:
            for name, s, size in zip(states, layer.initial[reverse], layer.state_widths(), strict=True):
                yield f"initial {name}{side}", s, ("P" if name == "h" else "H",), (size,)
