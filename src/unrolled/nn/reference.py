"""The equations, executable: RNN, LSTM and GRU in plain torch operations, one time loop for all of them.

This file is the specification that the compiled core is measured against, and the path taken wherever the core
cannot go (second derivatives, forward-mode derivatives, unusual dtypes).  It is not fast and never will be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.utils._pytree import tree_map_only

from unrolled.core.fields import Layout, Weights
from unrolled.nn.checks import HALF, is_one_hot
from unrolled.notation import gate_count, has_cell_state

#: Gates and cell states by name: "c", "i", "f", "g", "o", "r", "z", "n", "hn"; of a layer, each (D, *rows, H).
Gates: TypeAlias = dict[str, Tensor]
#: y, h_n, c_n and the gates of one layer; see `layer`.
LayerResult: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Gates | None]
#: h (D, B, P) and c (D, B, H) that a reset returns to; None is zeros.
ResetState: TypeAlias = Sequence[Tensor | None]
#: Zeros.
ZEROS: ResetState = (None, None)

_State: TypeAlias = tuple[Tensor, ...]  # (h,), or (h, c) for LSTM
_Cell: TypeAlias = Callable[[Tensor, _State, Weights], tuple[_State, Gates]]  # a = W_ih x + b_ih and the state before


def in_type(tensors: Any, dtype: torch.dtype) -> Any:
    """Return nested tensors with the floating-point ones in another type.

    >>> in_type((torch.zeros(1), torch.tensor([2]), None), torch.float64)
    (tensor([0.], dtype=torch.float64), tensor([2]), None)
    """
    return tree_map_only(Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t, tensors)


def input_term(x: Tensor, W_ih: Tensor, b_ih: Tensor | None) -> Tensor:
    """Return W_ih x + b_ih; an integer x holds one-hot indices, whose product is a column of W_ih.

    Args:
        x: input, (..., I), or (...) int64 in [0, I).
        W_ih: (G*H, I).
        b_ih: (G*H) or None.
    Returns: (..., G*H).

    >>> W_ih = torch.tensor([[1.0, 2.0, 3.0]])
    >>> input_term(torch.tensor([2, 0]), W_ih, None).tolist()
    [[3.0], [1.0]]
    """
    if not is_one_hot(x):
        return linear(x, W_ih, b_ih)
    a = W_ih.t().index_select(0, x.flatten()).reshape(*x.shape, W_ih.shape[0])
    return a if b_ih is None else a + b_ih


def _rnn_tanh(a: Tensor, state: _State, w: Weights) -> tuple[_State, Gates]:
    (h_prev,) = state
    return ((a + linear(h_prev, w.W_hh, w.b_hh)).tanh(),), {}


def _rnn_relu(a: Tensor, state: _State, w: Weights) -> tuple[_State, Gates]:
    (h_prev,) = state
    return ((a + linear(h_prev, w.W_hh, w.b_hh)).relu(),), {}


def _peep(a: Tensor, p: Tensor | None, c: Tensor) -> Tensor:
    """Return what a gate's activation sees: a, and through a peephole the cell state."""
    return a if p is None else a + p * c


def _lstm(a: Tensor, state: _State, w: Weights) -> tuple[_State, Gates]:
    h_prev, c_prev = state
    a_i, a_f, a_g, a_o = (a + linear(h_prev, w.W_hh, w.b_hh)).chunk(4, dim=-1)  # each (B, H)
    p_i, p_f, p_o = (None,) * 3 if w.p is None else w.p.chunk(3)  # each (H)
    i, f, g = _peep(a_i, p_i, c_prev).sigmoid(), _peep(a_f, p_f, c_prev).sigmoid(), a_g.tanh()
    c = f * c_prev + i * g
    o = _peep(a_o, p_o, c).sigmoid()
    h = o * c.tanh()
    if w.W_hr is not None:
        h = linear(h, w.W_hr)  # (B, P)
    return (h, c), {"i": i, "f": f, "g": g, "o": o, "c": c}


def _gru(a: Tensor, state: _State, w: Weights) -> tuple[_State, Gates]:
    (h_prev,) = state
    a_r, a_z, a_n = a.chunk(3, dim=-1)  # each (B, H)
    h_r, h_z, h_n = linear(h_prev, w.W_hh, w.b_hh).chunk(3, dim=-1)
    r, z = (a_r + h_r).sigmoid(), (a_z + h_z).sigmoid()
    n = (a_n + r * h_n).tanh()
    return ((1 - z) * n + z * h_prev,), {"r": r, "z": z, "n": n, "hn": h_n}


