"""The trace of a call: every gate and state that a layer computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.nn.layout import Rows


@dataclass(frozen=True)
class Trace:
    """Every gate and state of one forward call, detached from the graph, laid out as the output, in memory of its own.

    Args:
        h: hidden states, (T, B, D*P).
        c: LSTM cell states, (T, B, D*H); None for the other cells.
        gates: "i", "f", "g", "o" of LSTM; "r", "z", "n" of GRU, with "hn" = W_hn h + b_hn; each (T, B, D*H).
            The two directions lie side by side, as in the output.
        layers: the same for every stacked layer, first layer first; h, c and gates above are those of the last.

    >>> from unrolled.nn import GRU
    >>> y, h_n, trace = GRU(3, 5, num_layers=2)(torch.randn(7, 1, 3), trace=True)
    >>> trace.gates["z"].shape, len(trace.layers), trace.layers[1].h is trace.h
    (torch.Size([7, 1, 5]), 2, True)
    """

    h: Rows
    c: Rows | None
    gates: dict[str, Rows]
    layers: tuple[Trace, ...] = ()


def trace_of(recorded: Sequence[tuple[Tensor, dict[str, Tensor]]], laid_out: Callable[[Tensor], Rows]) -> Trace:
    """Return the trace of a stack from (output, gates (D, *rows, H)) of each of its layers."""

    def side_by_side(directions: Tensor) -> Rows:  # (D, *rows, H) -> (*rows, D*H)
        return laid_out(directions[0] if len(directions) == 1 else torch.cat(directions.unbind(0), dim=-1))

    layers = []
    for y, gates in recorded:
        wide = {name: side_by_side(gate) for name, gate in gates.items()}
        layers.append(Trace(laid_out(y), wide.pop("c", None), wide))
    last = layers[-1]
    return Trace(last.h, last.c, last.gates, tuple(layers))
