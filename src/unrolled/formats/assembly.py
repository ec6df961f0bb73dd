"""From the arrays of a file to layers, their order and a network, each checked and named where it does not fit."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from unrolled.config.options import listed
from unrolled.formats.network_of import FormatError
from unrolled.notation import Kind, Weights, gate_count
from unrolled.saved.network import Layer, Network
from unrolled.words import counted

#: The cells that can be told apart by the number of their gates.
_SHOWN: tuple[Kind, ...] = ("LSTM", "GRU", "RNN_TANH")
#: Layers of different names whose orders are tried.
TRIED = 12
#: Layers of the deepest network whose order is looked for.
DEEPEST = 400


def one_layer(where: str, kind: Kind, weights: Weights) -> Layer:
    """Return a layer of one direction; FormatError if its weights do not fit each other."""
    layer = Layer(kind, (weights,))
    if any(w is not None and not w.size for w in weights):
        raise FormatError(f"{where}: has an array without numbers")
    try:
        Network((layer,))
    except (ValueError, IndexError) as error:
        raise FormatError(f"{where}: {str(error).removeprefix('layer 0: ')}") from None
    return layer


def kind_of(where: str, recurrent: NDArray[Any]) -> Kind:
    """Return the cell whose gates a recurrent kernel (H, G*H) stacks; FormatError if none does."""
    for kind in _SHOWN:
        if recurrent.ndim == 2 and recurrent.size and recurrent.shape[1] == gate_count(kind) * len(recurrent):
            return kind
    raise FormatError(f"{where}: its recurrent kernel is {recurrent.shape}, expected (H, G*H) with G 1, 3 or 4")


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which names sort as people count.

    >>> sorted(["cell_10", "cell_9"], key=natural)
    ['cell_9', 'cell_10']
    """
    return [(int(part[:9]), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def in_order(
    where: str, layers: Mapping[str, Layer], first: int | None, last: int | None, *, halves: bool = True
) -> tuple[Layer, ...]:
    """Return layers bottom first.

    Layers whose names differ in a number alone are in the order of that; two of one kind and size that cannot stand one
    upon the other, for then the next does not fit, are the two directions of one.

    Args:
        where: the file, for messages.
        layers: by name.
        first, last: the widths of what the lowest reads and the highest writes, where they are known.
        halves: whether a layer of two directions may be in the file as two.

    Raises: FormatError if no order fits, or more than one.
    Warns: UserWarning where layers of one name may be a stack as well as directions.
    """
    queues: dict[str, list[str]] = {}
    for name in sorted(layers, key=natural):
        queues.setdefault(re.sub(r"_?\d+", "", name), []).append(name)
    if len(queues) > 1 and len(layers) > TRIED:
        raise FormatError(f"{where}: has {len(layers)} layers of different names, so their order cannot be seen")
    if len(layers) > DEEPEST:
        raise FormatError(f"{where}: has {len(layers):,} layers, expected {DEEPEST} at most")
    places = tuple(len(queue) for queue in queues.values())

    def orders(left: tuple[int, ...], width: int | None) -> Iterator[tuple[Layer, ...]]:
        if not any(left):
            if last is None or width == last:
                yield ()
            return
        for k, names in enumerate(queues.values()):
            waiting = [layers[name] for name in names[len(names) - left[k] :]]
            for taken in (1, 2)[: 1 + halves]:
                layer = _taken(waiting, taken)
                if layer is not None and (width is None or width == layer.I):
                    rest = tuple(n - taken * (k == j) for j, n in enumerate(left))
                    yield from ((layer, *above) for above in orders(rest, layer.width))

    found = [*islice(orders(places, first), 2)]
    if len(found) == 1 or (found and len(queues) == 1):  # of one name, the first has the fewest with two directions
        pairs = len(layers) - len(found[0])
        if pairs:
            said = (
                f"{counted(2 * pairs, 'layer')} of equal size read as the two directions of {counted(pairs, 'layer')}"
            )
        elif len(found) > 1:
            said = f"read as {len(found[0])} layers one upon the other, though two may be the two directions of one"
        if pairs or len(found) > 1:
            warnings.warn(f"{where}: {said}, which names do not tell; compare the numbers", stacklevel=2)
        return found[0]
    widths = [f"{name} ({layer.I} to {layer.width})" for name, layer in layers.items()]
    what = "more than one order of its layers fits" if found else "its layers do not fit each other"
    raise FormatError(f"{where}: {what}: {listed(widths)}; number their names from the input to the output")


def may_stand_before(name: str, W: NDArray[Any], layers: Sequence[Layer]) -> bool:
    """Return whether a dense layer W (V, D*P) that is taken for the head of these layers may be one before them.

    One named "head" is the head.

    >>> import numpy as np
    >>> layer = Layer("RNN_TANH", (Weights(np.eye(2), np.eye(2)),))
    >>> may_stand_before("fc", np.eye(2), [layer]), may_stand_before("net.head", np.eye(2), [layer])
    (True, False)
    """
    return W.ndim == 2 and W.shape[0] == W.shape[1] == layers[0].I and re.split(r"[./]", name)[-1] != "head"


def _taken(waiting: list[Layer], count: int) -> Layer | None:
    """Return the next layer of some, made of one or of two directions; None if there is none."""
    if len(waiting) < count:
        return None
    lower, *upper = waiting[:count]
    if not upper:
        return lower
    alike = [(each.kind, each.I, each.H, each.D) for each in (lower, *upper)]
    if alike[0] != alike[1] or lower.D == 2:
        return None
    return replace(lower, directions=lower.directions + upper[0].directions)
