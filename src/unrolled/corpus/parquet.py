"""Sequences from a column of Parquet; needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unrolled.config.options import brief, listed, option
from unrolled.corpus.reading import CorpusError, Source
from unrolled.words import counted

#: Rows that are in memory at a time.
ROWS = 1024


def parquet_rows(source: Source, column: str) -> Iterator[tuple[str, Any]]:
    """Yield (where, value) of each row of one column.

    Args: source, a file; the name of the column, which may be left out where there is one alone.
    Raises: CorpusError if it is no Parquet, or there is no such column; the message lists the columns.
    """
    import pyarrow
    from pyarrow import parquet

    if source.path is None or source.stretch is not None or not source.path.is_file():
        raise CorpusError(f"{source}: Parquet keeps its index at the end, so it can be read only from a file; name one")
    try:
        with parquet.ParquetFile(source.path) as file:
            name = _column(source, column, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(ROWS, columns=[name]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield f"{source}: row {number}", value
    except (pyarrow.ArrowException, OSError) as error:
        why = str(error).strip().partition("\n")[0]
        raise CorpusError(f"{source}: not Parquet, or damaged: {why}") from None


def _column(source: Source, column: str, names: list[str]) -> str:
    if names.count(column) > 1:
        raise CorpusError(
            f"{source}: {brief(column)} names {counted(names.count(column), 'column')}; give them names of their own"
        )
    if column in names:
        return column
    if not column and len(names) == 1:
        return names[0]
    found = f"no column {brief(column)}" if column else "no column was named"
    raise CorpusError(
        f"{source}: {found}; name the one that holds the sequences ({option('column')}), of {listed(names)}"
    )
