"""pyproject.toml declares what the package imports, and nothing that is not used."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.test_layout import imported, python_files
from unrolled.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Extras for work on the project itself, and for its notebooks.
OWN = {"bench", "dev", "docs", "examples"}
#: Imported by the compiled core.
COMPILED = {"nanobind-backend"}
#: Used where a user has it, and nowhere else.
OPTIONAL = {"pandas": "views/traces.py"}
#: Modules that another distribution brings than the one of their name.
BROUGHT_BY = {"torch.utils.tensorboard": "tensorboard", "google.protobuf": "onnx"}


def names(requirements):
    """Distributions in a list of requirements."""
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


BASE = names(PROJECT["dependencies"])
EXTRA = {extra: names(each) for extra, each in PROJECT["optional-dependencies"].items() if extra not in OWN}


def distributions(source):
    """Third-party distributions that a file imports, at the top or inside functions."""
    for module in imported(source):
        top = module.split(".")[0]
        if top != "unrolled" and top not in sys.stdlib_module_names:
            yield next((name for start, name in BROUGHT_BY.items() if module.startswith(start)), top)


def undeclared(files):
    """Sentences on imports in {path inside the package: source} that no dependency and no extra brings."""
    declared = BASE.union(*EXTRA.values())
    for path, source in files.items():
        for name in distributions(source):
            if name not in declared and OPTIONAL.get(name) != path:
                yield f"{path} imports {name}, which pyproject.toml does not declare"


def unused(files):
    """Declared distributions that no file imports."""
    return (
        BASE.union(*EXTRA.values()) - COMPILED - {name for source in files.values() for name in distributions(source)}
    )


def test_imports_are_declared_and_dependencies_used():
    assert list(undeclared(python_files())) == []
    assert unused(python_files()) == set()


@pytest.mark.parametrize(
    ("path", "source"),
    [("lm/model.py", "def f():\n    import scipy.stats"), ("views/report.py", "from pandas import DataFrame")],
)
def test_undeclared_import_is_seen(path, source):
    assert len([*undeclared({path: source})]) == 1


def test_unused_dependency_is_seen():
    assert unused({"cli.py": "import cyclopts, torch, torch.utils.tensorboard"}) >= {"rich", "matplotlib"}


def test_extras_that_errors_and_info_name_are_those_of_the_package():
    assert {extra: {*modules} for extra, modules in EXTRAS.items()} == EXTRA


def test_licences_of_what_is_shipped_are_in_the_metadata():
    shipped = {path.relative_to(ROOT).as_posix() for top in ("src", "csrc") for path in (ROOT / top).rglob("*")
               if path.is_file() and re.search("LICEN[CS]E|NOTICE|COPYING", path.name)}  # fmt: skip
    assert {*PROJECT["license-files"]} == {"LICENSE", *shipped}
    assert PROJECT["license"] == "Apache-2.0 AND MIT"
