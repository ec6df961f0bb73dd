"""How data is read, cut into symbols and split."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from io import BytesIO, TextIOWrapper
from typing import Literal

from unrolled.config.checks import Count, PositiveInt, Seed, Share, check_fields
from unrolled.config.options import idle_of, option

#: What one symbol is; unrolled.saved.tokenizers has a tokenizer for each.
SymbolKind = Literal["characters", "symbols", "bytes", "words", "words-and-marks", "bpe"]
#: The encoding of a text that says nothing else, and the word for a tab between cells.
UTF_8, TAB = "utf-8", "tab"
#: The format of a data file.
Format = Literal["text", "jsonl", "json", "csv", "parquet"]


@dataclass(frozen=True)
class ReadingConfig:
    """How data for a trained model is read; anything left out is as it was for the model's training data.

    Attributes:
        lines: Read each line as a sequence of its own; by default as the training data was read.
        separator: Text between two sequences; by default that of the training data.
        format: Format of the files; by default that of the training data.
        column: CSV column, or field of JSON objects, that holds the sequences; by default that of the training data.
        header: Whether the first row of CSV names the columns; by default as in the training data.
        delimiter: Separator of CSV cells; by default that of the training data.
        encoding: Encoding of the files; by default that of the training data.
    """

    lines: bool | None = None
    separator: str | None = None
    format: Literal["auto", Format] | None = None
    column: str | None = None
    header: bool | None = None
    delimiter: str | None = None
    encoding: str | None = None

    def without_effect(self, format: Format | None, as_bytes: bool) -> dict[str, str]:
        """Return the options that are set and do nothing for the data, each with why.

        Args: the format of the data, None for a text as typed; whether its text is read byte for byte.

        >>> ReadingConfig(delimiter=";").without_effect("text", as_bytes=False)
        {'delimiter': 'only CSV has cells'}
        """
        if format is None:
            return idle_of(self, dict.fromkeys(set(asdict(self)) - {"lines"}, "typed text is read as it stands"))
        return idle_of(self, _unread(format, as_bytes))

    def over(self, own: DataConfig, framed: bool) -> DataConfig:
        """Return the config of a model's own data with these changes; `framed` says whether it learned sequences.

        >>> ReadingConfig(format="json").over(DataConfig(column="tune"), framed=True).format
        'json'
        """
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if self.column is None and self.format not in (None, "auto", "csv", own.format):
            given["column"] = ""
        if self.column is not None and self.format is None:
            given["format"] = "auto"
        if self.separator is None and (self.lines or given.get("column") or self.format not in (None, "auto", "text")):
            given["separator"] = ""
        if self.lines is None:
            given["lines"] = framed and not given.get("separator", own.separator)
        return replace(own, **given)


@dataclass(frozen=True)
class DataConfig:
    """How data files are read, cut into symbols and split.

    Attributes:
        kind: What one symbol is; auto means characters, or symbols if the data is lists of them; words-and-marks
            separates words and punctuation; bpe uses runs of bytes that often occur together.
        lines: Read each line as a sequence of its own, ended by EOS; otherwise the text is one long stream.
        separator: Text between two sequences, each ended by EOS; \\n is a line end, so \\n\\n means a blank line.
        format: Format of the files: plain text, JSON lines, a JSON array, or a column of CSV or Parquet; auto goes by
            their names.
        column: Where the sequences are: a CSV column, by name or by number from 1, a Parquet column, or a field of JSON
            objects.
        header: Whether the first row of CSV names the columns.
        delimiter: Separator of CSV cells, a character or "tab"; by default a comma, or a tab in .tsv files.
        encoding: Encoding of the files, such as latin-1 or utf-16.
        include: Which files of a folder to read, such as *.txt; by default all text files.
        min_count: Symbols seen less often than this in training become UNK.
        vocabulary_size: Largest vocabulary, including EOS and UNK; the most frequent symbols are kept; 0 is no limit,
            and 8,000 for bpe.
        tokenizer: The tokenizer.json of a byte-level BPE tokenizer whose symbols kind bpe uses; by default they are
            learned from the training data.
        nfc: Normalise text to Unicode NFC first.
        validation: Share held out for validation during training.
        test: Share held out for the final evaluation.
        split_by: Draw whole sequences or files at random, or split the data in its order; auto draws sequences and
            splits a stream in its order.
        split_seed: Seed of that split.
    """

    kind: Literal["auto", SymbolKind] = "auto"
    lines: bool = False
    separator: str = ""
    format: Literal["auto", Format] = "auto"
    column: str = ""
    header: bool = True
    delimiter: str = ""
    encoding: str = UTF_8
    include: str = ""
    min_count: PositiveInt = 1
    vocabulary_size: Count = 0
    tokenizer: str = ""
    nfc: bool = False
    validation: Share = 0.05
    test: Share = 0.05
    split_by: Literal["auto", "sequence", "block", "file"] = "auto"
    split_seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if 0 < self.vocabulary_size < 3:
            least = "it must be 3 or more, because EOS and UNK are two, or 0 for no limit"
            raise ValueError(f"{option('vocabulary_size')} is {self.vocabulary_size}; {least}")
        if self.validation + self.test >= 1:
            shares = f"{option('validation')} + {option('test')}"
            raise ValueError(f"{shares} is {self.validation + self.test:g}; it must leave a share to train on")
        if self.column and self.format == "text":
            raise ValueError(f"{option('column')} is {self.column!r}; CSV has columns, JSON has fields, text has none")
        if self.separator and (self.lines or self.format not in ("auto", "text") or self.column):
            others = "lines" if self.lines else "records of JSON and CSV"
            raise ValueError(f"{option('separator')} is {self.separator!r}, but {others} are sequences already")
        if len(self.delimiter) > 1 and self.delimiter != TAB:
            raise ValueError(f"{option('delimiter')} is {self.delimiter!r}; it must be one character, or {TAB}")
        if not _is_text_encoding(self.encoding):
            legal = "the name of an encoding, such as utf-8, latin-1 or cp1252"
            raise ValueError(f"{option('encoding')} is {self.encoding!r}; it must be {legal}")

    def without_effect(self, format: Format, as_bytes: bool, stream: bool) -> dict[str, str]:
        """Return the options that are set and do nothing beside the others and the data, each with why.

        Args: the format of the data; whether its text is read byte for byte, and whether it is one stream.

        >>> DataConfig(header=False, split_seed=3).without_effect("text", as_bytes=False, stream=True)
        {'header': 'only CSV has cells', 'split_seed': 'a stream is split in its order'}
        """
        idle = _unread(format, as_bytes and not self.separator)
        if not self.validation + self.test:
            idle |= dict.fromkeys(("split_by", "split_seed"), "nothing is held out")
        elif self.split_by == "block" or (self.split_by == "auto" and stream):
            idle["split_seed"] = f"{'a stream' if stream else 'the data'} is split in its order"
        return idle_of(self, idle)


def _unread(format: Format, as_bytes: bool) -> dict[str, str]:
    """Return the options that say nothing about data of a format, each with why."""
    unread = {} if format == "csv" else dict.fromkeys(("header", "delimiter"), "only CSV has cells")
    if format != "text":
        unread["lines"] = "each record is a sequence already"
    if format == "parquet":
        unread["encoding"] = "Parquet says how its text is encoded"
    if format == "text" and as_bytes:
        unread["encoding"] = "bytes are read as they are"
    return unread


def _is_text_encoding(name: str) -> bool:
    try:
        TextIOWrapper(BytesIO(), name)
    except (LookupError, ValueError):
        return False
    return True
