"""The text that describes a distribution of string sizes, parsed into a table of sizes and weights.

No numpy here: `unrolled --help` imports this module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial

#: Beta-binomial shapes (alpha, beta) over a range.  Source: Suzgun et al. 2019, "On Evaluating the Generalization of
#: LSTM Models in Formal Languages", section 3.2, who call them right-tailed, left-tailed and U-shaped.
SHAPES = {"short": (1.0, 5.0), "long": (5.0, 1.0), "u": (0.25, 0.25)}
#: Probability of the tail that an unbounded distribution leaves out.
TAIL = 1e-12
#: Sizes of one distribution, at most.
MOST = 1_000_000

FORMS = "uniform:1-50, uniform:2-50/2, short:1-50, long:1-50, u:1-50, geometric:0.1, geometric:0.1:1-50, list:1,2,5"

#: From sizes to weights, which need not sum to 1.
SizeWeights = Mapping[int, float]


def _uniform(arguments: str) -> SizeWeights:
    return dict.fromkeys(_range(arguments), 1.0)


def _shaped(alpha: float, beta: float, arguments: str) -> SizeWeights:
    sizes = _range(arguments)
    top = len(sizes) - 1
    logs = [
        math.lgamma(top + 1) - math.lgamma(k + 1) - math.lgamma(top - k + 1)
        + math.lgamma(alpha + k) + math.lgamma(beta + top - k) - math.lgamma(alpha + beta + top)
        for k in range(len(sizes))
    ]  # fmt: skip
    return {n: math.exp(log - max(logs)) for n, log in zip(sizes, logs, strict=True)}


def _geometric(arguments: str) -> SizeWeights:
    given, _, bounds = arguments.partition(":")
    try:
        p = float(given)
    except ValueError:
        raise ValueError(f"{given!r} is not a number") from None
    if not 1e-4 <= p <= 1:
        raise ValueError(f"the probability is {p:g}; it must be in [0.0001, 1]")
    unbounded = math.ceil(math.log(TAIL) / math.log1p(-p)) if p < 1 else 1
    sizes = _range(bounds) if bounds else range(1, 1 + unbounded)
    return {n: (1 - p) ** k for k, n in enumerate(sizes)}


def _listed(arguments: str) -> SizeWeights:
    words = arguments.split(",")
    if not all(re.fullmatch(r"\s*\d+\s*", word) for word in words):
        raise ValueError(f"{arguments!r} is not a list of whole numbers separated by commas")
    sizes = [int(word) for word in words]
    return {n: float(sizes.count(n)) for n in sorted({*sizes})}


def _range(bounds: str) -> range:
    match = re.fullmatch(r"(\d+)-(\d+)(?:/(\d+))?", bounds)
    if not match:
        raise ValueError(f"{bounds!r} is not a range such as 1-50")
    low, high, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if high < low:
        raise ValueError(f"the range {low}-{high} is empty")
    if step < 1:
        raise ValueError("the step is 0; it must be at least 1")
    if (high - low) // step >= MOST:
        raise ValueError(f"the range has more than {MOST:,} sizes")
    return range(low, high + 1, step)


_READERS: dict[str, Callable[[str], SizeWeights]] = {
    "uniform": _uniform,
    **{form: partial(_shaped, *shape) for form, shape in SHAPES.items()},
    "geometric": _geometric,
    "list": _listed,
}


def read(text: str) -> SizeWeights:
    """Return the weight of each size, from a text as of :class:`unrolled.languages.lengths.Lengths`.

    Raises: ValueError saying what is wrong with the text.

    >>> read("uniform:2-6/2")
    {2: 1.0, 4: 1.0, 6: 1.0}
    """
    form, _, arguments = text.strip().partition(":")
    try:
        if form not in _READERS:
            raise ValueError(f"{form!r} is not a distribution")
        return _READERS[form](arguments)
    except ValueError as error:
        raise ValueError(f"lengths {text.strip()!r}: {error}; write, for example, {FORMS}") from None
