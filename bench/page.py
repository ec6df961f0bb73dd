"""Write the tables of the benches into the README and the documents; every number comes from a JSON file.

    python bench/page.py

A document has places for tables: a line `<!-- table NAME -->`, the table, a line `<!-- end NAME -->`.  What is
between them is replaced, and the rest stays.  For a bench that has not been run, a sentence gives its command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import marks
import tables
import tables_layers
import tables_runtime
from harness import RESULTS, ROOT

DOCUMENTS = (
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("performance", "shapes", "scale", "deploy", "deploy/html", "deploy/small-weights", "lm")
    ),
)
#: Processors whose results lie in a folder of their own, beside those of the one that the documents speak of.  Their
#: places are named PROCESSOR_TABLE.
PROCESSORS = ("avx2",)
#: Place -> (bench, function from the bench's JSON to the table).  One more place, `marks`, is made from all benches.
PLACES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "readme": ("layers", tables_layers.readme),
    "common": ("layers", tables_layers.common),
    "limits": ("layers", tables_layers.limits),
    "summary": ("layers", tables_layers.summary),
    "picture": ("layers", tables_layers.picture),
    "slower": ("layers", tables_layers.slower),
    "floors": ("layers", tables_layers.floors),
    "ceilings": ("layers", tables_layers.ceilings),
    "grid": ("layers", tables_layers.grid),
    "left_padded": ("left_padded", tables.left_padded),
    "ragged": ("ragged", tables.ragged),
    "steps": ("steps", tables.steps),
    "call_costs": ("call_costs", tables.call_costs),
    "peers": ("peers", tables.peers),
    "situations": ("situations", tables.situations),
    "bfloat16": ("bfloat16", tables.bfloat16),
    "mixed_precision": ("mixed_precision", tables.mixed_precision),
    "composing": ("composing", tables.composing),
    "memory": ("memory", tables.memory),
    "training": ("train_throughput", tables.training),
    "corpus": ("corpus_table", tables.corpus),
    "ways": ("runtime", lambda found: tables_runtime.ways(found, results_of("c_header"))),
    "runtime_steps": ("runtime", lambda found: tables_runtime.runtime_steps(found, results_of("layers"))),
    "runtime_weights": ("runtime", tables_runtime.runtime_weights),
    "runtime_many": ("runtime", lambda found: tables_runtime.runtime_many(found, results_of("layers"))),
    "c_header": ("c_header", tables_runtime.c_header),
    "small_weights": ("small_weights", tables_runtime.small_weights),
    "one_file": ("one_file", tables_runtime.one_file),
    "parallel": ("parallel", tables.parallel),
    "campaign": ("campaign", tables.campaign),
    "large_corpus": ("large_corpus", tables.large_corpus),
}


def filled(text: str, made: Callable[[str], str]) -> str:
    """Return a document with every place filled by `made` of its name.

    Raises: ValueError for a place that does not end, KeyError for one that no bench fills.
    """
    for name in re.findall(r"^<!-- table (\w+) -->$", text, re.MULTILINE):
        begin, end = f"<!-- table {name} -->\n", f"<!-- end {name} -->\n"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"the place of table {name!r} does not end; expected the line {end.strip()}")
        text = f"{before}{begin}\n{made(name).strip()}\n\n{end}{after}"
    return text


def results_of(bench: str, results: Path = RESULTS) -> dict[str, Any] | None:
    """Return what a bench found, None if it has not been run."""
    source = results / f"{bench}.json"
    return json.loads(source.read_text()) if source.exists() else None


def table(name: str, said: set[Path], results: Path = RESULTS) -> str:
    """Return the table of one place.

    Args: said: files of results whose command, machine and load the document has named already; this one is added.
    """
    processor, _, rest = name.partition("_")
    if processor in PROCESSORS:
        return table(rest, said, results / processor)
    if name == "marks":
        return tables.markdown(marks.HEAD, marks.table(lambda bench: results_of(bench, results), results == RESULTS))
    bench, make = PLACES[name]
    found = results_of(bench, results)
    if found is None:
        return f"Not measured yet: `python bench/{bench}.py`."
    source = results / bench
    if source in said or "machine" not in found:
        return make(found)
    said.add(source)
    return f"{make(found)}\n\n{tables.provenance(found)}"


def main() -> None:
    """Rewrite the documents."""
    for document in DOCUMENTS:
        said: set[Path] = set()
        document.write_text(filled(document.read_text(), lambda name, said=said: table(name, said)))  # type: ignore[misc]


if __name__ == "__main__":
    main()