_CELLS: dict[str, _Cell] = {
    "RNN_TANH": _rnn_tanh,
    "RNN_RELU": _rnn_relu,
    "LSTM": _lstm,
    "GRU": _gru,
    "LSTM_PEEPHOLE": _lstm,
}


def rnn_step(
    x: Tensor,
    h_prev: Tensor,
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    nonlinearity: str = "tanh",
) -> Tensor:
    """Return h (B, H) after one step of the Elman network; `nonlinearity` is "tanh" or "relu".

    Args: x (B, I), or (B,) one-hot indices; h_prev (B, H); weights as torch stores them, dtype as x.
    Source: docs/notation.md, RNN; Elman, "Finding structure in time", 1990.

    >>> one = torch.ones(1, 1)
    >>> round(rnn_step(0.5 * one, 0.25 * one, one, one).item(), 4)  # tanh(0.5 + 0.25)
    0.6351
    """
    cell, w = _CELLS[f"RNN_{nonlinearity.upper()}"], Weights(W_ih, W_hh, b_ih, b_hh)
    (h,), _ = cell(input_term(x, W_ih, b_ih), (h_prev,), w)
    return h


def lstm_step(
    x: Tensor,
    h_prev: Tensor,
    c_prev: Tensor,
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    W_hr: Tensor | None = None,
    p: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return h (B, P) and c (B, H) after one LSTM step; with W_hr the output is projected from H down to P.

    Args: x (B, I), or (B,) one-hot indices; h_prev (B, P); c_prev (B, H); weights as torch stores them, gates i f g o;
        p (3*H) the peepholes of i, f and o.
    Source: docs/notation.md, LSTM; Hochreiter and Schmidhuber 1997, Gers et al. 2000; projection: Sak et al. 2014.

    >>> x, h, c = torch.ones(1, 1), torch.zeros(1, 1), torch.ones(1, 1)
    >>> h, c = lstm_step(x, h, c, torch.zeros(4, 1), torch.zeros(4, 1))  # gates i f o = 1/2, g = 0
    >>> c.item(), round(h.item(), 4)
    (0.5, 0.2311)
    """
    (h, c), _ = _lstm(input_term(x, W_ih, b_ih), (h_prev, c_prev), Weights(W_ih, W_hh, b_ih, b_hh, W_hr, p))
    return h, c


def gru_step(
    x: Tensor,
    h_prev: Tensor,
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """Return h (B, H) after one GRU step; the reset gate acts on W_hn h + b_hn, after the product.

    Args: x (B, I), or (B,) one-hot indices; h_prev (B, H); weights as torch stores them, gates r z n.
    Source: docs/notation.md, GRU; Cho et al. 2014, in the first form of the paper (v1).

    >>> gru_step(torch.ones(1, 1), torch.ones(1, 1), torch.zeros(3, 1), torch.zeros(3, 1)).item()  # z = 1/2, n = 0
    0.5
    """
    (h,), _ = _gru(input_term(x, W_ih, b_ih), (h_prev,), Weights(W_ih, W_hh, b_ih, b_hh))
    return h


def alive(lengths: Tensor, T: int, batch_first: bool) -> Tensor:
    """Return where rows of these lengths have a step: bool (T, B), or (B, T).

    >>> alive(torch.tensor([2, 0, 1]), 2, batch_first=True).tolist()
    [[True, True], [False, False], [True, False]]
    """
    t = torch.arange(T, device=lengths.device)
    return t < lengths[:, None] if batch_first else t[:, None] < lengths


def after_reset(states: Sequence[Tensor], reset: Tensor, reset_state: ResetState = ZEROS) -> _State:
    """Return states (..., B, H) with the rows that are reset, bool (B,), taken from another state; None is zeros.

    >>> h, reset = torch.ones(3, 2), torch.tensor([False, True, False])
    >>> after_reset([h], reset)[0].tolist()
    [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
    """
    pairs = zip(states, reset_state, strict=False)  # the state of most cells is h alone
    return tuple(torch.where(reset[..., None], 0 if other is None else other, s) for s, other in pairs)


def layer(
    kind: str,
    layout: Layout,
    x: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    weights: Sequence[Weights],
    trace: bool = False,
    reset_state: ResetState = ZEROS,
) -> LayerResult:
    """Unroll one stacked layer, with all its directions, over a sequence.

    Args:
        kind: the cell, as notation.py names it.
        layout: batch_first; lengths (B,) int64, in any order, zero allowed, where what lies past the end of a row is
            never read; batch_sizes (T,) int64 on the CPU, non-increasing, of a packed call, where row b of every
            step belongs to sequence b; reset, bool, the shape of x without I: before such a step, in the order in
            which a direction runs, the state returns to `reset_state`.
        x: (T, B, I); or (B, T, I) with batch_first; or packed (N, I) with batch_sizes.  An int64 tensor without the
            last axis holds one-hot indices in [0, I).
        h_0: state before the first step, (D, B, P); None is zeros.
        c_0: (D, B, H), of a cell that has a cell state; None is zeros.
        weights: of each of the D directions.
        trace: also return every gate and cell state.
        reset_state: h (D, B, P) and c (D, B, H); None is zeros.
    Returns: y (T, B, D*P) laid out as x, zero past the end; h_n (D, B, P) and c_n (D, B, H) after the last real
        step; the gates, detached and laid out as x, or None.  bfloat16 and float16 are computed in float32.
    Source: docs/notation.md.

    >>> W = torch.ones(1, 1)
    >>> x = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    >>> y, h_n, _, _ = layer("RNN_RELU", Layout(), x, None, None, [Weights(W, W)])  # running sum
    >>> y.flatten().tolist(), h_n.item()
    ([1.0, 3.0, 6.0], 6.0)
    """
    narrow = weights[0].W_hh.dtype
    if narrow in HALF:
        x, h_0, c_0, weights, reset_state = in_type((x, h_0, c_0, weights, tuple(reset_state)), torch.float32)
        results = layer(kind, layout, x, h_0, c_0, weights, trace, reset_state)
        return in_type(results, narrow)  # type: ignore[no-any-return]
    batch_first, lengths, batch_sizes, reset = layout
    if batch_first:
        x, reset = x.transpose(0, 1), None if reset is None else reset.transpose(0, 1)
    here = None
    if lengths is not None:
        here = alive(lengths, len(x), batch_first=False)
        x = torch.where(here if is_one_hot(x) else here[..., None], x, 0)
    B = x.shape[1] if batch_sizes is None else int(batch_sizes[0])

    def steps(rows: Tensor | None) -> Sequence[Tensor] | None:
        if rows is None:
            return None
        return rows.unbind(0) if batch_sizes is None else torch.split(rows, batch_sizes.tolist())

    def join(rows: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(rows), dim=int(batch_first)) if batch_sizes is None else torch.cat(list(rows))

    outputs, finals, traces = [], [], []
    for d, w in enumerate(weights):
        W_hh = w.W_hh
        initial = [W_hh.new_zeros(B, W_hh.shape[1]) if h_0 is None else h_0[d]]
        if has_cell_state(kind):
            initial.append(W_hh.new_zeros(B, W_hh.shape[0] // gate_count(kind)) if c_0 is None else c_0[d])
        a = steps(input_term(x, w.W_ih, w.b_ih))
        assert a is not None
        other = [None if s is None else s[d] for s in reset_state]
        y, final, gates = _unroll(kind, a, tuple(initial), w, steps(here), steps(reset), other, d == 1)
        outputs.append(join(y))
        finals.append(final)
        if trace:
            traces.append({name: join([g[name] for g in gates]).detach() for name in gates[0]})
    h_n, *c_n = (torch.stack(s) for s in zip(*finals, strict=True))
    together = {name: torch.stack([t[name] for t in traces]) for name in traces[0]} if trace else None
    return torch.cat(outputs, dim=-1), h_n, c_n[0] if c_n else None, together


def _unroll(
    kind: str,
    a: Sequence[Tensor],
    initial: _State,
    weights: Weights,
    alive: Sequence[Tensor] | None,
    reset: Sequence[Tensor] | None,
    reset_state: ResetState,
    reverse: bool,
) -> tuple[list[Tensor], _State, list[Gates]]:
    """Unroll one direction over the input terms a[t] (rows, G*H); everything returned is in order of time."""
    T = len(a)
    outputs = [a[0]] * T
    traces: list[Gates] = [{}] * T
    state = initial
    for t in reversed(range(T)) if reverse else range(T):
        rows = len(a[t])  # B, or the sequences of a packed batch that reach step t: always the first ones
        before = tuple(s[:rows] for s in state)
        start = before
        if reset is not None:
            start = after_reset(before, reset[t], [None if s is None else s[:rows] for s in reset_state])
        after, gates = _CELLS[kind](a[t], start, weights)
        outputs[t], traces[t] = after[0], gates
        if alive is not None:
            here = alive[t][:, None]
            outputs[t] = torch.where(here, after[0], 0)
            traces[t] = {name: torch.where(here, gate, 0) for name, gate in gates.items()}
            after = tuple(torch.where(here, s, b) for s, b in zip(after, before, strict=True))
        state = tuple(torch.cat([s, old[rows:]]) if rows < len(old) else s for s, old in zip(after, state, strict=True))
    return outputs, state, traces
