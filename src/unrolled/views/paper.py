"""What an explanation consists of, and how it is written: as plain text in aligned columns, as Markdown, as HTML."""

from __future__ import annotations

import html as escaping
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.config.options import option
from unrolled.words import counted, rounded

#: So many columns of a table, and lines of a matrix, are shown whole; of more, the first few.
WHOLE, FEW = 12, 6
#: The width of a line of plain text.
WIDTH = 80
#: A number that is left out as an exercise.
BLANK = "______"

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
    """Vectors with the same columns, or the rows of one matrix, and how each quantity is computed.

    Attributes:
        title: What it holds.
        equations: Name of a quantity -> how it is computed.
        columns: Names of the columns.
        lines: The vectors or rows; one may end before the last column.
        matrix: Whether the lines are the rows of one matrix.
        given: Whether its numbers stay where an exercise leaves out those to be computed.
    """

    title: str
    equations: dict[str, str]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    matrix: bool = False
    given: bool = False


@dataclass(frozen=True)
class Explanation:
    """A forward and backward pass on paper.

    Every form takes `columns`, the most columns of a table and lines of a matrix, by default 12, or the first 6 where
    there are more; it says what it leaves out.  With
    `blank` it leaves every computed number out, as an exercise.

    Attributes:
        title: What was read by which model.
        words: Sentences on what follows; the loss goes on after the last.
        tables: In the order in which the numbers are computed.
        nats: The loss, mean over the N predicted symbols.
    """

    title: str
    words: tuple[str, ...]
    tables: tuple[Table, ...]
    nats: float

    def text(self, columns: int | None = None, *, width: int = WIDTH, blank: bool = False) -> str:
        """Return it as plain text in lines of at most `width` characters, where the names of columns allow it."""
        parts = [*textwrap.wrap(self.title, width), "=" * min(width, len(self.title)), ""]
        parts += [line for sentence in self._words(columns, blank) for line in textwrap.wrap(sentence, width)]
        for table in self.tables:
            parts += ["", *textwrap.wrap(table.title, width), "-" * min(width, len(table.title))]
            left = max(map(len, table.equations), default=0)
            for name, words in table.equations.items():
                start, indent = f"  {name:<{left}} = ", " " * (left + 5)
                parts += textwrap.wrap(words, width, initial_indent=start, subsequent_indent=indent)
            parts += _in_blocks(list(_cells(table, columns, blank)), width, kept=1 if table.matrix else 2)
            parts += _missing(table, columns)
        return "\n".join(parts) + "\n"

    def markdown(self, columns: int | None = None, *, blank: bool = False) -> str:
        """Return it as Markdown."""
        parts = [f"# {_md(self.title)}", *(_md(sentence) for sentence in self._words(columns, blank))]
        for table in self.tables:
            parts.append(f"## {_md(table.title)}")
            if table.equations:
                parts.append("\n".join(f"- `{name}` = {_md(words)}" for name, words in table.equations.items()))
            head, *rows = (" | ".join(map(_md, row)) for row in _cells(table, columns, blank))
            rule = "|".join(["---", *["--:"] * head.count(" | ")])
            parts.append("\n".join([f"| {head} |", f"|{rule}|", *(f"| {row} |" for row in rows)]))
            parts += _missing(table, columns)
        return "\n\n".join(parts) + "\n"

    def html(self, columns: int | None = None, *, blank: bool = False) -> str:
        """Return it as an HTML page that needs no other file."""
        title = escaping.escape(self.title)
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
        body = self._fragment(columns, blank)
        return f"<!doctype html><html lang=en>{head}<style>{STYLE}</style><body>{body}</body></html>\n"

    def _repr_html_(self) -> str:
        return self._fragment(None, blank=False)

    def _words(self, columns: int | None, blank: bool) -> tuple[str, ...]:
        loss = f"{rounded(self.nats, 6)} nats, {rounded(self.nats / np.log(2), 6)} bits"
        largest = max(max(len(table.columns), len(table.lines) if table.matrix else 0) for table in self.tables)
        every = option("columns", largest)
        fewer = f"Where there are more than {WHOLE} units or symbols, the first {FEW} are shown; {every} shows all."
        cut = [fewer] if columns is None and largest > WHOLE else []
        return *self.words[:-1], *cut, f"{self.words[-1]}: {BLANK if blank else loss}."

    def _fragment(self, columns: int | None, blank: bool) -> str:
        """Return it as HTML to stand inside a page."""
        e = escaping.escape
        parts = [f"<h1>{e(self.title)}</h1>", *(f"<p>{e(sentence)}</p>" for sentence in self._words(columns, blank))]
        for table in self.tables:
            parts.append(f"<h2>{e(table.title)}</h2><ul>")
            parts += [f"<li><code>{e(name)}</code> = {e(words)}</li>" for name, words in table.equations.items()]
            parts.append('</ul><div class="scroll"><table>')
            for row in _cells(table, columns, blank):
                parts.append(f"<tr>{''.join(f'<td>{e(cell)}</td>' for cell in row)}</tr>")
            parts.append("</table></div>")
            parts += [f"<p>{e(sentence)}</p>" for sentence in _missing(table, columns)]
        return "\n".join(parts)


