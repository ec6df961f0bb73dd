"""Files of records: JSON lines, a JSON array, a column of CSV or Parquet, or texts with a separator.

A record is one sequence: a text or symbols.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import msgspec

from unrolled.config.data import TAB, DataConfig, Format
from unrolled.config.options import brief, line_ends, listed, option, typed
from unrolled.corpus.parquet import parquet_rows
from unrolled.corpus.reading import PARQUET, RECORD_LIMIT, CorpusError, Source, text_blocks, text_lines
from unrolled.words import counted

Record = str | list[str]

#: Formats by the suffix of a file's name; any other file is text.
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    PARQUET: "parquet",
}
JSON_TYPES: dict[type, str] = {
    dict: "an object", list: "a list", str: "text", bytes: "bytes", int: "a number", float: "a number",
    bool: "true or false", type(None): "null",
}  # fmt: skip
#: Characters that a JSON array may have, because it is parsed as a whole.
ARRAY_LIMIT = 1 << 28
NESTED = "its brackets are nested too deeply"
EXPECTED = 'expected a string or a list of symbols, as in ["a", "b"]'


def format_of(sources: Sequence[Source], config: DataConfig) -> Format:
    """Return the format that the config asks for, or that the file names suggest.

    Raises: CorpusError if the names suggest different formats; the message names one file of each.

    >>> format_of([Source(None)], DataConfig())
    'text'
    """
    if config.format != "auto":
        return config.format
    if config.separator:
        return "text"
    found: dict[Format, Source] = {}
    for source in sources:
        found.setdefault(SUFFIXES.get(source.suffix, "text"), source)
    if len(found) > 1:
        names = " and ".join(f"{source} looks like {name}" for name, source in found.items())
        ways = f"set {option('format')}, or choose files by {option('include')}"
        raise CorpusError(f"{names}; name files of one format, {ways}")
    [format] = found
    return "csv" if config.column and format == "text" else format


def as_named(names: Sequence[str], config: DataConfig, others: Sequence[str]) -> DataConfig:
    """Return a config by which other data is read as the names of the first say, where its own names say nothing.

    >>> as_named(["tunes.tsv"], DataConfig(), ["-"]).delimiter, as_named(["tunes.tsv"], DataConfig(), ["a.txt"]).format
    ('tab', 'auto')
    """
    said = {suffix for suffix in map(_suffix, names) if suffix in SUFFIXES}
    if config.format != "auto" or config.separator or not said or any(map(_says_how_to_read_it, others)):
        return config
    tabs = TAB if said == {".tsv"} else ""
    return replace(config, format=SUFFIXES[min(said)], delimiter=config.delimiter or tabs)


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _says_how_to_read_it(name: str) -> bool:
    return _suffix(name) in (*SUFFIXES, ".txt") or Path(name).is_dir()


def records(source: Source, format: Format, config: DataConfig) -> Iterator[tuple[str, Record]]:
    """Yield (where, record) of each record of a source.

    A record is a text, or a list of symbols; an integer in a list is read as the symbol of its decimal digits.

    Args: source; its format; how it is read, with a separator if the format is text.

    Raises: CorpusError if something in the source is not a record; the message names the place.
    """
    if format == "text":
        return separated(source, typed(config.separator))
    if format == "csv":
        return csv_cells(source, config.column, config.delimiter, config.header)
    if format == "parquet":
        return ((where, in_memory(value, where)) for where, value in parquet_rows(source, config.column))
    return (json_lines if format == "jsonl" else json_array)(source, config.column)


def separated(source: Source, separator: str) -> Iterator[tuple[str, Record]]:
    """Yield (where, text) of what stands between separators in a source, as :func:`parts` does."""
    return parts(text_blocks(source), f"{source}", separator)


def parts(blocks: Iterable[str], name: str, separator: str) -> Iterator[tuple[str, Record]]:
    """Yield (where, text) of what stands between separators, without the line ends around it; empty ones are skipped.

    Args: blocks of a text; its name; the separator.
    Raises: CorpusError if one is longer than ``RECORD_LIMIT`` characters.
    """
    held, number = "", 0
    separator = line_ends(separator)
    for block in chain(blocks, [separator]):
        *ended, held = (held + block).split(separator)
        for text in filter(None, (each.strip("\n") for each in ended)):
            number += 1
            yield f"{name}: sequence {number}", text
        if len(held) > RECORD_LIMIT:
            raise CorpusError(
                f"{name}: sequence {number + 1} has more than {RECORD_LIMIT:,} characters; is "
                f"{option('separator', separator)} right?"
            )


def json_lines(source: Source, field: str = "") -> Iterator[tuple[str, Record]]:
    """Yield (where, record) of each line of a JSON-lines source; blank lines are skipped.

    Args: source; the field that holds the record, where lines are objects.

    Raises: CorpusError if a line is not a record; the message names the line.
    """
    decode = _decoder(field)
    for number, line in enumerate(text_lines(source), 1):
        if line.strip():
            where = f"{source}: line {number}"
            yield where, decode(where, line)


def json_array(source: Source, field: str = "") -> Iterator[tuple[str, Record]]:
    """Yield (where, record) of each element of a source that is one JSON array.

    Args: source; the field that holds the record, where elements are objects.

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
        array = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise CorpusError(
            f"{source}: {_why(error, text)}; expected an array of sequences, for each of which {EXPECTED}"
        ) from None
    decode = _decoder(field)
    for number, element in enumerate(array, 1):
        where = f"{source}: record {number}"
        yield where, decode(where, bytes(element).decode())


