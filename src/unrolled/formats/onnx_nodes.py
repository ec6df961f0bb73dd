"""The layer that an RNN, LSTM or GRU node of ONNX is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from unrolled.formats.gate_orders import ORDERS, reordered
from unrolled.formats.onnx_folding import Const
from unrolled.formats.onnx_signal import Atom, Ends, Foreign, Signal
from unrolled.formats.onnx_writing import INVERTED, NODES
from unrolled.notation import CELLS, Kind, Weights
from unrolled.saved.network import Array, Layer

#: Attributes that change nothing here, with those that are read below.
_READ = {"hidden_size", "direction", "activations", "layout", "linear_before_reset", "input_forget", "output_sequence"}
#: How many inputs a node has at most.
_INPUTS = {"RNN": 6, "GRU": 6, "LSTM": 8}


def recurrent(op: str, taken: list[Any], attributes: dict[str, Any]) -> list[Any]:
    """Return the outputs of a node: Y, Y_h, Y_c.

    Args: its operator; its inputs, None for those that are missing; its attributes.
    Raises: ValueError saying what it has that no layer here has.
    """
    taken = taken + [None] * (8 - len(taken))
    x, W, R, B, lengths, h_0, c_0, P = taken
    if not isinstance(x, Signal) or x.symbols or x.W is not None or x.when != "each":
        raise ValueError("its X is not the input, nor what a layer gives at each step")
    layout = attributes.get("layout", 0)
    _check_lengths(lengths, x.shape[layout] if layout in (0, 1) else 0)
    D = _check_attributes(op, attributes)
    kind = _kind(op, attributes, D, P)
    layer = _layer(kind, D, x, [_weights(each, name) for each, name in ((W, "W"), (R, "R"), (B, "B"), (P, "P"))])
    if attributes.get("hidden_size", layer.H) != layer.H:
        raise ValueError(f"hidden_size is {attributes['hidden_size']}, but R is for {layer.H}")
    steps, rows = x.axes[layout], x.axes[1 - layout]
    if x.time not in (None, steps):
        raise ValueError("it runs over another axis than the layer before; see its layout")
    projection = None
    if R.product is not None and kind in ("LSTM", "LSTM_PEEPHOLE"):
        projection = _projected(layer, *R.product)
    states = (h_0, c_0) if op == "LSTM" else (h_0,)
    layer, projection = _with_states(layer, projection, states, layout)
    H, axis = (Atom(f"H{len(x.layers)}", layer.H),), (Atom(f"D{len(x.layers)}", D),) if D > 1 else ()
    after = x.having(
        axes=((steps, axis, rows, H) if layout == 0 else (rows, steps, axis, H)),
        features=(*axis, *H),
        time=steps,
        layers=(*x.layers, layer),
        pending=projection,
    )
    ends = tuple(
        after.having(axes=(rows, H), features=H, when="last", is_state=True, side=None if D == 1 else way)
        for way in range(D)
    )
    return [after, Ends(ends, layout), Ends((None,) * D, layout)]


def _check_attributes(op: str, attributes: dict[str, Any]) -> int:
    """Return D; refuse what no layer here computes."""
    direction = attributes.get("direction", "forward")
    if direction not in ("forward", "bidirectional"):
        raise ValueError(
            f"direction is {direction!r:.20}: layers here run forward or both ways; make it forward, and turn "
            "the sequences round"
        )
    if "clip" in attributes:
        raise ValueError(f"clip is {attributes['clip']}: layers here do not clip")
    if attributes.get("input_forget"):
        raise ValueError("input_forget couples the gates i and f, which an LSTM here has apart")
    if op == "GRU" and not attributes.get("linear_before_reset"):
        raise ValueError("linear_before_reset is 0: r acts on h before the product with R, and here after it")
    if attributes.get("layout", 0) not in (0, 1):
        raise ValueError(f"layout is {attributes['layout']}, expected 0 or 1")
    unknown = attributes.keys() - _READ
    if unknown and any(attributes[name] for name in unknown):
        named = ", ".join(sorted(f"{name!s:.40}" for name in unknown))
        raise ValueError(f"attributes {named} have no place in a layer here")
    return 2 if direction == "bidirectional" else 1


def _check_lengths(lengths: Any, T: int) -> None:
    """Refuse lengths that the file fixes: a network here gets them with its input; T for all is none."""
    if isinstance(lengths, Signal) or (isinstance(lengths, Const) and not lengths.of_sizes):
        raise ValueError("sequence_lens are constants, expected an input or none")
    if isinstance(lengths, Const) and (lengths.array != T).any():
        raise ValueError("sequence_lens are made of the sizes of its X, and are not T, expected an input or none")


def _kind(op: str, attributes: dict[str, Any], D: int, P: Any) -> Kind:
    """Return the kind of cell with these activations."""
    kinds: list[Kind] = [kind for kind in CELLS if NODES[kind][0] == op]  # type: ignore[misc]
    kinds = [kind for kind in kinds if op != "LSTM" or (kind == "LSTM_PEEPHOLE") == (P is not None)]
    given = [str(each).lower() for each in attributes.get("activations", [*NODES[kinds[0]][1]] * D)]
    for kind in kinds:
        if given == [each.lower() for each in NODES[kind][1]] * D:
            return kind
    expected = " or ".join(", ".join(NODES[kind][1]) for kind in kinds)
    raise ValueError(f"activations are {', '.join(given):.80}, expected {expected} for each direction")


def _weights(given: Any, name: str) -> Array | None:
    if given is None:
        return None
    if not isinstance(given, Const) or given.of_sizes:
        raise ValueError(f"{name} is no constant")
    return given.array


def _layer(kind: Kind, D: int, x: Signal, weights: list[Array | None]) -> Layer:
    """Return the layer with these weights, if their shapes fit its input and each other."""
    W, R, B, P = weights
    if W is None or R is None:
        raise ValueError("W or R is missing")
    G, H = len(CELLS[kind].gates), R.shape[-1]
    I = x.shape[-1]
    if not all(atom.fixed for atom in x.features):
        I = W.shape[-1]  # the input leaves its width open
    shapes = {"W": (D, G * H, I), "R": (D, G * H, H), "B": (D, 2 * G * H), "P": (D, 3 * H)}
    for (name, shape), w in zip(shapes.items(), weights, strict=True):
        if w is not None and (w.shape != shape or w.dtype not in (np.float32, np.float64) or 0 in shape):
            raise ValueError(f"{name} is {w.dtype} {w.shape}, expected floats {shape}")
    if len(x.axes) != 3 or not x.ends_in_features:
        raise ValueError(f"X has the sizes {x.shape}, expected (T, B, I) of what the layer before gives")
    cell = "LSTM" if kind == "LSTM_PEEPHOLE" else kind

    def ours(w: Array) -> Array:
        return reordered(w, cell, "onnx", "torch")

    directions = []
    for d in range(D):
        b_ih, b_hh = (None, None) if B is None else (ours(half) for half in np.split(B[d], 2))
        p = None if P is None else np.concatenate([np.split(P[d], 3)["iof".index(gate)] for gate in "ifo"])
        directions.append(Weights(ours(W[d]), ours(R[d]), b_ih, b_hh, None, p))
    return Layer(kind, tuple(directions))


def _projected(layer: Layer, left: Array, right: Array) -> tuple[Array, Layer] | None:
    """Return W_hr (D, P, H) and the layer with it, if R is W_hh W_hr; the product with W_hr is still to come."""
    rows = len(ORDERS["onnx"]["LSTM"]) * layer.H
    if left.ndim != 3 or left.shape[:2] != (layer.D, rows) or right.shape != (layer.D, left.shape[2], layer.H):
        return None
    directions = tuple(
        weights._replace(W_hh=reordered(W_hh, "LSTM", "onnx", "torch"), W_hr=W_hr)
        for weights, W_hh, W_hr in zip(layer.directions, left, right, strict=True)
    )
    return right, replace(layer, directions=directions)


def _with_states(layer: Layer, projection: Any, states: tuple[Any, ...], layout: int) -> tuple[Layer, Any]:
    """Return the layer, and the projected one, with the initial states that the file holds."""
    h_0 = states[0]
    found = [_initial(state, layer.H, layer.D, layout) for state in states]
    if any(each is not None for each in found):
        zeros = np.zeros((layer.D, layer.H), layer.directions[0].W_ih.dtype)
        rows = [zeros if each is None else each for each in found]
        layer = replace(layer, initial=tuple(tuple(s[d] for s in rows) for d in range(layer.D)))
        if projection is not None:
            W_hr, projected = projection
            first = _unprojected(h_0, W_hr, layout) if rows[0].any() else np.zeros((layer.D, projected.P), zeros.dtype)
            if first is None:
                return layer, None
            initial = tuple((first[d], rows[1][d]) for d in range(layer.D))
            projection = W_hr, replace(projected, initial=initial)
    return layer, projection


def _initial(state: Any, width: int, D: int, layout: int) -> Array | None:
    """Return an initial state (D, width) that the file holds, the same for every row; None for zeros or an input."""
    if state is None or isinstance(state, Foreign):
        return None
    if not isinstance(state, Const) or state.of_sizes:
        raise ValueError("an initial state is neither a constant nor an input")
    array = state.array.swapaxes(0, 1) if layout and state.array.ndim == 3 else state.array
    if array.ndim != 3 or array.shape[::2] != (D, width) or not array.shape[1]:
        raise ValueError(f"an initial state is {state.array.shape}, expected (D, B, H) with D = {D} and H = {width}")
    if (array != array[:, :1]).any():
        raise ValueError("an initial state differs from row to row of the batch, expected the same for all")
    return array[:, 0] if array.any() else None


def _unprojected(h_0: Const, W_hr: Array, layout: int) -> Array | None:
    """Return h_0 (D, P), if the node starts from the product of it with the inverse of W_hr."""
    if h_0.product is None or layout:
        return None
    first, inverse = h_0.product
    if first.ndim != 3 or inverse.shape != W_hr.shape:
        return None
    eye = np.eye(W_hr.shape[1])
    if np.abs(W_hr @ inverse.swapaxes(1, 2) - eye).max() > INVERTED:
        return None
    return first[:, 0]
