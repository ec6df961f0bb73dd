"""The equations of docs/notation.md in words, as an explanation prints them.  A new cell adds one entry to CELLS.

Names are those of the equations, one for each quantity: a prime marks the step before (h' is h of t - 1), and a d in
front the gradient of the loss (dW_ii is that of W_ii), by the one rule of `gradient`.
"""

from __future__ import annotations

from typing import NamedTuple

from unrolled.notation import GATES, cell_name

#: Name of a quantity -> how it is computed, in the order of computation.
Equations = dict[str, str]


def gradient(name: str) -> str:
    """Return the name of the gradient of the loss with respect to a quantity.

    >>> gradient("b_ih"), gradient("h")
    ('db_ih', 'dh')
    """
    return f"d{name}"


def block(letter: str, side: str, gate: str) -> str:
    """Return the name of one gate's block of a weight ("W") or bias ("b") that reads x ("i") or the state ("h").

    >>> block("W", "h", "f"), block("b", "i", "h")  # the RNN's one gate is h, and its weights read i and h
    ('W_hf', 'b_ih')
    """
    return f"{letter}_{side}h" if gate == "h" else f"{letter}_{side}{gate}"


def products(kind: str, side: str) -> list[str]:
    """Return the names of the products of one side's weights, gate by gate.

    >>> products("RNN_TANH", "i"), products("GRU", "h")
    (['W_ih x'], ["W_hr h'", "W_hz h'", "W_hn h'"])
    """
    reads = "x" if side == "i" else "h'"
    return [f"{block('W', side, gate)} {reads}" for gate in GATES[kind]]


def backwards(kind: str, side: str, scaled: str = "") -> str:
    """Return what the gates pass back through one side's weights; `scaled` is the gate whose da is multiplied by r.

    >>> backwards("LSTM", "h")
    'W_hi^T da_i + W_hf^T da_f + W_hg^T da_g + W_ho^T da_o'
    """
    da = {gate: f"(r * da_{gate})" if gate == scaled else f"da_{gate}" for gate in GATES[kind]}
    return " + ".join(f"{block('W', side, gate)}^T {da[gate]}" for gate in GATES[kind])


def _argument(gate: str) -> str:
    return f"{block('W', 'i', gate)} x + {block('b', 'i', gate)} + {block('W', 'h', gate)} h' + {block('b', 'h', gate)}"


class CellEquations(NamedTuple):
    """The equations of one kind of cell.

    Attributes:
        forward: Of a step, after the products of `products`.
        backward: Of its gradients; dh begins with what comes from above, which depends on the layer.
        scaled: The gate whose W_h and b_h get r * da, because the reset gate multiplies what they give; "" for none.
    """

    forward: Equations
    backward: Equations
    scaled: str = ""


CELLS: dict[str, CellEquations] = {
    "RNN_TANH": CellEquations(
        forward={"a_h": _argument("h"), "h": "tanh(a_h), the new state"},
        backward={"dh": f"{backwards('RNN_TANH', 'h')} of the next step", "da_h": "dh * (1 - h^2)"},
    ),
    "RNN_RELU": CellEquations(
        forward={"a_h": _argument("h"), "h": "max(0, a_h), the new state"},
        backward={"dh": f"{backwards('RNN_RELU', 'h')} of the next step", "da_h": "dh where h > 0, else 0"},
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
            "dh": f"{backwards('LSTM', 'h')} of the next step",
            "dc": "dh * o * (1 - tanh(c)^2) + f * dc of the next step",
            "da_i": "dc * g * i * (1 - i)",
            "da_f": "dc * c' * f * (1 - f)",
            "da_g": "dc * i * (1 - g^2)",
            "da_o": "dh * tanh(c) * o * (1 - o)",
        },
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
            "dh": f"{backwards('GRU', 'h', scaled='n')} + z * dh of the next step",
            "da_r": "da_n * hn * r * (1 - r)",
            "da_z": "dh * (h' - n) * z * (1 - z)",
            "da_n": "dh * (1 - z) * (1 - n^2)",
        },
        scaled="n",
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


def of_weight(kind: str, letter: str, side: str, gate: str) -> str:
    """Return how the gradient of one gate's block of a weight or bias is computed.

    >>> of_weight("LSTM", "W", "h", "f"), of_weight("GRU", "b", "h", "n")
    ("sum over the steps of da_f h'^T", 'sum over the steps of r * da_n')
    """
    da = f"r * da_{gate}" if (side, gate) == ("h", CELLS[kind].scaled) else f"da_{gate}"
    if letter == "b":
        return f"sum over the steps of {da}"
    read = "x" if side == "i" else "h'"
    return f"sum over the steps of {f'({da})' if '*' in da else da} {read}^T"


HEAD: Equations = {
    "y": "W_hy h + b_y, the logits",
    "p": "softmax(y): exp(y) / sum of exp(y)",
    "dy": "(p - 1 at the target) / N",
}


class Other(NamedTuple):
    """A weight outside the cells: its name in the equations, and how its gradient is computed."""

    name: str
    gradient: str


OTHER_WEIGHTS: dict[str, Other] = {
    "embedding.weight": Other("E", "row k: sum of dx over the steps that read symbol k"),
    "head.weight": Other("W_hy", "sum over the steps of dy h^T"),
    "head.bias": Other("b_y", "sum over the steps of dy"),
    "initial.0": Other("h_0", "what the first step passes back"),
    "initial.1": Other("c_0", "what the first step passes back"),
}
#: The embedding where the head shares it.
TIED = Other("E", "row k: sum of dx over the steps that read symbol k, + sum over the steps of dy[k] h; E is W_hy too")
