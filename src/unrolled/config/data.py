"""How data is read, cut into symbols and split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from unrolled.config.checks import PositiveInt, Seed, Share, check_fields
from unrolled.config.options import option

#: What one symbol is; unrolled.saved.tokenizers has a tokenizer for each.
SymbolKind = Literal["characters", "symbols", "bytes", "words"]
#: The format of a data file.
Format = Literal["text", "jsonl", "json", "csv"]


@dataclass(frozen=True)
class ReadingConfig:
    """How a trained model's data is read; what is not set is as for the data that it was trained on.

    Attributes:
        lines: Read each line as a sequence of its own; by default as the model's training data was read.
        format: Format of the files; by default as the model's training data was read.
        column: Name of the CSV column that holds the sequences; by default that of the training data.
    """

    lines: bool | None = None
    format: Literal["auto", Format] | None = None
    column: str | None = None

    def over(self, own: DataConfig, framed: bool) -> DataConfig:
        """Return the config of a model's own data with these changes; `framed` says whether it learned sequences.

        >>> ReadingConfig(format="json").over(DataConfig(column="tune"), framed=True).format
        'json'
        """
        column = self.column
        if column is None:
            column = own.column if self.format in (None, "auto", "csv") else ""
        lines, format = framed if self.lines is None else self.lines, self.format or own.format
        return replace(own, lines=lines, format="auto" if column else format, column=column)


@dataclass(frozen=True)
class DataConfig:
    """How data files are read, cut into symbols and split.

    Attributes:
        kind: What one symbol is; auto is characters, or symbols where the data is lists of them.
        lines: Read each line as a sequence of its own, ended by EOS; else the text is one long stream.
        format: Format of the files: plain text, JSON lines, a JSON array or a column of CSV; auto goes by their names.
        column: Name of the CSV column that holds the sequences.
        include: Pattern of the files to read in a folder, such as *.txt; by default all that are text.
        min_count: Symbols seen less often than this in training become UNK.
        nfc: Normalise text to Unicode NFC first.
        validation: Share held out for validation during training.
        test: Share held out for the final evaluation.
        split_by: Draw whole sequences or files at random, or split the data in its order; auto draws sequences and
            splits a stream in its order.
        split_seed: Seed of that split.
    """

    kind: Literal["auto", SymbolKind] = "auto"
    lines: bool = False
    format: Literal["auto", Format] = "auto"
    column: str = ""
    include: str = ""
    min_count: PositiveInt = 1
    nfc: bool = False
    validation: Share = 0.05
    test: Share = 0.05
    split_by: Literal["auto", "sequence", "block", "file"] = "auto"
    split_seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.validation + self.test >= 1:
            shares = f"{option('validation')} + {option('test')}"
            raise ValueError(f"{shares} is {self.validation + self.test:g}; it must leave a share to train on")
        if self.column and self.format not in ("auto", "csv"):
            has = option("format", "csv")
            raise ValueError(f"{option('column')} is {self.column!r}; only {has} has columns, not {self.format}")
