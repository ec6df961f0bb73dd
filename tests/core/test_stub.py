"""The stub that mypy reads names what the compiled core has, no more and no less."""

import ast
from pathlib import Path

import unrolled
from unrolled import _core

STUB = Path(unrolled.__file__).parent / "_core.pyi"


def members(tree):
    """Names of functions and classes, classes with their public methods."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = None
        elif isinstance(node, ast.ClassDef):
            found[node.name] = {n.name for n in node.body if not n.name.startswith("_")}
    return found


def test_stub_names_what_the_core_has():
    real = {name: getattr(_core, name) for name in dir(_core) if not name.startswith("_")}
    methods = {
        name: {m for m in dir(value) if not m.startswith("_")} if isinstance(value, type) else None
        for name, value in real.items()
    }
    assert members(ast.parse(STUB.read_text())) == methods
