"""Docstrings of this package as Sphinx reads them.

A section of one sentence stands on one line, `Raises: ValueError if ...`, and goes on in indented ones; it becomes a
paragraph.  Sections with a line for each name are left to napoleon.  A bar means an absolute value, not a substitution.
In a signature a number stands without its range, which the text has.
"""

import re

SECTION = re.compile(r"(Args|Returns|Raises|Warns|Source): +(\S.*)")


def paragraphs(lines):
    """Return the lines of a docstring with each section of one sentence as a paragraph.

    >>> paragraphs(["Args: x (T, B)", "Raises: ValueError if it", "    is |x|."])
    ['', '**Args:** x (T, B)', '', '', '**Raises:** ValueError if it', 'is \\\\|x\\\\|.', '']
    """
    found, inside = [], False
    for line in lines:
        section = SECTION.fullmatch(line)
        if inside and (section or not line.startswith(" ")):
            found.append("")
            inside = False
        if section:
            found += ["", f"**{section[1]}:** {section[2]}"]
            inside = True
        else:
            found.append(line.strip() if inside else line)
    if inside:
        found.append("")
    return [line if line.lstrip().startswith((">>>", "...")) else line.replace("|", r"\|") for line in found]


def plain(signature):
    """Return a signature whose numbers have no ranges.

    >>> plain("(n: ~typing.Annotated[int, ~msgspec.Meta(ge=1, le=9)] = 3)")
    '(n: int = 3)'
    """
    return re.sub(r"~?(?:typing\.)?Annotated\[~?(\w+), ~?(?:msgspec\.)?Meta\([^)]*\)\]", r"\1", signature)


def process_signature(app, what, name, obj, options, signature, returned):
    return plain(signature or "") or signature, returned


def process(app, what, name, obj, options, lines):
    lines[:] = paragraphs(lines)


def setup(app):
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-process-docstring", process, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
