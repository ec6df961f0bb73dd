"""What the page is told of a network, by a server or by the file that it is in."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from unrolled.config.model import ModelConfig
from unrolled.notation import CELLS, GATES, LONG_NAMES, cell_name
from unrolled.saved.vocabulary import Vocabulary

#: The most units that are drawn as lines at a time: as many as there are line colours on the page.
UNITS = 6

#: Likeliest next symbols that are shown.
SHOWN = 10

#: Share of the values of an array without bounds that its colours tell apart; larger ones have the last colour.
MOST = 0.99

#: The largest lag of the Jacobians that are shown.
LAGS = 100
#: Multiplications H^3 that one request may spend on Jacobians: about a second.
JACOBIAN_WORK = 3e8


class ArrayCard(Struct, frozen=True):
    """One gate or state that can be looked at."""

    name: Annotated[str, Meta(description="Its letter in the equations.")]
    title: str
    low: Annotated[float | None, Meta(description="Its lower bound; null if it has none.")]
    high: Annotated[float | None, Meta(description="Its upper bound; null if it has none.")]


class ModelCard(Struct, frozen=True):
    """What one model is."""

    name: str
    kind: Annotated[str, Meta(description=f"Of cell: {', '.join(map(cell_name, CELLS))}.")]
    L: Annotated[int, Meta(description="Layers.", ge=1)]
    H: Annotated[int, Meta(description="Hidden units of each layer.", ge=1)]
    V: Annotated[int, Meta(description="Symbols, EOS and UNK among them.", ge=2)]
    parameters: Annotated[int, Meta(description="Learned numbers.", ge=1)]
    symbols: Annotated[str, Meta(description="What one symbol is: characters, words, bytes or symbols.")]
    framed: Annotated[bool, Meta(description="Whether it learned sequences that end with EOS.")]
    arrays: list[ArrayCard]


def model_card(name: str, config: ModelConfig, vocabulary: Vocabulary, *, parameters: int, framed: bool) -> ModelCard:
    """Return what the page is told of a model.

    >>> card = model_card("a", ModelConfig("gru", 5), Vocabulary("ab"), parameters=100, framed=True)
    >>> card.kind, card.V, [array.name for array in card.arrays]
    ('GRU', 4, ['r', 'z', 'n', 'h'])
    """
    kind = config.kind
    arrays = dict.fromkeys([*GATES[kind], *reversed(CELLS[kind].states)])  # c before h
    return ModelCard(
        name=name,
        kind=cell_name(kind),
        L=config.num_layers,
        H=config.hidden_size,
        V=len(vocabulary),
        parameters=parameters,
        symbols=vocabulary.kind,
        framed=framed,
        arrays=[ArrayCard(a, LONG_NAMES[a], *_bounds(kind, a)) for a in arrays],
    )


def _bounds(kind: str, array: str) -> tuple[float | None, float | None]:
    """Return the least and the largest value of a gate or state."""
    if array in CELLS[kind].sigmoids:
        return 0, 1
    if array == "c":
        return None, None
    return (0, None) if kind == "RNN_RELU" else (-1, 1)
