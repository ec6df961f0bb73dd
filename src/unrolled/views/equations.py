"""The equations of docs/notation.md in words, as an explanation prints them.  A new cell adds one entry to CELLS.

A prime marks the step before (h' is h of t - 1), a d in front the gradient of the loss, and "next" the step after.
"""

from __future__ import annotations

from typing import NamedTuple

from unrolled.notation import cell_name

#: Name of a quantity -> how it is computed, in the order of computation.
Equations = dict[str, str]


def _argument(gate: str) -> str:
    return f"W_i{gate} x + b_i{gate} + W_h{gate} h' + b_h{gate}"


_DH = "gradient from above + W_hh^T times"
_WEIGHTS: Equations = {
    "weight_ih": "sum over the steps of da x^T",
    "weight_hh": "sum over the steps of da h'^T",
    "bias_ih": "sum over the steps of da",
    "bias_hh": "sum over the steps of da",
}


class CellEquations(NamedTuple):
    """The equations of one kind of cell: of a step, of its backward pass, and of the gradients of its weights."""

    forward: Equations
    backward: Equations
    weights: Equations


CELLS: dict[str, CellEquations] = {
    "RNN_TANH": CellEquations(
        forward={"a_h": "W_ih x + b_ih + W_hh h' + b_hh", "h": "tanh(a_h), the new state"},
        backward={"dh": f"{_DH} da_h of the next step", "da_h": "dh * (1 - h^2)"},
        weights=_WEIGHTS,
    ),
    "RNN_RELU": CellEquations(
        forward={"a_h": "W_ih x + b_ih + W_hh h' + b_hh", "h": "max(0, a_h), the new state"},
        backward={"dh": f"{_DH} da_h of the next step", "da_h": "dh where h > 0, else 0"},
        weights=_WEIGHTS,
    ),
    "LSTM": CellEquations(
        forward={
            "a_i": _argument("i"),
            "a_f": _argument("f"),
            "a_g": _argument("g"),
            "a_o": _argument("o"),
            "i": "sigmoid(a_i), how much of the candidate enters the cell",
            "f": "sigmoid(a_f), how much of the old cell state is kept",
            "g": "tanh(a_g), the candidate",
            "o": "sigmoid(a_o), how much of the cell state is shown",
            "c": "f * c' + i * g, the cell state",
            "h": "o * tanh(c), the hidden state",
        },
        backward={
            "dh": f"{_DH} da (i, f, g, o) of the next step",
            "dc": "dh * o * (1 - tanh(c)^2) + f * dc of the next step",
            "da_i": "dc * g * i * (1 - i)",
            "da_f": "dc * c' * f * (1 - f)",
            "da_g": "dc * i * (1 - g^2)",
            "da_o": "dh * tanh(c) * o * (1 - o)",
        },
        weights=_WEIGHTS,
    ),
    "GRU": CellEquations(
        forward={
            "a_r": _argument("r"),
            "a_z": _argument("z"),
            "hn": "W_hn h' + b_hn, what the old state offers to the candidate",
            "r": "sigmoid(a_r), how much of that offer is taken",
            "z": "sigmoid(a_z), how much of the old state is kept",
            "a_n": "W_in x + b_in + r * hn",
            "n": "tanh(a_n), the candidate",
            "h": "(1 - z) * n + z * h', the new state",
        },
        backward={
            "dh": "gradient from above + W_hr^T da_r + W_hz^T da_z + W_hn^T (r * da_n) + z * dh of the next step",
            "da_r": "da_n * hn * r * (1 - r)",
            "da_z": "dh * (h' - n) * z * (1 - z)",
            "da_n": "dh * (1 - z) * (1 - n^2)",
        },
        weights=_WEIGHTS
        | {
            "weight_hh": "sum over the steps of da h'^T, with r * da_n in the rows of n",
            "bias_hh": "sum over the steps of da, with r * da_n in the rows of n",
        },
    ),
}


def of(kind: str) -> CellEquations:
    """Return the equations of one kind of cell.

    Raises: ValueError if they are not written down here; it lists those that are.

    >>> of("RNN_TANH").forward["h"]
    'tanh(a_h), the new state'
    """
    if kind not in CELLS:
        known = ", ".join(map(cell_name, CELLS))
        raise ValueError(f"a {cell_name(kind)} cannot be explained yet: there are equations for {known}")
    return CELLS[kind]


HEAD: Equations = {
    "logits": "W_hy h + b_y",
    "p": "softmax(logits): exp(logit) / sum of exp(logits)",
    "dlogits": "(p - 1 at the target) / N",
}

OTHER_WEIGHTS: Equations = {
    "head.weight": "sum over the steps of dlogits h^T",
    "head.bias": "sum over the steps of dlogits",
    "embedding.weight": "row k: sum of dx over the steps that read symbol k",
    "initial": "gradient of the state before the first step",
}
TIED = "row k: sum of dx over the steps that read symbol k, + sum over the steps of dlogits[k] h"
