"""Files of records: JSON lines, a JSON array or a column of CSV.  A record is one sequence: a text or symbols."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from unrolled.config.data import DataConfig, Format
from unrolled.config.options import brief, listed, option
from unrolled.corpus.reading import RECORD_LIMIT, CorpusError, Source, text_blocks, text_lines

Record = str | list[str]

#: Formats by the suffix of a file's name; any other file is text.
SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv"}
JSON_TYPES: dict[type, str] = {
    dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false",
    type(None): "null",
}  # fmt: skip
#: Characters that a JSON array may have, because it is parsed as a whole.
ARRAY_LIMIT = 1 << 28
EXPECTED = 'expected a string or a list of symbols, as in ["a", "b"]'


def format_of(sources: Sequence[Source], config: DataConfig) -> Format:
    """Return the format that the config asks for, or that the file names suggest.

    Raises: CorpusError if the names suggest different formats; the message names one file of each.

    >>> format_of([Source(None)], DataConfig())
    'text'
    """
    if config.format != "auto":
        return config.format
    if config.column:
        return "csv"
    found: dict[Format, Source] = {}
    for source in sources:
        found.setdefault(SUFFIXES.get(source.path.suffix.lower() if source.path else "", "text"), source)
    if len(found) > 1:
        names = " and ".join(f"{source} looks like {name}" for name, source in found.items())
        ways = f"set {option('format')}, or choose files by {option('include')}"
        raise CorpusError(f"{names}; name files of one format, {ways}")
    return next(iter(found))


def records(source: Source, format: Format, column: str) -> Iterator[tuple[str, Record]]:
    """Yield (where, record) of each record of a source.

    A record is a text, or a list of symbols; an integer in a list is read as the symbol of its decimal digits.

    Args:
        source: what to read.
        format: any but text.
        column: name of the column of a CSV source.

    Raises: CorpusError if something in the source is not a record; the message names the place.
    """
    if format == "csv":
        return csv_cells(source, column)
    return json_lines(source) if format == "jsonl" else json_array(source)


def json_lines(source: Source) -> Iterator[tuple[str, Record]]:
    """Yield (where, record) of each line of a JSON-lines source; blank lines are skipped.

    Raises: CorpusError if a line is not a record; the message names the line.
    """
    decoder = msgspec.json.Decoder(str | list[str | int])
    for number, line in enumerate(text_lines(source), 1):
        if not line.strip():
            continue
        try:
            record = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise CorpusError(f"{source}: line {number}: {_why(error, line)}; {EXPECTED}") from None
        yield f"{source}: line {number}", _as_strings(record)


def json_array(source: Source) -> Iterator[tuple[str, Record]]:
    """Yield (where, record) of each element of a source that is one JSON array.

    Raises: CorpusError if the source is not an array of records, or has more than ``ARRAY_LIMIT`` characters.
    """
    held: list[str] = []
    length = 0
    for block in text_blocks(source):
        held.append(block)
        length += len(block)
        if length > ARRAY_LIMIT:
            lines = f"JSON lines ({option('format', 'jsonl')})"
            raise CorpusError(f"{source}: the array has more than {ARRAY_LIMIT:,} characters; write it as {lines}")
    text = "".join(held)
    try:
        array = msgspec.json.decode(text, type=list[str | list[str | int]])
    except msgspec.DecodeError as error:
        raise CorpusError(
            f"{source}: {_why(error, text)}; expected an array of sequences, for each of which {EXPECTED}"
        ) from None
    for number, record in enumerate(array, 1):
        yield f"{source}: record {number}", _as_strings(record)


def csv_cells(source: Source, column: str) -> Iterator[tuple[str, Record]]:
    """Yield (where, cell) of one column of a CSV source with a header line; ``.tsv`` files are split at tabs.

    Raises: CorpusError if there is no such column (the message lists the columns), or a row is malformed.
    """
    tabs = source.path is not None and source.path.suffix.lower() == ".tsv"
    before = csv.field_size_limit(RECORD_LIMIT)
    rows = csv.reader((line + "\n" for line in text_lines(source)), delimiter="\t" if tabs else ",", strict=True)
    try:
        header = next(rows, [])
        if column not in header:
            found = f"no column {brief(column)}" if column else "no column was named"
            raise CorpusError(
                f"{source}: {found}; name the one that holds the sequences ({option('column')}), of {listed(header)}"
            )
        place = header.index(column)
        for row in rows:
            where = f"{source}: line {rows.line_num}"
            if len(row) <= place and row:
                raise CorpusError(f"{where}: the row has {len(row)} cells, expected {len(header)}")
            if row:
                yield where, row[place]
    except csv.Error as error:
        raise CorpusError(f"{source}: line {rows.line_num}: {error}; check the quotes of this row") from None
    finally:
        csv.field_size_limit(before)


def in_memory(value: object, where: str) -> Record:
    """Return a value of a program as a record, by the rule that holds for files.

    Raises: CorpusError naming the place if it is neither a text nor a list of symbols.

    >>> in_memory(("a", 7), "sequence 0")
    ['a', '7']
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes) and isinstance(value, Iterable):
        symbols = list(value)
        if all(isinstance(symbol, str | int) for symbol in symbols):
            return _as_strings(symbols)
    raise CorpusError(f"{where}: got a {type(value).__name__}, {EXPECTED}")


def _why(error: msgspec.DecodeError, text: str) -> str:
    """Return why JSON is no record: what it is instead, or where it is malformed."""
    if not isinstance(error, msgspec.ValidationError):
        return f"{error}"
    try:
        found = JSON_TYPES[type(msgspec.json.decode(text))]
    except msgspec.DecodeError as malformed:
        return f"{malformed}"
    except RecursionError:
        return "its brackets are nested too deeply"
    where = f"{error}".partition(" - at ")[2].strip("`$")
    return f"found {found}" + (f", of which {where} is neither text nor a whole number" if where else "")


def _as_strings(record: str | list[str | int]) -> Record:
    return record if isinstance(record, str) else [str(symbol) for symbol in record]
