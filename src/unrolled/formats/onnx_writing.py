"""The graph that a network is in ONNX: one node a layer, with what stands between the nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unrolled.formats.gate_orders import reordered
from unrolled.formats.network_of import FormatError
from unrolled.notation import CELLS, gate_count
from unrolled.saved.network import Array, Layer, Network

#: What a node is called, and its activations, by kind of cell.
NODES: dict[str, tuple[str, tuple[str, ...]]] = {
    "RNN_TANH": ("RNN", ("Tanh",)),
    "RNN_RELU": ("RNN", ("Relu",)),
    "LSTM": ("LSTM", ("Sigmoid", "Tanh", "Tanh")),
    "GRU": ("GRU", ("Sigmoid", "Tanh")),
    "LSTM_PEEPHOLE": ("LSTM", ("Sigmoid", "Tanh", "Tanh")),
}
#: Keys of the metadata that a network of text has.
VOCABULARY, FRAMED, START = "unrolled.vocabulary", "unrolled.framed", "unrolled.start"
#: How far W_hr W_hr^+ may be from the identity.
INVERTED = 1e-4


class GraphWriter:
    """The nodes, initializers, inputs and outputs of the graph of a network.

    Args: the network; whether the graph has the input `sequence_lens`, and inputs and outputs for the states.
    """

    def __init__(self, network: Network, *, lengths: bool, states: bool) -> None:
        self.network, self.takes_states = network, states
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self.defaults: dict[str, tuple[Array, tuple[str | int, ...]]] = {}  # of inputs that may be left out
        self.outputs: dict[str, tuple[str | int, ...]] = {}
        self.T, self.B = (self.node("Shape", "input", start=axis, end=axis + 1) for axis in (0, 1))
        self.lengths = self._lengths() if lengths else ""
        self._write()

    def constant(self, name: str, value: Any) -> str:
        """Return the name of an initializer."""
        self.initializers[name] = np.asarray(value)
        return name

    def integers(self, *values: int) -> str:
        """Return the name of a vector of integers."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def node(self, op: str, *inputs: str, outputs: Sequence[str] = (), where: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its first output."""
        from onnx import helper

        name = f"{where or 'graph'}/{op}_{len(self.nodes)}"
        outputs = outputs or (name,)
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def _lengths(self) -> str:
        """Return the lengths (B) int32, T where a length is negative; in the default all are."""
        self.defaults["sequence_lens"] = np.array([-1], np.int32), ("B_or_1",)
        T = self.node("Cast", self.T, to=6)  # INT32
        missing = self.node("Less", "sequence_lens", self.constant("zero", np.int32(0)))
        return self.node("Expand", self.node("Where", missing, T, "sequence_lens"), self.B)

    def _write(self) -> None:
        network = self.network
        x = "input"
        if network.embedding is not None:
            x = self.node("Gather", self.constant("embedding.weight", network.embedding), x, axis=0)
        elif network.one_hot:
            values = self.constant("off_on", np.array([0, 1], network.dtype))
            x = self.node("OneHot", x, self.integers(network.I), values, axis=-1)
        before = self._initial_states()
        after: dict[tuple[str, int], str] = {}
        for number, layer in enumerate(network.layers):
            x, ends = self._layer(x, number, layer, [before.get((s, number), "") for s in CELLS[layer.kind].states])
            after |= {(s, number): end for s, end in zip(CELLS[layer.kind].states, ends, strict=True)}
        x = self._head(x, after["h", len(network.layers) - 1])
        self._rename(x, "output")
        self.outputs["output"] = (*(("B",) if self._gives_last else ("T", "B")), network.width)
        for name, numbers in state_names(network).items() if self.takes_states else ():
            ends = [after[name[0], number] for number in numbers]
            self._rename(ends[0] if len(ends) == 1 else self.node("Concat", *ends, axis=0), name.replace("_0", "_n"))
            D, width = _state_shape(network, name, numbers)
            self.outputs[name.replace("_0", "_n")] = (D, "B", width)

    @property
    def _gives_last(self) -> bool:
        return self.network.head is not None and self.network.head.when != "each"

    def _initial_states(self) -> dict[tuple[str, int], str]:
        """Return the initial states (D, B, P or H) by "h" or "c" and the number of the layer."""
        network = self.network
        if not self.takes_states and all(layer.initial is None for layer in network.layers):
            return {}
        found: dict[tuple[str, int], str] = {}
        for name, numbers in state_names(network).items():
            D, width = _state_shape(network, name, numbers)
            value = np.concatenate([_initial(network.layers[number], name[0]) for number in numbers])[:, None]
            if self.takes_states:
                self.defaults[name] = value, (D, "B_or_1", width)
            else:
                self.constant(name, value)
            whole = self.node(
                "Expand", name, self.node("Concat", self.integers(D), self.B, self.integers(width), axis=0)
            )
            parts = [whole]
            if len(numbers) > 1:
                parts = [f"{name}/l{number}" for number in numbers]
                self.node("Split", whole, self.integers(*[D // len(numbers)] * len(numbers)), outputs=parts, axis=0)
            found |= {(name[0], number): part for number, part in zip(numbers, parts, strict=True)}
        return found

    def _layer(self, x: str, number: int, layer: Layer, before: list[str]) -> tuple[str, list[str]]:
        """Write one layer; return its output (T, B, D*P), and the states after it, (D, B, P) and (D, B, H)."""
        begun = [*before]
        where, D = f"layer{number}", layer.D
        op, activations = NODES[layer.kind]

        def stacked(suffix: str, part: Callable[[Any], Array]) -> str:
            return self.constant(f"{where}.{suffix}", np.stack([part(weights) for weights in layer.directions]))

        def onnx_order(w: Array) -> Array:
            return reordered(w, _cell(layer), "torch", "onnx")

        W = stacked("W", lambda w: onnx_order(w.W_ih))
        R = stacked("R", lambda w: onnx_order(w.W_hh))
        B = (
            ""
            if not layer.has_bias
            else stacked("B", lambda w: np.concatenate([onnx_order(w.b_ih), onnx_order(w.b_hh)]))
        )
        W_hr = W_rh = ""
        if layer.is_projected:
            W_hr = stacked("W_hr", lambda w: w.W_hr)
            W_rh = self.node("Transpose", W_hr, perm=(0, 2, 1), where=where)
            R = self.node("MatMul", R, W_hr, where=where)
            if before[0]:
                inverse = stacked("W_hr_inverse", lambda w: _inverse(w.W_hr, number).T)
                before[0] = self.node("MatMul", before[0], inverse, where=where)
        inputs = [x, W, R, B, self.lengths, *before]
        if layer.kind == "LSTM_PEEPHOLE":
            inputs += [""] * (7 - len(inputs)) + [stacked("P", lambda w: _iof(w.p, "ifo", "iof"))]
        options: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" else {}
        names = [f"{where}/Y", *(f"{where}/Y_{state}" for state in CELLS[layer.kind].states)]
        self.node(
            op,
            *inputs,
            outputs=names,
            where=where,
            hidden_size=layer.H,
            direction="forward" if D == 1 else "bidirectional",
            activations=activations * D,
            **options,
        )
        y, *after = names
        if layer.is_projected:
            y, after[0] = (self.node("MatMul", each, W_rh, where=where) for each in (y, after[0]))
        if self.lengths:  # a row of no steps keeps its state, which ONNX's layers make zero
            empty = self.node("Less", self.lengths, self.constant("one", np.int32(1)), where=where)
            empty = self.node("Unsqueeze", empty, self.integers(0, 2), where=where)  # (1, B, 1)
            pairs = zip(begun, after, strict=True)
            after = [self.node("Where", empty, s, end, where=where) if s else end for s, end in pairs]
        if D == 1:
            return self.node("Squeeze", y, self.integers(1), where=where), after
        y = self.node("Transpose", y, perm=(0, 2, 1, 3), where=where)
        return self.node("Reshape", y, self.integers(0, 0, layer.width), where=where), after

    def _head(self, x: str, h: str) -> str:
        """Write the head; x (T, B, D*P) is the output of the last layer, and h (D, B, P) its last states."""
        head = self.network.head
        if head is None:
            return x
        top = self.network.layers[-1]
        if head.when == "last" and (top.D == 2 or (self.lengths and not top.is_projected)):  # whose Y is read back
            ways = range(top.D)
            parts = [self.node("Gather", h, self.constant(f"way{k}", np.int64(k)), axis=0) for k in ways]
            x = parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=-1)
        elif head.when != "each" and self.lengths:
            ends = self.node("Sub", self.node("Cast", self.lengths, to=7), self.integers(1))  # INT64
            ends = self.node("Unsqueeze", ends, self.integers(1))
            x = self.node("GatherND", self.node("Transpose", x, perm=(1, 0, 2)), ends, batch_dims=1)
        elif head.when != "each":
            x = self.node("Gather", x, self.constant("last", np.int64(-1)), axis=0)
        x = self.node("MatMul", x, self.constant("head.weight", head.W.T), where="head")
        if head.b is not None:
            x = self.node("Add", x, self.constant("head.bias", head.b), where="head")
        return self.node("Softmax", x, axis=-1, where="head") if head.softmax else x

    def _rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]


def state_names(network: Network) -> dict[str, list[int]]:
    """Return the names of the initial states, each with the numbers of the layers that it holds.

    One array holds a state of all layers, if all have states of the same shapes.
    """
    layers = network.layers
    if len({(layer.D, layer.state_widths()) for layer in layers}) == 1:
        return {f"{state}_0": [*range(len(layers))] for state in CELLS[layers[0].kind].states}
    return {f"{s}_0_l{number}": [number] for number, layer in enumerate(layers) for s in CELLS[layer.kind].states}


def _state_shape(network: Network, name: str, numbers: list[int]) -> tuple[int, int]:
    """Return L*D and the width of a state that is named by :func:`state_names`."""
    layer = network.layers[numbers[0]]
    return len(numbers) * layer.D, layer.P if name[0] == "h" else layer.H


def _initial(layer: Layer, state: str) -> Array:
    """Return the initial h or c of a layer, (D, P) or (D, H)."""
    which = CELLS[layer.kind].states.index(state)
    if layer.initial is None:
        return np.zeros((layer.D, layer.state_widths()[which]), layer.directions[0].W_ih.dtype)
    return np.stack([direction[which] for direction in layer.initial])


def _cell(layer: Layer) -> str:
    return "LSTM" if gate_count(layer.kind) == 4 else layer.kind


def _iof(p: Array, before: str, after: str) -> Array:
    """Return peepholes (3*H) in another order of their gates."""
    parts = dict(zip(before, np.split(p, 3), strict=True))
    return np.concatenate([parts[gate] for gate in after])


def _inverse(W_hr: Array, number: int) -> Array:
    """Return W_hr^+ (H, P), by which a node whose state is o * tanh(c) starts where the projection gives h_0."""
    inverse = np.linalg.pinv(W_hr.astype(np.float64))
    if np.abs(W_hr @ inverse - np.eye(len(W_hr))).max() > INVERTED:
        raise FormatError(
            f"ONNX cannot hold the initial state of layer {number}: its node keeps o * tanh(c), which no h_0 tells if "
            "W_hr has not full rank; export with states=False, or without a learned initial state"
        )
    return inverse.astype(W_hr.dtype)
