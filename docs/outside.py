"""Pages of what lies outside this folder: the notebooks of examples/, and CONTRIBUTING.md.

A notebook is shown as its text, its code and the outputs that it was saved with; nothing is run.  Sphinx reads only
what lies in its own folder, so examples/ is copied to docs/examples; docs/CONTRIBUTING.md includes the file.
"""

import json
import os
import re
from pathlib import Path

HERE = Path(__file__).parent
#: Longer than any fence in a cell.
FENCE = "`" * 6
PRINTED = "{code-block} text\n:class: printed\n"
IMAGES = ("image/png", "image/gif")
#: The list that the README of the examples is, for the site.
LIST = "\n\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def copy(source, target):
    """Let one folder hold the pages of another, each replaced as a whole, and no others."""
    target.mkdir(exist_ok=True)
    pages = {path.name: path.read_bytes() for path in source.iterdir() if path.suffix in (".md", ".ipynb")}
    for path in target.iterdir():
        if path.name not in pages:
            path.unlink()
    for name, page in pages.items():
        path = target / name
        if not path.exists() or path.read_bytes() != page:
            unfinished = target / f".{name}.{os.getpid()}"
            unfinished.write_bytes(page)
            unfinished.replace(path)


def markdown(notebook):
    """Return a notebook as Markdown.

    >>> print(markdown({"cells": [{"cell_type": "markdown", "source": ["# A title"]}]}))
    # A title
    """
    return "\n\n".join(block for cell in notebook["cells"] for block in _blocks(cell))


def _blocks(cell):
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield _fenced("python", source)
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield _fenced(PRINTED, "".join(output["text"]))
        else:
            yield _shown({kind: "".join(text) for kind, text in output["data"].items() if kind != "application/json"})


def _shown(data):
    for kind in IMAGES:
        if kind in data:
            encoded = "".join(data[kind].split())
            return _fenced("{raw} html", f'<img alt="what the code above draws" src="data:{kind};base64,{encoded}">')
    if "text/html" in data:
        return _fenced("{raw} html", f'<div class="output">{data["text/html"]}</div>')
    return _fenced(PRINTED, data["text/plain"])


def _fenced(kind, text):
    return f"{FENCE}{kind}\n{text.rstrip()}\n{FENCE}"


def read(app, name, source):
    if Path(app.env.doc2path(name)).suffix == ".ipynb":
        source[0] = markdown(json.loads(source[0]))
    # A link that leaves this folder for one of these pages leads to its copy.
    source[0] = re.sub(r"\]\(\.\./((?:\.\./)*)(examples/|CONTRIBUTING\.md)", r"](\1\2", source[0])
    if name == "examples/README":
        source[0] += LIST


def setup(app):
    copy(HERE.parent / "examples", HERE / "examples")
    app.add_source_suffix(".ipynb", "markdown")
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
