"""Whether the tensors of one layer fit each other and their values are in range.

Anybody may reassign a weight: every call passes here or is checked by the core itself, which refuses what does not fit
and leaves the error message to this file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.core.fields import Layout, Weights
from unrolled.nn import checks, reference
from unrolled.nn.reach import PLAIN_TENSORS, batch_size, has_values
from unrolled.nn.reference import ZEROS, ResetState
from unrolled.notation import CELLS, gate_count, has_cell_state, weight_shapes

#: The states of one layer, as its error messages name them.
STATES = ("h_0", "c_0", "h of reset_state", "c of reset_state")


class Misfit(RuntimeError, ValueError):
    """Tensors of one layer that do not fit each other: a RuntimeError of torch's operators, and a wrong argument here.

    >>> issubclass(Misfit, RuntimeError), issubclass(Misfit, ValueError)
    (True, True)
    """


def forms(x: Any, h_0: Any, c_0: Any, weights: Any, reset_state: Any) -> list[Weights]:
    """Return the weights of each direction by name, once the arguments of one layer are known to be tensors.

    Raises: TypeError if they are not; the message names the first.

    >>> W = torch.zeros(4, 4)
    >>> [own.W_ih is W for own in forms(W, None, None, [(W, W)], ZEROS)]
    [True]
    """
    least, names = 2, Weights._fields
    for d, own in enumerate(weights):
        if not isinstance(own, (tuple, list)) or not least <= len(own) <= len(names):
            came = f"{len(own)} of them" if isinstance(own, (tuple, list)) else checks.described(own)
            raise TypeError(f"weights of direction {d} must be a tuple ({', '.join(names)}), got {came}")
    if not isinstance(reset_state, (tuple, list)) or len(reset_state) != len(ZEROS):
        raise TypeError(
            f"reset_state must be a pair (h, c), None where there is none, got {checks.described(reset_state)}"
        )
    named = [Weights(*own) for own in weights]
    for name, t in _named(x, (h_0, c_0, *reset_state), named):
        if not checks.is_tensor(t) and (t is not None or t is x):
            raise TypeError(f"{name} must be a tensor, got {type(t).__name__}")
    return named


def layout(x: Tensor, layout: Layout) -> None:
    """Raise unless x has the axes, and the fields of the layout the form, that one layer takes.

    Raises: TypeError, ValueError or RuntimeError as for a whole layer.

    >>> layout(torch.zeros(5, 3, 4), Layout(lengths=torch.tensor([5, 0, 2])))
    """
    if layout.batch_sizes is not None:
        checks.packed(x, layout.batch_sizes, layout.lengths)
    elif x.dim() != 3 - checks.is_one_hot(x):
        raise ValueError(
            f"x must be (T, B, I), or (T, B) one-hot indices, got shape {tuple(x.shape)}{checks.conversion(x)}"
        )
    else:
        checks.has_steps(x.shape[int(layout.batch_first)])
    checks.lengths_and_reset(x, layout.batch_first, layout.lengths, layout.reset)


def operator_call(
    kind: str, layout_: Layout, x: Tensor, states: Sequence[Tensor | None], weights: Sequence[Weights]
) -> None:
    """Raise unless the results of a call of the operator have shapes; the core checks the rest.

    Whoever traced the call could not read its values, and anybody may call the operator by hand.

    Args: states: h_0, c_0 and those that a reset returns to.
    Raises: what a call of the layer itself raises.

    >>> W = torch.zeros(4, 4)
    >>> operator_call("RNN_RELU", Layout(), torch.zeros(5, 3, 4), [None] * 4, [Weights(W, W)])
    """
    W_ih, W_hh = weights[0][:2]
    if kind not in CELLS or W_ih is None or W_hh is None or W_hh.dim() != 2 or x.is_meta is not W_hh.is_meta:
        kind_of_layer(kind, states[1::2], weights)
        layout(x, layout_)
        tensors(kind, layout_, x, states[0], states[1], weights)
    if layout_.batch_sizes is None:
        if x.dim() != 3 - checks.is_one_hot(x) or x.shape[layout_.batch_first] == 0:
            layout(x, layout_)
    elif has_values(x, layout_.batch_sizes):
        layout(x, layout_)
        packed_values(x, layout_, states)
    if layout_.reset is None and (states[2] is not None or states[3] is not None):
        checks.has_reset(None)


def kind_of_layer(kind: str, cell_states: Sequence[Tensor | None], weights: Sequence[Weights]) -> None:
    """Raise ValueError unless a layer of this kind has the weights and the states c that are given.

    >>> W = torch.zeros(4, 3)
    >>> kind_of_layer("RNN_RELU", [None], [Weights(W, W)])
    """
    if kind not in CELLS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(CELLS)}")
    given = {tuple(w is not None for w in direction) for direction in weights}
    if len(weights) not in (1, 2) or len(given) != 1:
        raise ValueError(f"weights of {len(weights)} directions, expected those of one, or of two with the same parts")
    missing = [name for name in ("W_ih", "W_hh") if getattr(weights[0], name) is None]
    if missing:
        raise ValueError(f"{kind} without {' and '.join(missing)}, expected W_ih (G*H, I) and W_hh (G*H, P)")
    if not has_cell_state(kind) and (any(c is not None for c in cell_states) or weights[0].W_hr is not None):
        with_cells = ", ".join(other for other in CELLS if has_cell_state(other))
        raise ValueError(f"{kind} has neither a cell state c nor a projection W_hr; only {with_cells} has")
    given_names = {name for name, w in weights[0]._asdict().items() if w is not None}
    beyond = given_names - {*weight_shapes(kind, 1, 1, proj_size=1)}
    if beyond:
        raise ValueError(f"{kind} has no weight {', '.join(sorted(beyond))}")


def tensors(
    kind: str,
    layout: Layout,
    x: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    weights: Sequence[Weights],
    reset_state: ResetState = ZEROS,
) -> None:
    """Raise `Misfit` unless weights, input and states of one layer fit each other in shape, type and device.

    >>> W = torch.zeros(6, 6)
    >>> tensors("RNN_RELU", Layout(), torch.zeros(5, 3, 6), None, None, [Weights(W, W)])
    """
    W_ih, W_hh, W_hr = weights[0].W_ih, weights[0].W_hh, weights[0].W_hr
    if W_ih.dim() != 2 or W_hh.dim() != 2:
        raise Misfit(f"W_ih and W_hh must be matrices, got shapes {tuple(W_ih.shape)} and {tuple(W_hh.shape)}")
    GH, I = W_ih.shape
    H = GH // gate_count(kind)
    P = H if W_hr is None else W_hr.shape[0]
    dtype, device = W_hh.dtype, W_hh.device
    shapes = weight_shapes(kind, I, H, proj_size=P)
    for d, direction in enumerate(weights):
        for name, w in direction._asdict().items():
            shape = shapes.get(name, ())
            if w is not None and (w.shape != shape or w.dtype != dtype or w.device != device):
                raise Misfit(
                    f"{name} of direction {d} is {checks.described(w)} on {w.device}, expected "
                    f"{checks.form(dtype, shape)} on {device} (G*H = {GH}, I = {I}, H = {H}, P = {P})"
                )
    if not checks.is_one_hot(x) and (x.shape[-1] != I or x.dtype != dtype):
        raise Misfit(f"x is {checks.described(x)}, expected {dtype} with I = {I} features in its last axis")
    if x.device != device:
        raise Misfit(f"x is on {x.device} and the weights are on {device}; move one of them")
    states = (h_0, c_0, *reset_state)
    if any(s is not None for s in states):
        B = batch_size(x, layout.batch_first, layout.batch_sizes, states)
        for name, s, width in zip(STATES, states, (P, H, P, H), strict=True):
            shape = (len(weights), B, width)
            if s is not None and (s.shape != shape or s.dtype != dtype or s.device != device):
                expected = f"{checks.form(dtype, shape)} on {device}"
                raise Misfit(f"{name} is {checks.described(s)} on {s.device}, expected {expected}")


def types(x: Tensor, states: Sequence[Tensor | None], weights: Sequence[Weights], autocast: bool) -> None:
    """Raise `Misfit` unless all tensors have one type, or with autocast types that it casts.

    For who is about to convert them all, after which a type that does not fit would no longer be seen.

    Args: states: `STATES` from the first on, or none where they were checked before.

    >>> W = torch.zeros(6, 6)
    >>> types(torch.zeros(5, 3, 6), [None], [Weights(W, W.half())], autocast=True)
    """
    W_hh = weights[0].W_hh
    for name, t in _named(x, states, weights):
        if t is not None and not checks.is_one_hot(t) and checks.types_clash(t, W_hh, autocast):
            raise Misfit(f"{name} is {checks.described(t)}, expected {W_hh.dtype}, which W_hh has; convert one of them")


def values(x: Tensor, weights: Sequence[Weights], layout: Layout) -> None:
    """Raise if a length or a one-hot index is out of range; this reads the values of plain tensors.

    Raises: ValueError for a length, IndexError for an index; the message names the first and its place.

    >>> W = torch.zeros(4, 3)
    >>> values(torch.tensor([[0], [2]]), [Weights(W, W)], Layout())
    """
    memory({"lengths": layout.lengths, "x": x})
    if layout.lengths is not None:
        length_range(layout.lengths, x.shape[int(layout.batch_first)])
    if checks.is_one_hot(x):
        one_hot_range(x, weights[0].W_ih.shape[1], layout)


def memory(named: Mapping[str, Tensor | None]) -> None:
    """Raise RuntimeError, as torch's operators do, if the memory of a plain tensor with elements was freed.

    >>> memory({"x": torch.zeros(3), "h_0": None})
    """
    for name, t in named.items():
        if t is None or type(t) not in PLAIN_TENSORS or t.is_meta or t.numel() == 0 or t.layout is not torch.strided:
            continue
        if torch._C._has_storage(t) and t.untyped_storage().nbytes() == 0:  # a wrapper has none of its own
            raise RuntimeError(
                f"{name} has elements, but its data is not allocated: its storage was resized to nothing"
            )


def to_be_sorted(order: Tensor, states: Sequence[Tensor], reset_states: Sequence[Tensor]) -> None:
    """Raise RuntimeError if the memory was freed of the states, or of the order in which torch is to sort their rows.

    >>> to_be_sorted(torch.tensor([1, 0]), [torch.zeros(1, 2, 6)], [])
    """
    named = dict(zip(STATES, states, strict=False)) | dict(zip(STATES[2:], reset_states, strict=False))
    memory({"sorted_indices": order, **named})


def dense(x: Tensor, states: Sequence[Tensor | None], weights: Sequence[Weights]) -> None:
    """Raise NotImplementedError, as torch's operators do, for a tensor that is sparse or in a layout of oneDNN's.

    >>> W = torch.zeros(6, 6)
    >>> dense(torch.zeros(5, 3, 6), [None], [Weights(W, W)])
    """
    for name, t in _named(x, states, weights):
        if t is not None:
            checks.dense(name, t)


def _named(
    x: Tensor, states: Sequence[Tensor | None], weights: Sequence[Weights]
) -> Iterator[tuple[str, Tensor | None]]:
    """Yield the tensors of a layer, or of a stack, with their names; states: `STATES` from the first on."""
    yield "x", x
    yield from zip(STATES, states, strict=False)
    for k, own in enumerate(weights):
        for name, w in own._asdict().items():
            yield f"{name} of weights[{k}]", w


def packed_values(x: Tensor, layout: Layout, states: Sequence[Tensor | None]) -> None:
    """Raise RuntimeError unless the batch sizes of a packed call fit its data, and its states the largest of them.

    >>> packed_values(torch.zeros(3, 4), Layout(batch_sizes=torch.tensor([2, 1])), [None])
    """
    if layout.batch_sizes is not None:
        checks.packed_values(x, layout.batch_sizes, [s for s in states if s is not None])


def length_range(lengths: Tensor, T: int, least: int = 0) -> None:
    """Raise ValueError unless every length lies in [least, T]; the message names the first row that does not.

    >>> length_range(torch.tensor([5, 0]), 5)
    """
    bad = (lengths < least) | (lengths > T)
    if bad.any():
        b = int(bad.nonzero()[0, 0])
        raise ValueError(f"lengths[{b}] is {int(lengths[b])}, expected {least} to T = {T}")


def one_hot_range(x: Tensor, I: int, layout: Layout) -> None:
    """Raise IndexError unless every one-hot index lies in [0, I); what lies past the end of a row may be anything.

    The message names the first index out of range and its position in x.

    >>> one_hot_range(torch.tensor([[2], [9]]), 3, Layout(lengths=torch.tensor([1])))
    """
    if x.numel() == 0:
        return
    low, high = (int(extreme) for extreme in torch.aminmax(x))
    if low >= 0 and high < I:
        return
    bad = (x < 0) | (x >= I)
    if layout.lengths is not None:
        bad &= reference.alive(layout.lengths, x.shape[int(layout.batch_first)], layout.batch_first)
    if bad.any():
        position = bad.nonzero()[0].tolist()
        raise IndexError(
            f"one-hot index {int(x[tuple(position)])} at input{position} is out of range: expected 0 to {I - 1}, "
            "which is input_size - 1 or, with an embedding (V, I), V - 1"
            f"{checks.conversion(x) if x.shape[-1] == I else ''}"
        )
