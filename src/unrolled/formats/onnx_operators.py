"""What each operator of an ONNX graph does to the signal that goes through the layers, and to their last states.

An operator that does anything else raises ValueError, which the reader completes with the node's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from unrolled.formats.onnx_folding import Const, axes_of, slices_of, target
from unrolled.formats.onnx_nodes import recurrent
from unrolled.formats.onnx_signal import Atom, Axis, Ends, Foreign, Signal, regrouped
from unrolled.saved.network import Array, When

#: What goes from node to node.
Value = Const | Signal | Ends | Foreign


def _signal_of(taken: list[Value | None], position: int = 0) -> Signal:
    found = taken[position]
    if not isinstance(found, Signal):
        raise ValueError("the signal is expected as another input")
    return found


def _const_of(taken: list[Value | None], position: int) -> Const:
    found = taken[position] if len(taken) > position else None
    if not isinstance(found, Const):
        raise ValueError(f"input {position} is {told(found)}, expected a constant")
    return found


def told(value: Value | None) -> str:
    """Return what a value is called in a message."""
    names = {Signal: "the signal", Ends: "states after the last step", type(None): "missing", Const: "a constant"}
    return value.made_of if isinstance(value, Foreign) else names[type(value)]


def _arrays(taken: list[Value | None]) -> list[Any]:
    """Return the inputs after the first as arrays."""
    return [None, *(None if each is None else _const_of([each], 0).array for each in taken[1:])]


def _same(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    return _signal_of(taken)


def _dropout(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    if version >= 12 and len(taken) > 2 and taken[2] is not None and _const_of(taken, 2).array.any():
        raise ValueError("training_mode is true, so that it acts; export the model in eval mode")
    return _signal_of(taken)


def _cast(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal = _signal_of(taken)
    if attributes["to"] not in ((6, 7) if signal.symbols else (1, 11)) or signal.layers:
        raise ValueError(f"to type {attributes['to']}")
    return signal


def _transpose(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal = _signal_of(taken)
    order = attributes.get("perm", [*range(len(signal.axes))][::-1])
    if sorted(order) != [*range(len(signal.axes))]:
        raise ValueError(f"perm is {order}, expected an order of {len(signal.axes)} axes")
    return signal.having(axes=tuple(signal.axes[k] for k in order))


def _squeeze(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal, rank = _signal_of(taken), len(_signal_of(taken).axes)
    axes = axes_of(_arrays(taken), attributes, 1)
    gone = [k for k, n in enumerate(signal.shape) if n == 1] if axes is None else [axis % rank for axis in axes]
    if any(signal.shape[k] != 1 for k in gone):
        raise ValueError(f"axes {axes} of sizes {signal.shape}, expected sizes of 1")
    return signal.having(axes=tuple(axis for k, axis in enumerate(signal.axes) if k not in gone))


def _unsqueeze(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal = _signal_of(taken)
    axes = axes_of(_arrays(taken), attributes, 1) or ()
    rank = len(signal.axes) + len(axes)
    new, kept = {axis % rank for axis in axes}, iter(signal.axes)
    return signal.having(axes=tuple(() if k in new else next(kept) for k in range(rank)))


def _reshape(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal = _signal_of(taken)
    shape = _const_of(taken, 1).array if len(taken) > 1 else attributes["shape"]
    sizes = target(shape, signal.shape, attributes)
    try:
        return signal.having(axes=regrouped(signal.axes, sizes))
    except ValueError:  # torch's exporter may write the T and B of its example here, though it leaves them open
        kept = [n if n == -1 else _kept(signal, k, n) for k, n in enumerate(sizes)]
        return signal.having(axes=regrouped(signal.axes, kept))


def _kept(signal: Signal, k: int, n: int) -> int:
    """Return the size of an axis in a shape, that which stands in for it if the file leaves it open."""
    axis = signal.axes[k] if k < len(signal.axes) else ()
    return axis[0].size if len(axis) == 1 and not axis[0].fixed else n


def _gather(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    axis = attributes.get("axis", 0)
    if isinstance(taken[0], Signal):
        return _step(taken[0], axis, _const_of(taken, 1))
    table, ids = _const_of(taken, 0), _signal_of(taken, 1)
    if axis != 0 or table.array.ndim != 2 or not ids.symbols or table.of_sizes:
        raise ValueError("expected a table (V, E) of which the symbols choose rows")
    features = (Atom("E", table.array.shape[1]),)
    return ids.having(axes=(*ids.axes, features), features=features, symbols=False, embedding=table.array)


def _step(signal: Signal, axis: int, index: Const) -> Signal:
    """Return the last step or the first, if one of them is what is taken."""
    axis %= len(signal.axes)
    when = _which(signal, signal.axes[axis], index)
    if index.array.ndim > 1 or index.array.size != 1:
        raise ValueError(f"takes the steps {index.array.shape}, expected the last one")
    kept: tuple[Axis, ...] = ((),) if index.array.ndim else ()
    return signal.having(axes=(*signal.axes[:axis], *kept, *signal.axes[axis + 1 :]), when=when)


def _which(signal: Signal, axis: Axis, index: Const) -> Literal["last_output", "first"]:
    T = axis[0] if len(axis) == 1 else Atom("", 0)
    ends = (index.array == -1) | ((index.array == T.size - 1) & (index.of_sizes or T.fixed))
    two = bool(signal.layers) and signal.layers[-1].D == 2
    if signal.time is not None and axis == signal.time:
        if ends.all():
            return "last_output"
        if two and not index.array.any():  # where the reverse direction ends
            return "first"
    raise ValueError("expected the last step of a recurrent layer's output")


def _gather_nd(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    """Read the last step of each row: (B, T, F) at indices (B, 1)."""
    signal, index = _signal_of(taken), _const_of(taken, 1)
    if attributes.get("batch_dims") != 1 or len(signal.axes) != 3 or index.array.shape != (signal.shape[0], 1):
        raise ValueError("expected the last step of each row of (B, T, F)")
    when = _which(signal, signal.axes[1], index)
    return signal.having(axes=(signal.axes[0], signal.axes[2]), when=when)


#: From here on the end of a slice is that of every axis: exporters write the largest number of 32 bits or of 64.
ENDLESS = 2**31 - 1


def _slice(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal = _signal_of(taken)
    for axis, cut in slices_of(_arrays(taken), attributes, len(signal.axes)).items():
        n = signal.shape[axis]
        kept, last = range(n)[cut], range(n - 1, n)
        if kept == range(n) and _takes_all(signal.axes[axis], cut, taken):
            continue
        if signal.axes[axis] == signal.features[:1] and len(kept) == 1 and n == 2:
            axes = (*signal.axes[:axis], (), *signal.axes[axis + 1 :])
            signal = signal.having(axes=axes, features=signal.features[1:], side=kept[0])
            continue
        if signal.axes[axis] == signal.features and len(signal.features) == 2 and signal.layers[-1].D == 2:
            halves = [range(n // 2), range(n // 2, n)]
            if kept in halves:
                axes = (*signal.axes[:axis], signal.features[1:], *signal.axes[axis + 1 :])
                signal = signal.having(axes=axes, features=signal.features[1:], side=halves.index(kept))
                continue
        if n == 1 or kept not in (last, range(1)) or (kept == last) != (cut.start == -1):
            raise ValueError(f"takes [{cut.start}:{cut.stop}] of axis {axis}, expected all or the last step")
        signal = _step(signal, axis, Const(np.array([-1 if kept == last else 0])))
    return signal


def _takes_all(axis: Axis, cut: slice, taken: list[Value | None]) -> bool:
    """Return whether what takes all of this size takes all of any, if the file leaves the size open."""
    up_to_size = len(taken) > 2 and isinstance(taken[2], Const) and taken[2].of_sizes
    return all(atom.fixed for atom in axis) or (cut.start == 0 and (cut.stop >= ENDLESS or up_to_size))


def _concat(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    """Join the two directions of a layer, which Slices took apart."""
    sides = [each for each in taken if isinstance(each, Signal)]
    first = sides[0]
    if len(sides) != len(taken) or [side.side for side in sides] != [0, 1] or sides[0].layers is not sides[1].layers:
        raise ValueError("expected both directions of a layer, forward first")
    if any(side.axes != first.axes for side in sides) or attributes["axis"] not in (-1, len(first.axes) - 1):
        raise ValueError("expected both directions along the last axis")
    when = _JOINED.get((first.when, sides[1].when))
    if when is None:
        raise ValueError(f"joins the {first.when} step of one direction with the {sides[1].when} of the other")
    features = (Atom(f"D{len(first.layers) - 1}", 2), *first.features)
    return first.having(axes=(*first.axes[:-1], features), features=features, side=None, when=when)


#: What two directions are, joined: the forward one ends where the sequence does, the reverse one where it begins.
_JOINED: dict[tuple[str, str], When] = {
    ("each", "each"): "each",
    ("last_output", "last_output"): "last_output",
    ("last", "last_output"): "last_output",
    ("last_output", "first"): "last",
    ("last_output", "last"): "last",
    ("last", "first"): "last",
    ("last", "last"): "last",
}


def _one_hot(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    ids, depth, values = _signal_of(taken), _const_of(taken, 1), _const_of(taken, 2)
    if not ids.symbols or attributes.get("axis", -1) not in (-1, len(ids.axes)) or [*np.ravel(values.array)] != [0, 1]:
        raise ValueError("expected symbols, their one-hot vectors along the last axis, and the values 0 and 1")
    features = (Atom("V", int(depth.array.item())),)
    return ids.having(axes=(*ids.axes, features), features=features, symbols=False, one_hot=True)


def _matmul(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal, W = _signal_of(taken), _const_of(taken, 1).array
    if signal.pending is not None and W.ndim == 3 and signal.side is None:
        W_hr, projected = signal.pending
        if np.array_equal(W, W_hr.transpose(0, 2, 1)):
            P = (Atom(f"P{len(signal.layers)}", projected.P),)
            features = tuple(P[0] if atom == signal.axes[-1][0] else atom for atom in signal.features)
            return signal.having(
                axes=(*signal.axes[:-1], P), features=features, layers=(*signal.layers[:-1], projected), pending=None
            )
    return _headed(signal, W)


def _headed(signal: Signal, W: Array) -> Signal:
    """Return the signal after a head whose weights are W (D*P, V)."""
    if not signal.layers or signal.W is not None or W.ndim != 2 or not signal.ends_in_features:
        raise ValueError("expected one product with a matrix, that of the head, of the output of the last layer")
    if signal.when == "first":
        raise ValueError("expected the head to read the last step of a recurrent layer's output")
    if W.shape[0] != signal.shape[-1]:
        raise ValueError(f"its weights are {W.shape}, expected (D*P, V) with D*P = {signal.shape[-1]}")
    features = (Atom("head", W.shape[1]),)
    return signal.having(axes=(*signal.axes[:-1], features), features=features, W=W, is_state=False, pending=None)


def _add(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    position = 0 if isinstance(taken[0], Signal) else 1
    return _biased(_signal_of(taken, position), _const_of(taken, 1 - position).array)


def _biased(signal: Signal, b: Array) -> Signal:
    if signal.W is None or signal.b is not None or signal.softmax:
        raise ValueError("expected the bias of the head, after its product")
    V = signal.W.shape[1]
    if b.size != V or b.shape[-1:] not in ((V,), ()):
        raise ValueError(f"its bias is {b.shape}, expected ({V})")
    return signal.having(b=b.reshape(-1))


def _gemm(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal, W = _signal_of(taken), _const_of(taken, 1).array
    given = [attributes.get(name, default) for name, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0))]
    if given != [1.0, 1.0, 0] or len(signal.axes) != 2:
        raise ValueError("expected a product of two axes with alpha = beta = 1 and transA = 0")
    found = _headed(signal, W.T if attributes.get("transB") else W)
    return found if len(taken) < 3 or taken[2] is None else _biased(found, _const_of(taken, 2).array)


def _softmax(taken: list[Value | None], attributes: dict[str, Any], version: int) -> Value:
    signal = _signal_of(taken)
    axis, rank = attributes.get("axis", -1 if version >= 13 else 1), len(signal.axes)
    if signal.W is None or signal.softmax or axis not in (-1, rank - 1) or signal.axes[-1] != signal.features:
        raise ValueError("expected one softmax, over the last axis of the head")
    return signal.having(softmax=True)


#: What each operator does, from its inputs, its attributes and the version of the operator set.
ON_SIGNAL: dict[str, Callable[[list[Value | None], dict[str, Any], int], Any]] = {
    "Identity": _same,
    "Dropout": _dropout,
    "Cast": _cast,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Slice": _slice,
    "Concat": _concat,
    "OneHot": _one_hot,
    "MatMul": _matmul,
    "Add": _add,
    "Gemm": _gemm,
    "Softmax": _softmax,
    "LSTM": lambda taken, attributes, version: recurrent("LSTM", taken, attributes),
    "GRU": lambda taken, attributes, version: recurrent("GRU", taken, attributes),
    "RNN": lambda taken, attributes, version: recurrent("RNN", taken, attributes),
}


def of_ends(op: str, taken: list[Value | None], attributes: dict[str, Any], outputs: int) -> list[Value]:
    """Return what a node makes of states: h after the last step is the output there, if one direction made it."""
    ends, other = taken[0], Foreign("made of states after the last step")
    if op == "Concat" and all(isinstance(each, Ends) and each.axis == attributes["axis"] for each in taken):
        rows = tuple(row for each in taken if isinstance(each, Ends) for row in each.rows)
        return [Ends(rows, attributes["axis"])]
    if op == "Where" and isinstance(taken[0], Const) and isinstance(taken[2], Ends):
        # What rows of no steps keep; with the lengths that are the default there are none.
        return [other if taken[0].array.any() else taken[2]] * outputs
    if not isinstance(ends, Ends) or any(not isinstance(each, Const) for each in taken[1:] if each is not None):
        return [other] * outputs
    rows, axis, arrays = ends.rows, ends.axis, _arrays(taken)
    if op == "Squeeze" and len(rows) == 1 and axes_of(arrays, attributes, 1) in ((axis,), None):
        return [rows[0] or other]
    if op == "Gather" and attributes.get("axis", 0) == axis and arrays[1].size == 1:
        row = rows[int(arrays[1].item())]
        return [Ends((row,), axis) if arrays[1].ndim else row or other]
    if op == "Slice":
        cuts = slices_of(arrays, attributes, 3)
        if [*cuts] == [axis]:
            return [Ends(rows[cuts[axis]], axis)]
    if op == "Transpose" and attributes.get("perm") == [1, 0, 2]:
        return [Ends(rows, 1 - axis)]
    return [ends if op == "Identity" else other] * outputs
