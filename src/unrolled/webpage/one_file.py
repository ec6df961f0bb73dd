"""The page as one file that needs no server and no network.

The modules of the page become one script, in which each is a function's scope; what the server would answer, the
modules of `alone` compute.  A policy in the file lets a browser run this script and load nothing.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from posixpath import dirname, join, normpath
from typing import Any

from unrolled.webpage.files import page_files

#: Who answers the page's requests where it is served, and where it is one file.
_SERVED, _ALONE = "static/service.js", "alone/service.js"

#: Lines of index.html that name its files: the panels, all scripts, the styles.
_PANELS = re.compile(r"<!-- The panels.*?-->\n")
_MODULE = re.compile(r'<script src="([^"]+)" type="module">')
_SCRIPT = re.compile(r"<script .*?</script>\n")
_STYLE = re.compile(r'<link rel="stylesheet".*?>\n')
#: What stands in the page of a server, and what in that of one file.
_ORIGIN = re.compile(r"<!-- served -->.*?<!-- alone: (.*?) -->", re.DOTALL)

_IMPORT = re.compile(r'^import \{ (?P<names>[^}]+) \} from "(?P<path>[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) (\w+)", re.MULTILINE)


def one_file(network: Any) -> str:
    """Return the page, in HTML, with a network in it.

    Args: JSON values that describe the network.
    """
    texts = page_texts()
    page, licence = texts["static/index.html"], texts["static/uPlot.LICENSE"]
    scripts = [
        f"/*\n{licence}*/\n{texts['static/uPlot.iife.min.js']}",
        as_one_script(texts, [f"static/{path}" for path in _MODULE.findall(page)]),
    ]
    style = texts["static/uPlot.min.css"] + texts["static/style.css"]
    icon = f"data:image/svg+xml;base64,{b64encode(texts['static/icon.svg'].encode()).decode()}"
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = f'<script type="application/json" id="network">{_as_data(network)}</script>'
    for lines in (_PANELS, _SCRIPT, _STYLE):
        page = lines.sub("", page)
    page = _ORIGIN.sub(r"\1", page).replace("icon.svg", icon)
    for mark, content in {
        "<meta name": f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<meta name',
        "</head>": f"<style>{style}</style>\n</head>",
        "</body>": "\n".join([data, *(f"<script>{script}</script>" for script in scripts), "</body>"]),
    }.items():
        page = page.replace(mark, content, 1)
    return page


def page_texts() -> dict[str, str]:
    """Return the files of the page, and those that stand in for its server, by path."""
    return {
        f"{folder}/{path}": content.decode("utf-8")
        for folder in ("static", "alone")
        for path, (content, _) in page_files(folder).items()
    }


def as_one_script(texts: dict[str, str], entries: list[str]) -> str:
    """Return one script that does what modules do: each is run once, after those that it imports.

    Args: files by path; the paths of the modules to run.
    Raises: ValueError if a module has an import or export in a form that is not understood.

    >>> texts = {"a.js": 'import { one } from "./b.js";\\nlog(one);\\n', "b.js": "export const one = 1;\\n"}
    >>> print(as_one_script(texts, ["a.js"]))
    "use strict";
    const modules = {};
    modules["b.js"] = (() => {
    const one = 1;
    return { one };
    })();
    modules["a.js"] = (() => {
    const { one } = modules["b.js"];
    log(one);
    return {  };
    })();
    <BLANKLINE>
    """
    ordered: dict[str, None] = {}

    def visit(path: str) -> None:
        for _, imported in _imports(texts, path):
            visit(imported)
        ordered[path] = None

    for entry in entries:
        visit(entry)
    return '"use strict";\nconst modules = {};\n' + "".join(_scope(texts, path) for path in ordered)


def _imports(texts: dict[str, str], path: str) -> Iterator[tuple[str, str]]:
    """Yield the names that a module imports, and the path of the module that has them."""
    for found in _IMPORT.finditer(texts[path]):
        imported = normpath(join(dirname(path), found["path"]))
        yield found["names"], _ALONE if imported == _SERVED else imported


def _scope(texts: dict[str, str], path: str) -> str:
    """Return a module as a function that is called at once and returns what the module exports."""
    imports = [f"const {{ {names} }} = modules[{json.dumps(imported)}];\n" for names, imported in _imports(texts, path)]
    body = _IMPORT.sub("", texts[path]).lstrip("\n")
    exports = ", ".join(name for _, name in _EXPORT.findall(body))
    body = _EXPORT.sub(r"\1 \2", body)
    if left := re.search(r"^(import|export)\b.*", body, re.MULTILINE):
        raise ValueError(f"{path}: {left[0]!r} is in no form that one script can take up")
    return f"modules[{json.dumps(path)}] = (() => {{\n{''.join(imports)}{body}return {{ {exports} }};\n}})();\n"


def _as_data(value: Any) -> str:
    """Return JSON in ASCII that HTML takes for text, whatever its strings hold.

    >>> _as_data({"symbols": ["</script>", chr(0x202E)]})
    '{"symbols":["\\\\u003c/script>","\\\\u202e"]}'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