def _decoder(field: str) -> Callable[[str, str], Record]:
    """Return a function from a place and JSON to the record that it is, or that a field of it is."""
    records = msgspec.json.Decoder(str | list[str | int])
    objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
    name = option("column")
    expected = f"expected an object whose field {brief(field)} is the sequence" if field else EXPECTED

    def decode(where: str, text: str) -> Record:
        try:
            if not field:
                return _as_strings(records.decode(text))
            found = objects.decode(text)
            if field not in found:
                raise CorpusError(
                    f"{where}: no field {brief(field)}; name the one that holds the sequences ({name}), of "
                    f"{listed([*found])}"
                )
            text = bytes(found[field]).decode()
            return _as_strings(records.decode(text))
        except (msgspec.DecodeError, RecursionError) as error:
            why = _why(error, text)
            named = "" if field or "an object" not in why else f", or name the field that holds it ({name})"
            raise CorpusError(f"{where}: {why}; {expected}{named}") from None

    return decode


def csv_cells(source: Source, column: str, delimiter: str = "", header: bool = True) -> Iterator[tuple[str, Record]]:
    """Yield (where, cell) of one column of a CSV source.

    Args:
        source: what to read.
        column: its name in the first row, or its number from 1.
        delimiter: what separates cells, a character or "tab"; "" for a comma, and a tab in ``.tsv`` files.
        header: whether the first row names the columns.

    Raises: CorpusError if there is no such column (the message lists the columns), or a row is malformed.
    """
    tabs = delimiter == TAB or (not delimiter and source.suffix == ".tsv")
    before = csv.field_size_limit(RECORD_LIMIT)
    lines = (line + "\n" for line in text_lines(source))
    rows = csv.reader(lines, delimiter="\t" if tabs else delimiter or ",", strict=True)
    try:
        first = next(rows, [])
        place = _place(source, column, first, header)
        for row in rows if header else chain([first], rows):
            where = f"{source}: line {rows.line_num}"
            if row and (len(row) <= place or any(row[len(first) :])):
                said = f"{where}: the row has {counted(len(row), 'cell')}, expected {len(first)}"
                quoted = "; a cell that holds the delimiter stands in quotes" if len(row) > len(first) else ""
                raise CorpusError(said + quoted)
            if row:
                yield where, row[place]
    except csv.Error as error:
        raise CorpusError(f"{source}: line {rows.line_num}: {error}; check the quotes of this row") from None
    finally:
        csv.field_size_limit(before)


