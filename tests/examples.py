"""Run the notebooks of examples/ and write their outputs: python -m tests.examples [NAME...]."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
#: Longest time of one cell, in seconds.
LONGEST = 300


def run(path: Path) -> Any:
    """Run a notebook in its own folder; return it with its outputs.

    Raises: nbclient.exceptions.CellExecutionError if a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=LONGEST, kernel_name="python3", resources=resources, coalesce_streams=True
    ).execute()
    return notebook


def sources(notebook: Any) -> str:
    """Return the sha256 of what a notebook's cells say, its outputs left out."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def write(path: Path, notebook: Any) -> None:
    """Write a notebook that was run, with the sum of the sources that its outputs are of, and without what changes."""
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                del output["data"]["text/plain"]  # the same, and not looked at
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "outputs_of": sources(notebook),
    }
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"cell-{number}"
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main(names: list[str]) -> None:
    """Run the named notebooks, or all."""
    for path in [FOLDER / f"{name}.ipynb" for name in names] or NOTEBOOKS:
        begun = time.monotonic()
        write(path, run(path))
        print(f"{path.name}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
