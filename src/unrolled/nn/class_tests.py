"""Where a model's own code asks whether a module is one of torch's, which a layer of this package is not."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import FunctionType, UnionType
from typing import Any, NamedTuple

import torch


def class_tests(model: torch.nn.Module, classes: Collection[type]) -> list[str]:
    """Return where a model's own code names one of these classes, "net.py:12 isinstance(m, nn.GRU)".

    Its own code is that of its modules' classes, of their bases, and of the functions of the same package that these
    name.  Left out are initialisers, which have run, construction of a class, annotations, and code without source.

    >>> class_tests(torch.nn.Sequential(torch.nn.GRU(4, 6)), {torch.nn.GRU})
    []
    """
    parts = list(dict.fromkeys(part for cls in dict.fromkeys(map(type, model.modules())) for part in _live(cls)))
    places: dict[str, None] = {}
    for part in parts:  # which grow by the functions that they name
        code = _source(part.of)
        if code is None:
            continue
        names = part.of.__globals__ if isinstance(part.of, FunctionType) else vars(sys.modules[part.of.__module__])
        reader = _Reader(names, classes, part.overridden)
        reader.visit(code.tree)
        places |= {f"{code.file}:{code.first + line - 1} {text}": None for line, text in reader.found}
        parts += [named for named in map(_Part, reader.functions) if named not in parts]
    return [*places]


class _Part(NamedTuple):
    of: Any  #: a class or a function
    overridden: frozenset[str] = frozenset()  #: methods of a base that nobody calls


class _Source(NamedTuple):
    tree: ast.AST
    file: str
    first: int  #: line of the file


def _live(cls: type) -> Iterator[_Part]:
    """Yield a class and its bases, each without the methods that a class before it defines anew."""
    overridden: set[str] = set()
    for base in cls.__mro__:
        yield _Part(base, frozenset(overridden))
        overridden |= {name for name, member in vars(base).items() if "super" not in _names_in(member)}


def _names_in(member: Any) -> tuple[str, ...]:
    return member.__code__.co_names if isinstance(member, FunctionType) else ()


def _package(of: Any) -> str:
    return (of.__module__ or "").partition(".")[0]


def _source(of: type | FunctionType) -> _Source | None:
    if _package(of) in ("torch", "unrolled"):
        return None
    try:
        lines, first = inspect.getsourcelines(of)
        return _Source(ast.parse(textwrap.dedent("".join(lines))), Path(inspect.getfile(of)).name, first)
    except (OSError, TypeError, SyntaxError):
        return None


class _Reader(ast.NodeVisitor):
    """Collects from a piece of code where it names one of the classes, and which functions it names."""

    def __init__(self, names: Mapping[str, Any], classes: Collection[type], overridden: Collection[str]):
        self.names, self.classes, self.overridden = names, classes, overridden
        self.found: list[tuple[int, str]] = []
        self.functions: list[FunctionType] = []
        self._shown: ast.AST | None = None  # the expression or simple statement that is read

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.Call(ast.Name("getattr"), [of, ast.Constant(str(name)), *_]):
                node = ast.copy_location(ast.Attribute(of, name, ast.Load()), node)
        outer = self._shown
        if isinstance(node, (ast.Call, ast.Compare, ast.Assign, ast.Return, ast.MatchClass)):
            self._shown = node
        elif isinstance(node, ast.stmt):
            self._shown = None
        super().visit(node)
        self._shown = outer

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if "init" not in node.name and node.name not in self.overridden:
            for part in (*node.decorator_list, node.args, *node.body):
                self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in node.body:
            self.visit(part)

    def visit_arg(self, node: ast.arg) -> None:
        """Pass over the annotation of an argument."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        constructs = isinstance(node.func, ast.Subscript) or self._names_one(node.func)
        for part in (*(() if constructs else (node.func,)), *node.args, *node.keywords):
            self.visit(part)

    def visit_Name(self, node: ast.Name) -> None:
        value = self.names.get(node.id)
        if isinstance(value, FunctionType) and _package(value) == self.names.get("__name__", "").partition(".")[0]:
            self.functions.append(value)
        self._mention(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not self._mention(node):
            self.visit(node.value)

    def _mention(self, node: ast.expr) -> bool:
        named = self._names_one(node)
        if named:
            shown: Any = self._shown or node
            case = "case " if isinstance(shown, ast.MatchClass) else ""
            self.found.append((shown.lineno, case + ast.unparse(shown)))
        return named

    def _names_one(self, node: ast.expr) -> bool:
        """Return whether a name stands for one of the classes, or for a collection of some."""
        if isinstance(node, ast.Attribute) and node.attr not in {cls.__name__ for cls in self.classes}:
            return False  # looking it up might import a module
        value = self._value(node)
        if isinstance(value, UnionType):
            value = value.__args__
        held = value if isinstance(value, (tuple, list, set, frozenset, dict)) else (value,)
        return any(each is cls for each in held for cls in self.classes)

    def _value(self, node: ast.expr) -> Any:
        """Return what a dotted name stands for, or None."""
        if isinstance(node, ast.Attribute):
            return getattr(self._value(node.value), node.attr, None)
        return self.names.get(node.id) if isinstance(node, ast.Name) else None
