"""How data is read, cut into symbols and split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.config.checks import Count, PositiveInt, Share, check_fields

#: What one symbol is; unrolled.saved.tokenizers has a tokenizer for each.
SymbolKind = Literal["characters", "symbols", "bytes", "words"]
#: The format of a data file.
Format = Literal["text", "jsonl", "json", "csv"]


@dataclass(frozen=True)
class DataConfig:
    """How data files are read, cut into symbols and split.

    Attributes:
        kind: What one symbol is; auto is characters, or symbols where the data is lists of them.
        lines: Read each line as a sequence of its own, ended by EOS; else the text is one long stream.
        format: Format of the files: plain text, JSON lines, a JSON array or a column of CSV; auto goes by their names.
        column: Name of the CSV column that holds the sequences.
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
    min_count: PositiveInt = 1
    nfc: bool = False
    validation: Share = 0.05
    test: Share = 0.05
    split_by: Literal["auto", "sequence", "block", "file"] = "auto"
    split_seed: Count = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test is {self.validation + self.test:g}; it must leave a share to train on")
        if self.column and self.format not in ("auto", "csv"):
            raise ValueError(f"column is {self.column!r}; only format = 'csv' has columns, not {self.format}")