def _place(source: Source, column: str, first: list[str], header: bool) -> int:
    """Return the place, from 0, of a column in the rows of a source that begins with this row."""
    if header and first.count(column) > 1:
        said = f"{brief(column)} names {counted(first.count(column), 'column')}; name the one by its number from 1"
        raise CorpusError(f"{source}: {said} ({option('column')})")
    if header and column in first:
        return first.index(column)
    if column.isdecimal() and 1 <= int(column) <= len(first):
        return int(column) - 1
    found = f"no column {brief(column)}" if column else "no column was named"
    columns = f"of {listed(first)}" if header else f"by its number from 1 to {len(first)}"
    raise CorpusError(f"{source}: {found}; name the one that holds the sequences ({option('column')}), {columns}")


def of_values(values: Iterable[object], column: str) -> Iterator[tuple[int, str, Record]]:
    """Return what a program gives as records, each with the number of its source, 0, and its place.

    Args: the values; the field of each that is the record, where they are mappings.
    Raises: CorpusError if they are one text, or several sets by name; as :func:`in_memory` while they are read.
    """
    if isinstance(values, str | bytes):
        raise CorpusError("got one text, expected sequences of symbols or texts; use Corpus.from_text")
    if isinstance(values, Mapping):
        raise CorpusError(f"got a mapping from {listed([*values])}, expected sequences; give what one of them names")
    places = ((f"sequence {k}", value) for k, value in enumerate(values))
    return ((0, where, in_memory(value, where, column)) for where, value in places)


def in_memory(value: object, where: str, field: str = "") -> Record:
    """Return a value of a program as a record, by the rule that holds for files.

    Args: the value; its place; the field of it that is the record, where it is a mapping.
    Raises: CorpusError naming the place if it is neither a text nor a list of symbols, or has no such field.

    >>> in_memory(("a", 7), "sequence 0")
    ['a', '7']
    """
    if isinstance(value, Mapping):
        if field not in value:
            fields = f"({option('column')}), of {listed([*value])}"
            raise CorpusError(f"{where}: no field {brief(field)}; name the one that holds the sequences {fields}")
        value = value[field]
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes | bytearray | memoryview | Mapping) and isinstance(value, Iterable):
        symbols = list(value)
        other = next((k for k, symbol in enumerate(symbols) if not isinstance(symbol, str | int)), None)
        if other is None:
            return _as_strings(symbols)
        raise CorpusError(f"{where}: got {_kind(value)}, of which [{other}] is {_kind(symbols[other])}, {EXPECTED}")
    raise CorpusError(f"{where}: got {_kind(value)}, {EXPECTED}")


def _kind(value: object) -> str:
    """Return what a value is, in words.

    >>> _kind(3), _kind(None), _kind(b"")
    ('a number', 'None', 'bytes')
    """
    return "None" if value is None else JSON_TYPES.get(type(value), f"a {type(value).__name__}")


def _why(error: msgspec.DecodeError | RecursionError, text: str) -> str:
    """Return why JSON is no record: what it is instead, or where it is malformed."""
    if isinstance(error, RecursionError):
        return NESTED
    if half := _lone_half(text):
        return f"holds {half}, half of a character that JSON writes as two"
    if not isinstance(error, msgspec.ValidationError):
        return f"{error}"
    try:
        found = JSON_TYPES[type(msgspec.json.decode(text))]
    except msgspec.DecodeError as malformed:
        return f"{malformed}"
    except RecursionError:
        return NESTED
    where = f"{error}".partition(" - at ")[2].strip("`$")
    return f"found {found}" + (f", of which {where} is neither text nor a whole number" if where else "")


def _lone_half(text: str) -> str:
    r"""Return the first escape in JSON that is half of a surrogate pair without the other; "" if there is none.

    >>> _lone_half(r'"a\ud83d\ude00"'), _lone_half(r'"a\ud83d b"'), _lone_half(r'"\\ud83d"')
    ('', '\\ud83d', '')
    """
    before = None  # the high half that ends just here
    for escape in re.finditer(r"\\(?:u([0-9a-fA-F]{4})|.)", text, re.DOTALL):
        code = int(escape[1] or "0", 16)
        if before and not (before.end() == escape.start() and 0xDC00 <= code < 0xE000):
            return before[0]
        if not before and 0xDC00 <= code < 0xE000:
            return escape[0]
        before = escape if 0xD800 <= code < 0xDC00 else None
    return before[0] if before else ""


def _as_strings(record: str | list[str | int]) -> Record:
    return record if isinstance(record, str) else [str(symbol) for symbol in record]
