"""Tables of results: the same rows as Markdown, as CSV and for the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from unrolled.languages.results import LabResult

@dataclass(frozen=True)
class Table:
    """Rows of texts under headers.

    >>> print(Table(("n", "right"), (("50", "all"),)).markdown())
    | n | right |
    |---|---|
    | 50 | all |
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return a Markdown table."""
        lines = [self.headers, ("---",) * len(self.headers), *self.rows]
        joined = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        joined[1] = "|" + "---|" * len(self.headers)
        return "\n".join(joined)

    def csv(self) -> str:
        """Return comma-separated values, one header line first."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.headers, *self.rows])
        return out.getvalue()


def summary(named: Sequence[tuple[str, LabResult]], published: Sequence[str] = ()) -> Table:
    """Return one row for each experiment: first failing sizes, seeds that generalise, shares, cross-entropy.

    Args:
        named: experiments and what to call them.
        published: what others found, one text for each, if there is anything to compare with.
    """
    ranges = named[0][1].ranges
    same = all(result.ranges == ranges for _, result in named)
    headers = ["", "first failing n: min", "median", "max", "right to the limit"]
    headers += [f"right on {low}-{high}" for low, high in ranges] if same else ["right beyond training"]
    headers += ["nats", "optimal", "symbols right", "seconds"]
    rows = []
    for k, (name, result) in enumerate(named):
        failing, S = result.first_failing, len(result.seeds)
        shares = list(zip(*(seed.right for seed in result.seeds), strict=True))
        beyond = [share for column in shares[1:] for share in column]
        columns = (
            [share_text(fmean(column)) for column in shares] if same else [share_text(fmean(beyond or [math.nan]))]
        )
        rows.append(
            (
                name,
                *map(result.size, (failing[0], result.median, failing[-1])),
                f"{result.generalising} of {S} to {result.limit}",
                *columns,
                f"{median(seed.nats for seed in result.seeds):.4f}",
                f"{result.optimal_nats:.4f}",
                share_text(fmean(seed.symbols_right for seed in result.seeds)),
                f"{result.seconds:.0f}",
                *published[k : k + 1],
            )
        )
    return Table((*headers, *(["published"] if published else [])), tuple(rows))


def each_seed(result: LabResult) -> Table:
    """Return one row for each net of an experiment."""
    headers = (
        "seed",
        "first failing n",
        *(f"right on {low}-{high}" for low, high in result.ranges),
        "nats",
        "symbols right",
    )
    rows = (
        (
            str(seed.seed),
            result.size(seed.first_failing or result.limit + 1),
            *map(share_text, seed.right),
            f"{seed.nats:.4f}",
            share_text(seed.symbols_right),
        )
        for seed in result.seeds
    )
    return Table(headers, tuple(rows))


def share_text(share: float) -> str:
    """Return a share in percent; 100 % and 0 % are said only of all and of none.

    >>> share_text(1.0), share_text(0.9999), share_text(0.5), share_text(0.0001), share_text(math.nan)
    ('100 %', '99.9 %', '50.0 %', '0.1 %', '-')
    """
    if math.isnan(share):
        return "-"
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"