def _cells(table: Table, columns: int | None, blank: bool) -> Iterator[list[str]]:
    """Yield the header and every line of a table as text."""
    most = _shown(len(table.columns), columns)
    yield ["", *([] if table.matrix else ["shape"]), *table.columns[:most]]
    for line in table.lines[: _shown_lines(table, columns)]:
        shape = [] if table.matrix else [f"({len(line.values)})"]
        numbers = [BLANK] * len(line.values) if blank and not table.given else _written(line.values)
        yield [line.name, *shape, *numbers[:most]]


def _in_blocks(rows: Sequence[Sequence[str]], width: int, kept: int) -> list[str]:
    """Return rows as aligned lines; columns that do not fit follow in further blocks, each with the first `kept` again.

    >>> _in_blocks([["", "a", "b", "c"], ["x", "1", "2", "3"]], width=9, kept=1)
    ['     a  b', '  x  1  2', '', '     c', '  x  3']
    """
    cell = max((len(each) for row in rows for each in row[kept:]), default=0) + 2
    left = [max(len(row[k]) for row in rows) for k in range(kept)]
    fit = max(1, (width - sum(left) - 2 * kept) // cell)
    lines: list[str] = []
    for first in range(kept, max(map(len, rows)), fit):
        lines += [""] if lines else []
        for row in rows:
            beginning = [
                f"{row[0]:<{left[0]}}",
                *(f"{each:>{w}}" for each, w in zip(row[1:kept], left[1:], strict=True)),
            ]
            numbers = "".join(f"{each:>{cell}}" for each in row[first : first + fit])
            if numbers:
                lines.append(("  " + "  ".join(beginning) + numbers).rstrip())
    return lines


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


def _missing(table: Table, columns: int | None) -> list[str]:
    left_out = {
        "more column": len(table.columns) - _shown(len(table.columns), columns),
        "more line": len(table.lines) - _shown_lines(table, columns),
    }
    said = " and ".join(counted(count, what) for what, count in left_out.items() if count > 0)
    return [f"(not shown: {said})"] if said else []


def _shown_lines(table: Table, columns: int | None) -> int:
    """Return how many lines are shown: of a matrix as of columns, else all."""
    return _shown(len(table.lines), columns) if table.matrix else len(table.lines)


def _shown(count: int, columns: int | None) -> int:
    """Return how many of so many columns are shown.

    >>> _shown(12, None), _shown(256, None), _shown(256, 100), _shown(12, 100)
    (12, 6, 100, 12)
    """
    return min(count, columns or (WHOLE if count <= WHOLE else FEW))


def _md(words: str) -> str:
    """Return words with everything escaped that means something in Markdown or HTML."""
    safe = escaping.escape(words, quote=False)
    return "".join("\\" + c if c in "\\|*_`[]#~$^" else c for c in safe)
