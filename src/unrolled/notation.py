"""The letters, the gate order and the parameter shapes of the whole project: the one place that knows them.

B batch, T time, I input size, E embedding, H hidden, P projection (H if there is none), V vocabulary, L layers,
D directions, G gates of a cell.  docs/notation.md carries the equations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

Kind = Literal["RNN_TANH", "RNN_RELU", "LSTM", "GRU"]

#: Gate order of each cell, as torch stacks them along the first axis of every weight.  The Elman cell has one
#: unnamed block: its names are plain ``W_ih``, ``b_hh``.
GATES: dict[str, str] = {"RNN_TANH": "h", "RNN_RELU": "h", "LSTM": "ifgo", "GRU": "rzn"}


#: The number of each cell in the core: enum CellKind of csrc/kernels.h.
CELL_NUMBERS: dict[str, int] = {"RNN_TANH": 0, "RNN_RELU": 1, "LSTM": 2, "GRU": 3}


def gate_count(kind: str) -> int:
    """Return G, the number of gate blocks stacked in a weight of this kind of cell.

    >>> gate_count("LSTM"), gate_count("GRU"), gate_count("RNN_TANH")
    (4, 3, 1)
    """
    return len(GATES[kind])


def parameter_names(layer: int, reverse: bool, *, bias: bool, projection: bool) -> list[str]:
    """Return torch's names of one layer and direction, in the order torch stores them.

    >>> parameter_names(0, True, bias=True, projection=False)
    ['weight_ih_l0_reverse', 'weight_hh_l0_reverse', 'bias_ih_l0_reverse', 'bias_hh_l0_reverse']
    """
    suffix = f"_l{layer}" + ("_reverse" if reverse else "")
    names = [f"weight_ih{suffix}", f"weight_hh{suffix}"]
    if bias:
        names += [f"bias_ih{suffix}", f"bias_hh{suffix}"]
    if projection:
        names += [f"weight_hr{suffix}"]
    return names


def parameter_shapes(
    kind: str, input_size: int, hidden_size: int, *, bias: bool = True, proj_size: int = 0
) -> list[tuple[int, ...]]:
    """Return the shapes of one layer and direction, in the order of :func:`parameter_names`.

    >>> parameter_shapes("GRU", 3, 5)
    [(15, 3), (15, 5), (15,), (15,)]
    """
    GH = gate_count(kind) * hidden_size
    shapes: list[tuple[int, ...]] = [(GH, input_size), (GH, proj_size or hidden_size)]
    if bias:
        shapes += [(GH,), (GH,)]
    if proj_size:
        shapes += [(proj_size, hidden_size)]
    return shapes


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


def gate_parameters(kind: str) -> Iterator[tuple[str, str, str]]:
    """Yield (name in the equations, stored stem, gate) of every per-gate block of a cell.

    >>> [name for name, stem, gate in gate_parameters("GRU")]
    ['W_ir', 'W_iz', 'W_in', 'W_hr', 'W_hz', 'W_hn', 'b_ir', 'b_iz', 'b_in', 'b_hr', 'b_hz', 'b_hn']
    """
    for letter, stem in (("W", "weight"), ("b", "bias")):
        for side in "ih":
            for gate in GATES[kind]:
                name = f"{letter}_{side}h" if kind.startswith("RNN") else f"{letter}_{side}{gate}"
                yield name, f"{stem}_{side}h", gate
