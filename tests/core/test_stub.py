"""The stub that mypy reads names what the compiled core has, no more and no less, and needs no torch."""

import ast
import re
from pathlib import Path

import unrolled
from unrolled import _core

STUB = Path(unrolled.__file__).parent / "_core.pyi"


def stubbed(tree, prefix=""):
    """Arguments of every function and constructor by name, and the classes and their properties."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[prefix + node.name] = [a.arg for a in node.args.args if a.arg != "self"]
        elif isinstance(node, ast.ClassDef):
            found |= {node.name: None, **stubbed(node, f"{node.name}.")}
    return found


def compiled(owner, prefix=""):
    """The same, as nanobind's signatures have it."""
    found = {}
    for name in dir(owner):
        value = getattr(owner, name)
        if isinstance(value, type) and not name.startswith("_"):
            found |= {name: None, **compiled(value, f"{name}.")}
        elif isinstance(value, property):
            found[prefix + name] = []
        elif hasattr(value, "__nb_signature__") and (name == "__init__" or not name.startswith("_")):
            found[prefix + name] = re.findall(r"(\w+): ", value.__nb_signature__[0][0])
    return found


def test_stub_names_what_the_core_has():
    assert stubbed(ast.parse(STUB.read_text())) == compiled(_core)


def test_stub_imports_only_what_the_base_install_has():
    imports = [n for n in ast.walk(ast.parse(STUB.read_text())) if isinstance(n, (ast.Import, ast.ImportFrom))]
    modules = {n.module if isinstance(n, ast.ImportFrom) else a.name for n in imports for a in n.names}
    assert {module.split(".")[0] for module in modules} <= {"collections", "typing", "numpy"}
