"""How often the gates of a network are nearly shut or nearly open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from unrolled.config.checks import Index, NonNegative, check_value
from unrolled.notation import CELLS

if TYPE_CHECKING:
    from unrolled.views.traces import TextTrace

#: Gates below and above these values count as shut and open.
LOW, HIGH = 0.1, 0.9


@dataclass(frozen=True)
class Saturation:
    """How often each unit of one gate is nearly shut or nearly open.

    Attributes:
        left: Share of steps below `low`, (H,).
        right: Share of steps above `high`, (H,).
        low, high: The limits.
    """

    left: NDArray[Any]
    right: NDArray[Any]
    low: float
    high: float


def saturation(read: TextTrace, layer: int = -1, low: float = LOW, high: float = HIGH) -> dict[str, Saturation]:
    """Return the saturation of every sigmoid gate of a layer, by gate; empty for a cell without such gates.

    Source: A. Karpathy et al., "Visualizing and understanding recurrent networks", 2015, section 4.2.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> from unrolled.views.traces import trace
    >>> read = trace(SequenceModel(ModelConfig(cell="gru", hidden_size=5), Vocabulary("ab")), ["a", "b"])
    >>> sorted(saturation(read)), saturation(read)["z"].left.tolist()  # untrained gates are half open
    (['r', 'z'], [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    check_value("low", low, NonNegative)
    check_value("high", high, NonNegative)
    check_value("layer", layer, Index)
    values = {gate: read.values(gate, layer) for gate in CELLS[read.layers[0].kind].sigmoids}
    return {gate: Saturation((v < low).mean(0), (v > high).mean(0), low, high) for gate, v in values.items()}
