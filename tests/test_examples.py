"""Every notebook of examples/ runs, ends in assertions of what it claims, and shows what its code printed."""

import json

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tests.examples import FOLDER, NOTEBOOKS, run, sources
from tests.test_docs import ROOT

#: Largest size of a notebook, in bytes: outputs are looked at, and reviewed.
LARGEST = 600_000


def notebook_of(*codes):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes])


def read(path):
    return json.loads(path.read_text("utf-8"))


def codes(path):
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_its_assertions_hold(path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # in the kernel's process: two would wait for the other worker's
    run(path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_ends_in_assertions(path):
    assert "assert " in codes(path)[-1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_of_a_notebook_are_of_its_present_code(path):
    found = read(path)
    assert found["metadata"]["outputs_of"] == sources(found), f"run: python -m tests.examples {path.stem}"
    assert path.stat().st_size < LARGEST


def test_false_assertion_is_seen(tmp_path):
    path = tmp_path / "wrong.ipynb"
    nbformat.write(notebook_of("x = 1", "assert x == 2"), path)
    with pytest.raises(CellExecutionError, match="AssertionError"):
        run(path)


def test_changed_code_is_seen():
    before, after = notebook_of("x = 1"), notebook_of("x = 2")
    assert sources(before) != sources(after)
    after.cells[0].source = "x = 1"
    after.cells[0].outputs = [nbformat.v4.new_output("stream", text="1")]
    assert sources(before) == sources(after)


def test_every_notebook_is_in_the_list():
    listed = (FOLDER / "README.md").read_text()
    assert [path.name for path in NOTEBOOKS if f"]({path.name})" not in listed] == []
    assert len(NOTEBOOKS) == 11


def test_notebooks_name_no_path_of_a_machine():
    assert [path.name for path in NOTEBOOKS if str(ROOT) in path.read_text() or "/home/" in path.read_text()] == []
