"""Tables of results as Markdown, as CSV and for the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from unrolled.lab.results import LabResult, Range, TaskResult
from unrolled.words import counted, rounded


@dataclass(frozen=True)
class ResultTable:
    """Headers and rows of texts.

    >>> print(ResultTable(("n", "right"), (("50", "all"),)).markdown())
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


def summary(named: Sequence[tuple[str, LabResult]], published: Sequence[str] = ()) -> ResultTable:
    """Return one row for each experiment: first failing sizes, seeds that generalise, shares, cross-entropy.

    Args:
        named: names and results.
        published: the published results, one text for each; empty if there are none.
    """
    ranges = named[0][1].ranges
    same = all(result.ranges == ranges for _, result in named)
    headers = ["", "first failing n: min", "median", "max", "right to the limit"]
    headers += [f"right on {_range(named[0][1], each)}" for each in ranges] if same else ["right beyond training"]
    headers += ["nats", "optimal", "symbol accuracy", "seconds"]
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
                result.size(failing[0]),
                result.median,
                result.size(failing[-1]),
                f"{result.generalising} of {S} to {result.limit}",
                *columns,
                median_nats(result),
                f"{result.optimal_nats:.4f}",
                mean_symbols(result),
                f"{result.seconds:.0f}",
                *published[k : k + 1],
            )
        )
    return ResultTable((*headers, *(["published"] if published else [])), tuple(rows))


def _range(result: LabResult, sizes: Range) -> str:
    tried = result.tried(sizes)
    return f"{sizes[0]}-{sizes[1]}" + (f" ({tried} tried)" if tried else "")


def headline(named: Sequence[tuple[str, LabResult]], published: Sequence[str] = ()) -> ResultTable:
    """Return the columns of :func:`summary` that fit into a terminal: first failing sizes and seeds that generalise."""
    table = summary(named, published)
    headers, *rows = ((*line[:5], *line[-1:][: len(published)]) for line in (table.headers, *table.rows))
    return ResultTable(headers, tuple(rows))


def in_words(result: LabResult) -> str:
    """Return the result of a single experiment, one metric a line, the most trustworthy first."""
    failing, S = result.first_failing, len(result.seeds)
    return "\n".join(
        (
            f"first failing n   min {result.size(failing[0])}, median {result.median}, max {result.size(failing[-1])}",
            f"{f'right to {result.limit}':<18}{result.generalising} of {counted(S, 'model')}, at every size",
            "sizes tried       "
            + ", ".join(f"{result.tried(each) or 'every one'} in {each[0]}-{each[1]}" for each in result.ranges),
            f"cross-entropy     {median_nats(result)} nats per symbol on new strings (median); the optimum is "
            f"{result.optimal_nats:.4f}",
            f"symbol accuracy   {mean_symbols(result)} at sizes {result.ranges[-1][0]}-{result.ranges[-1][1]}",
        )
    )


def task_summary(named: Sequence[tuple[str, TaskResult]], published: Sequence[str]) -> ResultTable:
    """Return one row for each experiment on a task: scores beyond training of the best, median and worst model."""
    headers = ("", "score: best", "median", "worst", "whole answers", "chance", "seconds", "published")
    rows = (
        (
            name,
            *(f"{100 * score:.1f}" for score in (result.scores[-1], median(result.scores), result.scores[0])),
            f"{100 * median(result.exact_scores):.1f}",
            f"{100 * result.chance:.0f}",
            f"{result.train_seconds + result.judge_seconds:.0f}",
            mark,
        )
        for (name, result), mark in zip(named, published, strict=True)
    )
    return ResultTable(headers, tuple(rows))


def each_seed(result: LabResult) -> ResultTable:
    """Return one row for each model: shares of sizes right in percent, nats per symbol, accuracy in percent."""
    headers = ("seed", "fails", *(f"{low}-{high}" for low, high in result.ranges), "nats", "sym.")
    rows = (
        (
            str(seed.seed),
            result.size(seed.first_failing or result.limit + 1),
            *(share_text(share).removesuffix(" %") for share in seed.right),
            "-" if seed.nats is None else rounded(seed.nats, 3),
            "-" if seed.symbols_right is None else share_text(seed.symbols_right).removesuffix(" %"),
        )
        for seed in result.seeds
    )
    return ResultTable(headers, tuple(rows))


def median_nats(result: LabResult) -> str:
    """Return the median cross-entropy of the models, or a dash for sigmoids."""
    found = [seed.nats for seed in result.seeds if seed.nats is not None]
    return rounded(median(found), 4) if found else "-"


def mean_symbols(result: LabResult) -> str:
    """Return the mean per-symbol accuracy of the models, or a dash for sigmoids."""
    found = [seed.symbols_right for seed in result.seeds if seed.symbols_right is not None]
    return share_text(fmean(found)) if found else "-"


def share_text(share: float) -> str:
    """Return a share in percent; only all is 100 % and only none is 0 %.

    >>> share_text(1.0), share_text(0.9999), share_text(0.5), share_text(0.0001), share_text(math.nan)
    ('100 %', '99.9 %', '50.0 %', '0.1 %', '-')
    """
    if math.isnan(share):
        return "-"
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"
