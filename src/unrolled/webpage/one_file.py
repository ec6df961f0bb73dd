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

_IMPORT = re.compile(r'^import \{ (?P<names>[^}]+) \} from "(?P<path>[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) (\w+)", re.MULTILINE)


def one_file(network: Any) -> str:
    """Return the page, in HTML, with a network in it.

    Args: JSON values that describe the network.
    """
    files = {
        f"{folder}/{path}": content
        for folder in ("static", "alone")
        for path, (content, _) in page_files(folder).items()
    }
    texts = {path: content.decode("utf-8") for path, content in files.items()}
    page = texts["static/index.html"]
    licence = texts["static/uPlot.LICENSE"]
    scripts = [f"/*\n{licence}*/\n{texts['static/uPlot.iife.min.js']}", _script(texts, _modules(page))]
    style = texts["static/uPlot.min.css"] + texts["static/style.css"]
    icon = f"data:image/svg+xml;base64,{b64encode(files['static/icon.svg']).decode()}"
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    page = re.sub(r"<!-- The panels.*?-->\n", "", page)
    page = re.sub(r"<script .*?</script>\n|<link rel=\"stylesheet\".*?>\n", "", page)
    page = re.sub(r"<!-- served -->.*?<!-- alone: (.*?) -->", r"\1", page, flags=re.DOTALL)
    page = page.replace("icon.svg", icon)
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    page = page.replace("<meta name", head + "<meta name", 1).replace("</head>", f"<style>{style}</style>\n</head>", 1)
    data = f'<script type="application/json" id="network">{_as_data(network)}</script>\n'
    body = data + "".join(f"<script>{script}</script>\n" for script in scripts)
    return page.replace("</body>", body + "</body>", 1)


def _modules(page: str) -> list[str]:
    """Return the paths of the modules that the page names."""
    return [f"static/{path}" for path in re.findall(r'<script src="([^"]+)" type="module">', page)]


def _script(texts: dict[str, str], entries: list[str]) -> str:
    """Return one script that does what the modules do: each is run once, after those that it imports."""
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
    imports = "".join(
        f"const {{ {names} }} = modules[{json.dumps(imported)}];\n" for names, imported in _imports(texts, path)
    )
    body, text = _IMPORT.sub("", texts[path]), texts[path]
    exported = ", ".join(name for _, name in _EXPORT.findall(text))
    body = _EXPORT.sub(r"\1 \2", body)
    if left := re.search(r"^(import|export)\b.*", body, re.MULTILINE):
        raise ValueError(f"{path}: {left[0]!r} is not written as the one-file page reads it")
    return f"modules[{json.dumps(path)}] = (() => {{\n{imports}{body}return {{ {exported} }};\n}})();\n"


def _as_data(value: Any) -> str:
    """Return JSON in ASCII that HTML takes for text, whatever its strings hold.

    >>> _as_data({"symbols": ["</script>", chr(0x202E)]})
    '{"symbols":["\\\\u003c/script>","\\\\u202e"]}'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
