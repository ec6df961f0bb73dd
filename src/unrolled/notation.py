"""The letters, the gate order and the parameter shapes of the whole project: the one place that knows them.

B batch, T time, I input size, E embedding, H hidden, P projection (H if there is none), V vocabulary, L layers,
D directions, G gates of a cell.  docs/notation.md carries the equations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

Kind = Literal["RNN_TANH", "RNN_RELU", "LSTM", "GRU", "LSTM_PEEPHOLE"]


class Cell(NamedTuple):
    """What sets one kind of cell apart from the others."""

    number: int  #: in the core: enum CellKind of csrc/kernels.h
    gates: str  #: blocks along the first axis of every weight, in torch's order; the Elman cell's one block is h
    sigmoids: str  #: the gates whose values lie in (0, 1)
    saved: tuple[str, ...]  #: what a forward pass saves of each step for the backward pass, beside h and c
    states: tuple[str, ...]  #: what goes from step to step
    peepholes: str = ""  #: the gates that read the cell state, each through a vector p of its own


#: Every kind of cell.  CONTRIBUTING.md lists the five other files in which a new one is written.
CELLS: dict[str, Cell] = {
    "RNN_TANH": Cell(0, "h", "", (), ("h",)),
    "RNN_RELU": Cell(1, "h", "", (), ("h",)),
    "LSTM": Cell(2, "ifgo", "ifo", ("i", "f", "g", "o"), ("h", "c")),
    "GRU": Cell(3, "rzn", "rz", ("r", "z", "n", "hn"), ("h",)),
    "LSTM_PEEPHOLE": Cell(4, "ifgo", "ifo", ("i", "f", "g", "o"), ("h", "c"), peepholes="ifo"),
}

#: Gate order of each cell, as torch stacks the gates along the first axis of every weight.
GATES: dict[str, str] = {kind: cell.gates for kind, cell in CELLS.items()}

#: What a reader calls the cells whose kind is not yet their name.
_CALLED = {"RNN_TANH": "RNN", "RNN_RELU": "ReLU RNN", "LSTM_PEEPHOLE": "peephole LSTM"}

#: Titles of gates and states.
LONG_NAMES = {
    "i": "input gate i",
    "f": "forget gate f",
    "g": "candidate g",
    "o": "output gate o",
    "c": "cell state c",
    "h": "hidden state h",
    "r": "reset gate r",
    "z": "update gate z",
    "n": "candidate n",
}


class Weights(NamedTuple):
    """The weights of one layer and direction, or their gradients; None for what the layer lacks."""

    W_ih: Any
    W_hh: Any
    b_ih: Any = None
    b_hh: Any = None
    W_hr: Any = None
    p: Any = None  #: p_i, p_f, p_o


#: The shapes of these weights.
SHAPES: dict[str, tuple[str, ...]] = {
    "W_ih": ("G*H", "I"),
    "W_hh": ("G*H", "P"),
    "b_ih": ("G*H",),
    "b_hh": ("G*H",),
    "W_hr": ("P", "H"),
    "p": ("3*H",),
}


#: The stems of the names that these weights are stored under.
WEIGHTS: dict[str, str] = {
    "W_ih": "weight_ih",
    "W_hh": "weight_hh",
    "b_ih": "bias_ih",
    "b_hh": "bias_hh",
    "W_hr": "weight_hr",
    "p": "peephole",
}


def has_cell_state(kind: str) -> bool:
    """Return whether a cell carries c from step to step, beside h.

    >>> has_cell_state("LSTM"), has_cell_state("GRU")
    (True, False)
    """
    return "c" in CELLS[kind].states


def cell_name(kind: str) -> str:
    """Return what a reader calls a kind of cell.

    >>> cell_name("RNN_TANH"), cell_name("RNN_RELU"), cell_name("GRU")
    ('RNN', 'ReLU RNN', 'GRU')
    """
    return _CALLED.get(kind, kind)


def gate_count(kind: str) -> int:
    """Return G, the number of gate blocks stacked in a weight of this kind of cell.

    >>> gate_count("LSTM"), gate_count("GRU"), gate_count("RNN_TANH")
    (4, 3, 1)
    """
    return len(GATES[kind])


def stored_name(weight: str, layer: int = 0, reverse: bool = False) -> str:
    """Return torch's name of a weight of one layer and direction.

    >>> stored_name("b_hh", 1, reverse=True)
    'bias_hh_l1_reverse'
    """
    return f"{WEIGHTS[weight]}_l{layer}" + ("_reverse" if reverse else "")


def weight_shapes(
    kind: str, input_size: int, hidden_size: int, *, bias: bool = True, proj_size: int = 0
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of one layer and direction, in the order in which torch stores them.

    >>> weight_shapes("GRU", 3, 5)
    {'W_ih': (15, 3), 'W_hh': (15, 5), 'b_ih': (15,), 'b_hh': (15,)}
    """
    H, peepholes = hidden_size, CELLS[kind].peepholes
    sizes = {"G*H": gate_count(kind) * H, "I": input_size, "H": H, "P": proj_size or H, "3*H": len(peepholes) * H}
    there = {"b_ih": bias, "b_hh": bias, "W_hr": proj_size, "p": peepholes}
    return {w: tuple(sizes[each] for each in shape) for w, shape in SHAPES.items() if there.get(w, True)}


