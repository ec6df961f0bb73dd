"""The page as one file: its size, how fast it reads and writes, the time of a keystroke: `python bench/one_file.py`.

Needs Chromium.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import ROOT, Report, duration, parser

sys.path.insert(0, str(ROOT))

from tests.views.browser import driver
from tests.views.browser.serving import endless
from tests.webpage.alone import opened
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

TEXT = "shall i compare thee to a summer's day? " * 5
CELLS, H = ("lstm", "gru"), 128


def measured(cell: str, symbols: int, window: Any, folder: Path) -> dict[str, Any]:
    """Write a model as one file, open it, and time what the page does."""
    model = endless(SequenceModel(ModelConfig(cell=cell, hidden_size=H), Vocabulary.build(TEXT), framed=False))
    page = opened(window, folder, model)
    reads = duration(lambda: page.ask("view", text=(TEXT * (1 + symbols // len(TEXT)))[:symbols]))
    writes = duration(lambda: page.generate(max_length=symbols))
    keystrokes = page.looks(f'keystrokes("{TEXT}")')
    return {
        "cell": cell,
        "H": H,
        "weights_kB": sum(p.numel() for p in model.parameters()) * 4 / 1e3,
        "file_kB": (folder / "network.html").stat().st_size / 1e3,
        "symbols_per_s": {"reads": symbols / reads, "writes": symbols / writes},
        "keystroke_ms": {"median": statistics.median(keystrokes), "worst": max(keystrokes)},
    }


def line(row: dict[str, Any]) -> str:
    """One row of the report."""
    speeds = ", ".join(f"{how} {speed:,.0f} symbols/s" for how, speed in row["symbols_per_s"].items())
    times = ", ".join(f"{which} {ms:.0f} ms" for which, ms in row["keystroke_ms"].items())
    size = f"{row['weights_kB']:,.0f} kB of weights in a file of {row['file_kB']:,.0f} kB"
    return f"{row['cell']}, H {row['H']}: {size}; {speeds}; a keystroke of 180 to 200 symbols: {times}"


def main() -> int:
    """Run both; returns the exit code."""
    options = parser(__doc__, seconds=1.0)
    options.set_defaults(threads=1)
    asked = options.parse_args()
    report, symbols = Report("one_file", asked), 200 if asked.quick else 4_000
    with tempfile.TemporaryDirectory() as folder, driver.browser(Path(folder) / "profile") as window:
        for cell in CELLS:
            report.add(lambda c=cell: measured(c, symbols, window, Path(folder)), line)  # type: ignore[misc]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
