"""The README's table says what was measured, and lands between its marks."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("readme_table", ROOT / "bench" / "readme_table.py")
readme_table = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(readme_table)

MACHINE = {"threads": 2, "cpu": "Some CPU", "instruction_set": "avx2"}
MACHINE |= {"torch": "2.13.0", "commit": "abc1234", "date": "2026-01-31"}


def row(cell, inference, training):
    sizes = {"cell": cell, "B": 8, "T": 64, "I": 33, "H": 33}
    return {**sizes, "inference": {"own_ms": 1.5, "ratio": inference}, "training": {"own_ms": 4.25, "ratio": training}}


def test_table_holds_every_row_and_the_geometric_means():
    lines = readme_table.table({"machine": MACHINE, "rows": [row("GRU", 2, 1), row("GRU", 8, 4)]}).splitlines()
    assert "2 threads of one Some CPU (avx2)" in lines[0]
    assert "| GRU | 8 | 64 | 33 | 1.5 | 2.00 | 4.25 | 1.00 |" in lines
    assert lines[-1] == "| **GRU, geometric mean** | | | |  | 4.00 |  | 2.00 |"


def test_table_lands_between_the_marks_and_nothing_else_changes():
    text = f"before\n{readme_table.BEGIN}old\nold\n{readme_table.END}after\n"
    assert readme_table.put(text, "new\n") == f"before\n{readme_table.BEGIN}new\n{readme_table.END}after\n"


def test_readme_has_its_marks():
    assert "new table" in readme_table.put((ROOT / "README.md").read_text(), "new table\n")


def test_missing_mark_is_an_error():
    with pytest.raises(ValueError, match="no place for the table"):
        readme_table.put("no marks", "new\n")
