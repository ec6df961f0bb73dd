"""How often the gates of a network are nearly shut or nearly open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from unrolled.notation import GATES

if TYPE_CHECKING:
    from unrolled.views.traces import Trace

#: The gates whose values lie between 0, shut, and 1, open.
SIGMOIDS = frozenset("ifozr")
LOW, HIGH = 0.1, 0.9


@dataclass(frozen=True)
class Saturation:
    """How often each unit of one gate is nearly shut or nearly open.

    Attributes:
        left: Share of steps below `low`, (H,).
        right: Share of steps above `high`, (H,).
        low, high: The borders.
    """

    left: NDArray[Any]
    right: NDArray[Any]
    low: float
    high: float


def saturation(read: Trace, layer: int = -1, low: float = LOW, high: float = HIGH) -> dict[str, Saturation]:
    """Return the saturation of every gate of a layer, by gate; empty for RNN, which has none.

    Source: A. Karpathy et al., "Visualizing and understanding recurrent networks", 2015, section 4.2.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> from unrolled.views.traces import trace
    >>> read = trace(SequenceModel(ModelConfig(cell="gru", hidden_size=5), Vocabulary("ab")), ["a", "b"])
    >>> sorted(saturation(read)), saturation(read)["z"].left.tolist()  # untrained gates are half open
    (['r', 'z'], [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    found = {}
    for gate in GATES[read.layers[layer].kind]:
        if gate in SIGMOIDS:
            values = read.values(gate, layer)
            found[gate] = Saturation((values < low).mean(0), (values > high).mean(0), low, high)
    return found
