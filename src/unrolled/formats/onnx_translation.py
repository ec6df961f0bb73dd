"""How `torch.onnx.export` writes this package's layers inside a model: a node of ONNX each.

The exporter calls what is here with the values of its own graph; the weights stay where they are in it, and nodes that
a runtime folds when it loads the file bring their gates into ONNX's order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unrolled.formats.gate_orders import reordered
from unrolled.formats.network_of import FormatError
from unrolled.formats.onnx_writing import NODES
from unrolled.notation import CELLS, Weights


def onnx_translations() -> dict[Any, Callable[..., Any]]:
    """Return the `custom_translation_table` with which `torch.onnx.export(dynamo=True)` writes a model with our layers.

    It needs onnxscript, as that exporter does.

    >>> import torch
    >>> [operator.name() for operator in onnx_translations()]
    ['unrolled::layer', 'unrolled::cat']
    """
    import torch

    from unrolled.nn.autograd import registered  # noqa: F401

    return {torch.ops.unrolled.layer.default: _layer, torch.ops.unrolled.cat.default: _cat}


def _operators() -> Any:
    """Return the operators of ONNX, as functions of the exporter's values."""
    import onnxscript

    return onnxscript.opset18


def _cat(parts: Any) -> Any:
    op = _operators()

    return op.Concat(*parts, axis=0)


def _layer(
    kind: str,
    batch_first: bool,
    lengths: Any,
    batch_sizes: Any,
    reset: Any,
    x: Any,
    h_0: Any,
    c_0: Any,
    h_reset: Any,
    c_reset: Any,
    present: Any,
    weights: Any,
    segment: Any,
    save: bool,
) -> Any:
    """Return y, h_n and c_n of one layer; the arguments are those of the operator `unrolled::layer`."""
    op = _operators()

    if any(each is not None for each in (batch_sizes, reset)) or save:
        raise FormatError("ONNX cannot hold a packed batch, reset or trace of a layer; leave them out of the model")
    given, n = iter(weights), len(Weights._fields)
    sides = [
        Weights(*(next(given) if there else None for there in present[k : k + n])) for k in range(0, len(present), n)
    ]
    if sides[0].W_hh.dtype.itemsize < 4:
        raise FormatError("ONNX has no layers of 16-bit numbers; export model.float()")
    D, H = len(sides), sides[0].W_hh.shape[0] // len(CELLS[kind].gates)
    order = reordered(np.arange(len(CELLS[kind].gates)), kind.removesuffix("_PEEPHOLE"), "torch", "onnx")

    def ordered(w: Any, order: Any = order) -> Any:
        blocks = op.Split(w, axis=0, num_outputs=len(order)) if len(order) > 1 else [w]
        return op.Concat(*(blocks[k] for k in order), axis=0) if len(order) > 1 else w

    def stacked(parts: list[Any]) -> Any:
        return op.Concat(*(op.Unsqueeze(part, op.Constant(value_ints=[0])) for part in parts), axis=0)

    if not x.dtype.is_floating_point():
        I = sides[0].W_ih.shape[1]
        x = op.OneHot(x, op.Constant(value_int=I), op.Constant(value_floats=[0.0, 1.0]), axis=-1)
    x = op.Transpose(x, perm=[1, 0, 2]) if batch_first else x
    W, R = stacked([ordered(w.W_ih) for w in sides]), stacked([ordered(w.W_hh) for w in sides])
    B = None
    if sides[0].b_ih is not None:
        B = stacked([op.Concat(ordered(w.b_ih), ordered(w.b_hh), axis=0) for w in sides])
    W_rh = None
    if sides[0].W_hr is not None:
        if h_0 is not None:
            raise FormatError("ONNX cannot hold the initial state of a projected layer; leave it out of the model")
        R = op.MatMul(R, stacked([w.W_hr for w in sides]))
        W_rh = stacked([op.Transpose(w.W_hr, perm=[1, 0]) for w in sides])
    name, activations = NODES[kind]
    options: dict[str, Any] = {"hidden_size": H, "activations": [*activations] * D}
    options |= {"direction": "bidirectional"} if D == 2 else {}
    ends = None if lengths is None else op.Cast(lengths, to=6)  # INT32
    if name == "LSTM":
        P = (
            None
            if sides[0].p is None
            else stacked([ordered(w.p, ["ifo".index(gate) for gate in "iof"]) for w in sides])
        )
        y, h_n, c_n = op.LSTM(x, W, R, B, ends, h_0, c_0, P, **options)
    else:
        options |= {"linear_before_reset": 1} if name == "GRU" else {}
        y, h_n = getattr(op, name)(x, W, R, B, ends, h_0, **options)
        c_n = op.Constant(value_floats=[])
    if W_rh is not None:
        y, h_n = op.MatMul(y, W_rh), op.MatMul(h_n, W_rh)
    if lengths is not None and h_0 is not None:  # a row of no steps keeps its state, which ONNX's layers make zero
        empty = op.Unsqueeze(op.Equal(lengths, op.Constant(value_int=0)), op.Constant(value_ints=[0, 2]))  # (1, B, 1)
        h_n = op.Where(empty, h_0, h_n)
        c_n = c_n if c_0 is None else op.Where(empty, c_0, c_n)
    # (T, D, B, P) becomes (T, B, D*P), or (B, T, D*P)
    y = op.Reshape(
        op.Transpose(y, perm=[2, 0, 1, 3] if batch_first else [0, 2, 1, 3]), op.Constant(value_ints=[0, 0, -1])
    )
    return y, h_n, c_n
