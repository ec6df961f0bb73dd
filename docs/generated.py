"""What the program writes of itself into the pages of the reference.

A line `<!-- made by commands -->` becomes all commands and their options, as their parser knows them, and
`<!-- made by keys CLASS -->` a table of the fields of a configuration.
"""

import re
from dataclasses import fields
from importlib import import_module

from cyclopts.docs.markdown import generate_markdown_docs
from docstring_parser import parse

from unrolled.cli import app as program
from unrolled.config.checks import legal_values


def commands():
    """Return every command and its options as Markdown."""
    program.resolved_commands()  # so that the list shows what each does
    text = generate_markdown_docs(program, recursive=True, heading_level=2, generate_toc=False, no_root_title=True)
    return re.sub(
        r"^unrolled (\w+) \1\b", r"unrolled \1", text, flags=re.MULTILINE
    )  # of a usage that has the name, too


def keys(path):
    """Return the fields of a configuration as a table.

    >>> print(keys("unrolled.config.server.Limits").splitlines()[2])
    | `body_bytes` | `65536` | Largest request (413). *A whole number from 1 to 2,147,483,647.* |
    """
    module, _, name = path.rpartition(".")
    cls = getattr(import_module(module), name)
    told = {each.arg_name: " ".join(each.description.split()) for each in parse(cls.__doc__).params}
    legal = legal_values(cls)
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for field in fields(cls):
        range = f" *{legal[field.name][0].upper()}{legal[field.name][1:]}.*" if field.name in legal else ""
        rows.append(f"| `{field.name}` | `{field.default!r}` | {_plain(told[field.name] + range)} |")
    return "\n".join(rows)


def _plain(text):
    """Return a text in which Markdown sees nothing but itself."""
    return re.sub(r"([|<\\$])", r"\\\1", text)


def read(app, name, source):
    source[0] = re.sub(r"<!-- made by commands -->", lambda _: commands(), source[0])
    source[0] = re.sub(r"<!-- made by keys (\S+) -->", lambda found: keys(found[1]), source[0])


def setup(app):
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
