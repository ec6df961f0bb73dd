"""Where a model's own code asks whether a module is one of torch's, which a layer of this package is not."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

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
    found: list[ast.expr] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
        found = [node] if _named(node.args[-1], names) & {*classes} else []
    elif isinstance(node, ast.Compare) and ast.unparse(node.left).startswith("type("):
        found = [node] if _named(node.comparators[0], names) & {*classes} else []
    return found + [test for child in ast.iter_child_nodes(node) for test in _tests(child, names, classes)]


def _named(node: ast.expr, names: Mapping[str, Any]) -> set[type]:
    """Return the classes that an expression names: a dotted name, or several in a tuple, list, set or union."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return set().union(*(_named(each, names) for each in node.elts))
    if isinstance(node, ast.BinOp):
        return _named(node.left, names) | _named(node.right, names)
    value: Any = _value(node, names)
    return {value} if isinstance(value, type) else set()


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what a dotted name stands for, or None."""
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr, None)
    return names.get(node.id) if isinstance(node, ast.Name) else None
