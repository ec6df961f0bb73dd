"""Put what bench/layers.py measured into the README.

python bench/readme_table.py [bench/results/layers.json]
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- table: made by bench/readme_table.py -->\n", "<!-- end of table -->\n"
PHASES = ("inference", "training")
COMMAND = "python bench/layers.py"


def table(results: dict[str, Any]) -> str:
    """Return the table, in Markdown, of the JSON that bench/layers.py writes."""
    about, rows = results["machine"], results["rows"]
    lines = [
        f"Milliseconds a call on {about['threads']} threads of one {about['cpu']} ({about['instruction_set']}), and "
        f"how many times faster than torch {about['torch']} in the same run; I = H; training is forward and backward.",
        f"Commit {about['commit']}, {about['date']}; `{COMMAND}` repeats it.",
        "",
        "| cell | B | T | H | inference ms | x torch | training ms | x torch |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        measured = (f"{row[phase]['own_ms']:.3g} | {row[phase]['ratio']:.2f}" for phase in PHASES)
        lines.append(f"| {row['cell']} | {row['B']} | {row['T']} | {row['H']} | {' | '.join(measured)} |")
    for cell in dict.fromkeys(row["cell"] for row in rows):
        means = (f" | {geometric_mean([r[phase]['ratio'] for r in rows if r['cell'] == cell]):.2f}" for phase in PHASES)
        lines.append(f"| **{cell}, geometric mean** | | | | {' | '.join(means)} |")
    return "\n".join(lines) + "\n"


def geometric_mean(ratios: list[float]) -> float:
    """Return the geometric mean, the right one for ratios."""
    return math.exp(statistics.fmean(map(math.log, ratios)))


def put(text: str, new: str) -> str:
    """Return the text with the new table between the two marks.

    Raises: ValueError if a mark is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the README has no place for the table: expected {BEGIN.strip()} and {END.strip()}")
    return before + begin + new + end + after


def main() -> None:
    """Read the JSON, rewrite the README."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "bench" / "results" / "layers.json"
    readme = ROOT / "README.md"
    readme.write_text(put(readme.read_text(), table(json.loads(source.read_text()))))


if __name__ == "__main__":
    main()
