"""What runs through the graph of a network: the signal, and the states that the layers leave.

An axis is a tuple of atoms, whose sizes multiply to its own: a Reshape parts or joins atoms, and no node may mix them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from unrolled.saved.network import Array, Layer, When


class Atom(NamedTuple):
    """An axis as it was made: its name, its size, and whether the file decides that."""

    name: str
    size: int
    fixed: bool = True


Axis = tuple[Atom, ...]


@dataclass(frozen=True)
class Signal:
    """What the input has become at one place of the graph: its axes, and the parts of the network that it has passed.

    Attributes:
        axes: of the array.
        features: the atoms of the axis that a layer reads, in their order; none for symbols.
        time: the axis over which the layers run, once one has.
        when: which step is left, as a head's; "first" may become the "last" of the reverse direction.  `is_state` if it
            was taken from h_n.
        side: the direction that is left of two, until a Concat joins them.
        pending: W_hr of the last layer (D, P, H), and the layer with it, where the product R of its node had two parts.
    """

    axes: tuple[Axis, ...]
    features: Axis
    time: Axis | None = None
    when: When | Literal["first"] = "each"
    is_state: bool = False
    side: int | None = None
    symbols: bool = False
    embedding: Array | None = None
    one_hot: bool = False
    layers: tuple[Layer, ...] = ()
    pending: tuple[Array, Layer] | None = None
    W: Array | None = None
    b: Array | None = None
    softmax: bool = False

    def having(self, **changes: Any) -> Signal:
        """Return the signal with these changes."""
        return replace(self, **changes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes."""
        return tuple(math.prod(atom.size for atom in axis) for axis in self.axes)

    @property
    def ends_in_features(self) -> bool:
        """Whether the last axis holds all that a layer or a head reads, in order."""
        return bool(self.axes) and self.side is None and self.axes[-1] == self.features != ()


@dataclass(frozen=True)
class Ends:
    """States after the last step, a row for each layer and direction.

    Attributes:
        rows: for h of a layer of one direction, the signal at its last step; else None.
        axis: along which the rows lie.
    """

    rows: tuple[Signal | None, ...]
    axis: int


@dataclass(frozen=True)
class Foreign:
    """What depends on other inputs, or on states in a way that no network here has.

    Attributes:
        made_of: what it is, for a message.
    """

    made_of: str


def regrouped(axes: tuple[Axis, ...], sizes: list[int]) -> tuple[Axis, ...]:
    """Return the axes after a Reshape.

    Raises: ValueError if these sizes part an atom.

    >>> t, b, d, h = Atom("T", 7), Atom("B", 5), Atom("D", 2), Atom("H", 3)
    >>> [len(axis) for axis in regrouped(((t,), (b,), (d,), (h,)), [7, 5, -1])]
    [1, 1, 2]
    """
    atoms = [atom for axis in axes for atom in axis]
    if sizes.count(-1) == 1:
        known = math.prod(n for n in sizes if n != -1)
        sizes = [math.prod(atom.size for atom in atoms) // known if n == -1 and known else n for n in sizes]
    found, at = [], 0
    for k, n in enumerate(sizes):
        axis: list[Atom] = []
        while at < len(atoms) and (math.prod(a.size for a in axis) != n or (atoms[at].size == 1 and not axis)):
            axis.append(atoms[at])
            at += 1
        if k == len(sizes) - 1:
            axis += atoms[at:]
            at = len(atoms)
        if math.prod(a.size for a in axis) != n:
            raise ValueError(
                f"shape {sizes} mixes the axes {[a.name for a in atoms]} of sizes {[a.size for a in atoms]}"
            )
        found.append(tuple(axis))
    if at < len(atoms):
        raise ValueError(f"shape {sizes} does not hold the axes {[a.name for a in atoms]}")
    return tuple(found)
