"""Every example in a document or a docstring runs and shows what it says."""

import doctest
import importlib
import pkgutil
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from sybil import Document
from sybil.parsers.myst import PythonCodeBlockParser

import unrolled
from tests.runtime.test_c_interface import INCLUDE, LIBRARY, STRICT
from unrolled import runtime
from unrolled.nn.network import network_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")]
DOCUMENTS += [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
# The C interface is a library beside the modules, and none of them.
NO_MODULES = ("_core", "libunrolled")
#: What the programs in C of a document run: three steps of x = (0, ...), (1, 0, ...), (2, 0, ...).
MODELS_OF_PROGRAMS = {
    "c.md": lambda names: runtime.load("saved/control"),
    "c-header.md": lambda names: runtime.RuntimeModel(network_of(names["amp"])),
}
MODULES = [m.name for m in pkgutil.walk_packages(unrolled.__path__, "unrolled.") if not m.name.endswith(NO_MODULES)]


@pytest.fixture(autouse=True)
def _own_folder_and_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


def examples_of(path):
    """The examples in the Python blocks of a document, which share one namespace."""
    return [*Document.parse(str(path), PythonCodeBlockParser()).examples()]


def run_examples(path):
    """Run the examples of a document; return how many there were."""
    examples = examples_of(path)
    for example in examples:
        example.evaluate()
    return len(examples)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_of_a_document_run(path):
    assert run_examples(path) == len(re.findall(r"^>>> ", path.read_text(), re.MULTILINE))


def test_readme_shows_an_example():
    assert len(examples_of(ROOT / "README.md")) >= 10  # that they run is seen above


def test_readme_is_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name, capsys):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed, capsys.readouterr().out


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_document_names_exist(path):
    text = path.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []
    named = re.findall(r"`((?:csrc|src|tests|docs|bench)/[\w./-]+)`", text)
    assert [name for name in named if not re.search("foo|NAME", name) and not (ROOT / name).exists()] == []


def programs(path):
    """The programs in C of a document."""
    return re.findall(r"^```c\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("path", [*filter(programs, DOCUMENTS)], ids=lambda path: str(path.relative_to(ROOT)))
def test_programs_in_c_of_a_document_say_what_the_runtime_says(path, tmp_path):
    document = Document.parse(str(path), PythonCodeBlockParser())
    [example.evaluate() for example in document.examples()]
    for source in programs(path):
        Path("program.c").write_text(source)
        links = []
        if '"unrolled.h"' in source:
            if LIBRARY is None:
                pytest.skip("needs libunrolled, which the build of a wheel makes")
            links = [LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}"]
        subprocess.run(["gcc", *STRICT, "program.c", "-I", ".", "-I", INCLUDE, "-o", "program", *links], check=True)
        said = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout.split()
        model = MODELS_OF_PROGRAMS[path.name](document.namespace)
        want = [model.step(np.eye(1, model.network.I, dtype=np.float32)[0] * t) for t in range(3)]
        np.testing.assert_allclose([*map(float, said)], np.concatenate(want), atol=2e-6, rtol=1e-5)


def test_wrong_example_is_seen(tmp_path):
    document = tmp_path / "wrong.md"
    document.write_text("```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(Exception, match="Expected"):
        run_examples(document)