def gate_slice(kind: str, gate: str, hidden_size: int) -> slice:
    """Return the rows that one gate takes of a stacked weight or bias.

    Raises: KeyError if this kind of cell has no such gate; the message lists those it has.

    >>> gate_slice("LSTM", "g", 10)
    slice(20, 30, None)
    """
    if gate not in GATES[kind]:
        raise KeyError(f"{kind} has no gate {gate!r}; its gates are {', '.join(GATES[kind])}")
    first = GATES[kind].index(gate) * hidden_size
    return slice(first, first + hidden_size)


def gate_parameters(kind: str) -> Iterator[tuple[str, str, int]]:
    """Yield (name in the equations, stored stem, block) of every per-gate block, H rows, of the weights of a cell.

    >>> [name for name, stem, block in gate_parameters("GRU")]
    ['W_ir', 'W_iz', 'W_in', 'W_hr', 'W_hz', 'W_hn', 'b_ir', 'b_iz', 'b_in', 'b_hr', 'b_hz', 'b_hn']
    """
    for letter, stem in (("W", "weight"), ("b", "bias")):
        for side in "ih":
            for block, gate in enumerate(GATES[kind]):
                yield f"{letter}_{side}{gate}", f"{stem}_{side}h", block
    for block, gate in enumerate(CELLS[kind].peepholes):
        yield f"p_{gate}", WEIGHTS["p"], block


def textbook_names(kind: str) -> dict[str, tuple[str, ...]]:
    """Return what textbooks write, x for the input and one bias a gate, as the sum of the blocks that are stored.

    The GRU's n has no single bias: r acts on b_hn alone.

    >>> textbook_names("RNN_TANH"), textbook_names("GRU")["b_z"]
    ({'W_xh': ('W_ih',), 'b_h': ('b_ih', 'b_hh')}, ('b_iz', 'b_hz'))
    """
    names: dict[str, tuple[str, ...]] = {f"W_x{gate}": (f"W_i{gate}",) for gate in GATES[kind]}
    return names | {f"b_{gate}": (f"b_i{gate}", f"b_h{gate}") for gate in GATES[kind] if gate != "n"}


#: Letters that other texts give a gate.
_OTHER_LETTERS = {"LSTM": {"c": "g"}, "LSTM_PEEPHOLE": {"c": "g"}, "GRU": {"h": "n", "c": "n", "u": "z"}}


def name_here(kind: str, name: str) -> str:
    """Return, for an error message, what a name of some textbook is called here.

    >>> name_here("RNN_TANH", "W_hx")
    'here it is W_xh'
    >>> name_here("GRU", "b_n")
    'its names are W_xr, W_xz, W_xn, W_hr, W_hz, W_hn, b_r, b_z; see docs/notation.md'
    """
    textbook, recurrent = textbook_names(kind), [f"W_h{gate}" for gate in GATES[kind]]
    letter, _, index = name.partition("_")
    if letter == "U":
        letter, index = "W", f"h{index}"
    for order in (index, index[::-1]):
        known = f"{letter}_{order[:-1]}{_OTHER_LETTERS.get(kind, {}).get(order[-1:], order[-1:])}"
        if known in textbook or known in recurrent:
            return f"here it is {known}"
    matrices = [known for known in textbook if known.startswith("W")]
    names = [*matrices, *recurrent, *(known for known in textbook if known.startswith("b"))]
    return f"its names are {', '.join(names)}; see docs/notation.md"
