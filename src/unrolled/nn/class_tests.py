"""Where a model's own code asks whether a module is one of torch's, which a layer of this package is not."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch


def class_tests(model: torch.nn.Module, classes: Collection[type]) -> list[str]:
    """Return the places in a model's own code that test for one of these classes, "net.py:12 isinstance(m, nn.GRU)".

    Initialisers are left out: they have run.  So is code whose source cannot be read.

    >>> class_tests(torch.nn.Sequential(torch.nn.GRU(4, 6)), {torch.nn.GRU})
    []
    """
    return [place for cls in dict.fromkeys(map(type, model.modules())) for place in _tests_in(cls, classes)]


def _tests_in(cls: type, classes: Collection[type]) -> list[str]:
    if cls.__module__.partition(".")[0] in ("torch", "unrolled"):
        return []
    try:
        lines, first = inspect.getsourcelines(cls)
        tree, file = ast.parse(textwrap.dedent("".join(lines))), Path(inspect.getfile(cls)).name
    except (OSError, TypeError, SyntaxError):
        return []
    names = vars(sys.modules[cls.__module__])
    return [f"{file}:{first + node.lineno - 1} {ast.unparse(node)}" for node in _tests(tree, names, classes)]


def _tests(node: ast.AST, names: Mapping[str, Any], classes: Collection[type]) -> list[ast.expr]:
    """Return the expressions inside a node that test for one of the classes, outside of initialisers."""
    if isinstance(node, ast.FunctionDef) and "init" in node.name:
        return []
    asked: ast.expr | None = None
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance" and node.args:
        asked = node.args[-1]
    elif isinstance(node, ast.Compare) and ast.unparse(node.left).startswith("type("):
        asked = node.comparators[0]
    found = [cast(ast.expr, node)] if asked is not None and _names_one(asked, names, classes) else []
    return found + [test for child in ast.iter_child_nodes(node) for test in _tests(child, names, classes)]


def _names_one(node: ast.expr, names: Mapping[str, Any], classes: Collection[type]) -> bool:
    """Return whether an expression names one of the classes, alone or in a tuple, list, set or union."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return any(_names_one(each, names, classes) for each in node.elts)
    if isinstance(node, ast.BinOp):
        return _names_one(node.left, names, classes) or _names_one(node.right, names, classes)
    if isinstance(node, ast.Attribute) and node.attr not in {cls.__name__ for cls in classes}:
        return False  # looking it up might import a module
    value = _value(node, names)
    return any(value is cls for cls in classes)


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what a dotted name stands for, or None."""
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr, None)
    return names.get(node.id) if isinstance(node, ast.Name) else None
