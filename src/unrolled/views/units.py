"""Find the unit that follows a feature of the text: position, depth of brackets, a count, quotes, or any other.

T symbols read.  A feature is a function from the T symbols to T numbers, the value after each symbol.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unrolled.config.options import brief
from unrolled.notation import GATES
from unrolled.saved.tokenizers import tokenizer
from unrolled.words import counted

if TYPE_CHECKING:
    from unrolled.views.traces import TextTrace

Feature = Callable[[Sequence[str]], Sequence[float] | NDArray[Any]]

OPENING, CLOSING = "([{<", ")]}>"
#: Quotation marks; the straight one both opens and closes.
QUOTE, OPEN_QUOTES, CLOSE_QUOTES = '"', "“«", "”»"


#: The gates and states of all cells.
SIGNALS = (*dict.fromkeys(chain(*GATES.values(), "ch")),)


@dataclass(frozen=True)
class Found:
    """One unit and how well it follows a feature.

    Attributes:
        signal: "h" or "c".
        layer: Of the unit, the first is 0.
        unit: Its number in the layer.
        correlation: Pearson's, -1 to 1; 0 if the unit or the feature never changes.
    """

    signal: str
    layer: int
    unit: int
    correlation: float

    @property
    def name(self) -> str:
        """The unit's name in pictures, such as "c0[3]"."""
        return f"{self.signal}{self.layer}[{self.unit}]"


def position(symbols: Sequence[str]) -> list[float]:
    """Return, for each symbol, how many were read before it.

    >>> position("abc")
    [0.0, 1.0, 2.0]
    """
    return [float(t) for t in range(len(symbols))]


def depth(symbols: Sequence[str]) -> list[float]:
    """Return, after each symbol, how many brackets are open.

    >>> depth(["(", "a[", "b", "])"])
    [1.0, 2.0, 2.0, 0.0]
    """
    return list(accumulate(float(sum((c in OPENING) - (c in CLOSING) for c in s)) for s in symbols))


def inside_quotes(symbols: Sequence[str]) -> list[float]:
    """Return, after each symbol, 1 inside quotation marks, else 0.

    >>> inside_quotes('a"b"c')
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    inside, values = False, []
    for symbol in symbols:
        for c in symbol:
            inside = (inside or c in OPEN_QUOTES) and c not in CLOSE_QUOTES if c != QUOTE else not inside
        values.append(float(inside))
    return values


def line_length(symbols: Sequence[str]) -> list[float]:
    """Return, after each symbol, how many symbols of the line were read; 0 after one that writes a line end.

    >>> line_length(["a", "b", chr(10), "c"])
    [1.0, 2.0, 0.0, 1.0]
    """
    return list(accumulate(symbols, lambda n, symbol: 0.0 if "\n" in symbol else n + 1.0, initial=0.0))[1:]


def count(up: Sequence[str], down: Sequence[str] = (), *, whole: Container[str] = ()) -> Feature:
    """Return the feature that counts up for each of `up` and down for each of `down`.

    Args:
        up, down: symbols, and single characters, which are counted wherever a symbol writes them.
        whole: the single characters that count only where they are a symbol of their own.

    >>> count("a", "b")("aabb"), count("(", ")")(["f((", "x", ")"])
    ([1.0, 2.0, 1.0, 0.0], [2.0, 2.0, 1.0])
    """

    def times(symbol: str, of: Sequence[str]) -> int:
        return sum(symbol == c if len(c) > 1 or c in whole else symbol.count(c) for c in of)

    return lambda symbols: list(accumulate(float(times(s, up) - times(s, down)) for s in symbols))


#: Features by name; "count:..." is made by :func:`feature`.
FEATURES: dict[str, Feature] = {
    "position": position,
    "depth": depth,
    "inside-quotes": inside_quotes,
    "line-length": line_length,
}


def feature(name: str, names: Container[str] = ()) -> Feature:
    """Return a feature by its name: position, depth, inside-quotes, line-length, or count:UP-DOWN as in count:a-b.

    Args: names: the symbols of a vocabulary.  UP and DOWN are one symbol each if it is among them, otherwise each of
        their characters counts; with a comma, as in count:up,rise-down, they are always lists of symbols.
    Raises: ValueError for another name; the message lists the features.

    >>> feature("count:a-b")("aab")
    [1.0, 2.0, 1.0]
    """
    kind, _, counted = name.partition(":")
    if kind == "count" and counted:
        up, _, down = counted.partition("-")
        several = "," in counted.strip(",")
        items = (each.split(",") if several else [each] if each in names else [*each] for each in (up, down))
        return count(*items, whole=names)
    if name not in FEATURES:
        raise ValueError(
            f"there is no feature {name!r}; there are {', '.join(FEATURES)}, and count:a-b for any symbols"
        )
    return FEATURES[name]


def followed(read: TextTrace, of: Feature | str) -> NDArray[Any]:
    """Return the values of a feature after each symbol of a text, (T,).

    Args: the feature, a function of the names of the symbols; or its name, for one of what the symbols write.
    Raises: as :func:`ranked`.
    """
    if isinstance(of, str):
        names = read.names if tokenizer(read.kind).names_are_text else ()
        return np.asarray(feature(of, names)(read.pieces), float)
    if not callable(of):
        raise TypeError(f"of is {brief(of)}; it must be the name of a feature, or a function of the symbols")
    return np.asarray(of(read.symbols), float)


def ranked(read: TextTrace, of: Feature | str, *, signals: Sequence[str] = ("h", "c")) -> list[Found]:
    """Rank every unit by how well it follows a feature of the text, best first.

    Args:
        read: a trace of all steps of a text.
        of: the feature, or its name.
        signals: gates and states to search; those that the cell lacks are skipped.

    Raises: ValueError if there is no such feature, it gives another number of values than there are symbols, no cell
        has such a gate or state, or the trace leaves out steps.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> from unrolled.views.traces import trace
    >>> found = ranked(trace(SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab")), list("aabb")), "position")
    >>> len(found), abs(found[0].correlation) >= abs(found[-1].correlation)
    (6, True)
    """
    unknown = [signal for signal in signals if signal not in SIGNALS]
    if unknown:
        raise ValueError(f"no cell has a gate or state {unknown[0]!r}; there are {', '.join(SIGNALS)}")
    read.expect_all_steps("features of the text need")
    values = followed(read, of)
    if values.shape != (read.T,):
        raise ValueError(
            f"the feature gives {values.shape} values for {counted(read.T, 'symbol')}; it must give one for each symbol"
        )
    found = []
    for number, layer in enumerate(read.layers):
        for signal in signals:
            if signal in layer.signals:
                r = _correlations(layer.signals[signal], values)
                found += [Found(signal, number, unit, float(each)) for unit, each in enumerate(r)]
    return sorted(found, key=lambda each: -abs(each.correlation))


def _correlations(units: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Return Pearson's correlation of each unit (T, H) with values (T,), (H,)."""
    x, y = units - units.mean(0, dtype=float), values - values.mean()
    spread = np.sqrt((x * x).sum(0) * (y * y).sum())
    still = spread < 1e-12 * len(values)
    return np.where(still, 0.0, x.T @ y / np.where(still, 1.0, spread))
