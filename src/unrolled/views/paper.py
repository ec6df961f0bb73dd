"""What an explanation consists of, and how it is written: as plain text in aligned columns, as Markdown, as HTML."""

from __future__ import annotations

import html as escaping
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1a1a1a;
  background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
td, th { text-align: right; padding: .1rem .55rem; border-bottom: 1px solid #e3e3e3; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; font-weight: 600; }
ul { margin: .2rem 0 .5rem; padding-left: 1.2rem; } code { font-size: .9em; }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #16181c; } td, th { border-color: #33373d; } }
"""


@dataclass(frozen=True)
class Line:
    """A vector, or one row of a matrix: its name, and its values, one for each column."""

    name: str
    values: NDArray[Any]


@dataclass(frozen=True)
class Table:
    """Vectors with the same columns, or the rows of one matrix, and how each quantity is computed."""

    title: str
    equations: dict[str, str]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    matrix: bool = False


@dataclass(frozen=True)
class Explanation:
    """A forward and backward pass on paper; every table ends after a number of columns and lines, and says so.

    Attributes:
        title: What was read by which model.
        words: Sentences on what follows.
        tables: In the order in which the numbers are computed.
        nats: The loss, mean over the N predicted symbols.
    """

    title: str
    words: tuple[str, ...]
    tables: tuple[Table, ...]
    nats: float

    def text(self, columns: int = 12) -> str:
        """Return it as plain text."""
        parts = [self.title, "=" * len(self.title), "", *self.words]
        for table in self.tables:
            parts += ["", table.title, "-" * len(table.title)]
            left = max(map(len, table.equations))
            parts += [f"  {name:<{left}} = {words}" for name, words in table.equations.items()]
            rows = list(_cells(table, columns))
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
                parts.append("  " + "  ".join([f"{first.strip():<{widths[0]}}", *others]).rstrip())
            parts += _missing(table, columns)
        return "\n".join(parts) + "\n"

    def markdown(self, columns: int = 12) -> str:
        """Return it as Markdown."""
        parts = [f"# {_md(self.title)}", *(_md(sentence) for sentence in self.words)]
        for table in self.tables:
            parts.append(f"## {_md(table.title)}")
            parts.append("\n".join(f"- `{name}` = {_md(words)}" for name, words in table.equations.items()))
            head, *rows = (" | ".join(map(_md, row)) for row in _cells(table, columns))
            rule = "|".join(["---", *["--:"] * head.count(" | ")])
            parts.append("\n".join([f"| {head} |", f"|{rule}|", *(f"| {row} |" for row in rows)]))
            parts += _missing(table, columns)
        return "\n\n".join(parts) + "\n"

    def html(self, columns: int = 12) -> str:
        """Return it as an HTML page that needs no other file."""
        title = escaping.escape(self.title)
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
        body = self._fragment(columns)
        return f"<!doctype html><html lang=en>{head}<style>{STYLE}</style><body>{body}</body></html>\n"

    def _repr_html_(self) -> str:
        return self._fragment(12)

    def _fragment(self, columns: int) -> str:
        """Return it as HTML to stand inside a page."""
        e = escaping.escape
        parts = [f"<h1>{e(self.title)}</h1>", *(f"<p>{e(sentence)}</p>" for sentence in self.words)]
        for table in self.tables:
            parts.append(f"<h2>{e(table.title)}</h2><ul>")
            parts += [f"<li><code>{e(name)}</code> = {e(words)}</li>" for name, words in table.equations.items()]
            parts.append('</ul><div class="scroll"><table>')
            for row in _cells(table, columns):
                parts.append(f"<tr>{''.join(f'<td>{e(cell)}</td>' for cell in row)}</tr>")
            parts.append("</table></div>")
            parts += [f"<p>{e(sentence)}</p>" for sentence in _missing(table, columns)]
        return "\n".join(parts)


def _cells(table: Table, columns: int) -> Iterator[list[str]]:
    """Yield the header and every line of a table as text."""
    yield ["", *([] if table.matrix else ["shape"]), *table.columns[:columns]]
    for line in table.lines[: _most_lines(table, columns)]:
        shape = [] if table.matrix else [f"({len(line.values)})"]
        yield [line.name, *shape, *_written(line.values)[:columns]]


def _written(values: NDArray[Any]) -> list[str]:
    """Return numbers of one quantity in one form: whole, with four decimals, or with three digits and an exponent.

    >>> _written(np.array([0.5, -1.25])), _written(np.array([0.0, 1.5e-5])), _written(np.array([0, 1]))
    (['0.5000', '-1.2500'], ['0', '1.50e-05'], ['0', '1'])
    """
    if values.dtype.kind == "i":
        return [str(value) for value in values]
    largest = float(np.abs(values).max(initial=0.0))
    form = ".4f" if 0.01 <= largest < 1000 or not largest else ".2e"
    return ["0" if value == 0 else f"{value:{form}}" for value in values]


def _missing(table: Table, columns: int) -> list[str]:
    left_out = {"columns": len(table.columns) - columns, "lines": len(table.lines) - _most_lines(table, columns)}
    said = " and ".join(f"{count} more {what}" for what, count in left_out.items() if count > 0)
    return [f"(not shown: {said})"] if said else []


def _most_lines(table: Table, columns: int) -> int:
    """Return how many lines are shown: of a matrix as many as columns, else all."""
    return columns if table.matrix else len(table.lines)


def _md(words: str) -> str:
    """Return words with everything escaped that means something in Markdown or HTML."""
    safe = escaping.escape(words, quote=False)
    return "".join("\\" + c if c in "\\|*_`[]#~$^" else c for c in safe)
