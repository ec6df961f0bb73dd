"""The built documentation: it needs no network, its links lead somewhere, and its reference is whole."""

import doctest
import html
import importlib
import posixpath
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from unrolled.cli import app
from unrolled.config.run import RunConfig

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Every page by its path, built with every warning an error."""
    pytest.importorskip("sphinx", reason="the extra [docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", ROOT / "docs", folder], check=True)
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.html")}


def test_pages_draw_their_equations_and_load_nothing_from_elsewhere(site):
    assert site["notation.html"].count("<math ") > 50
    assert "(13)" in site["notation.html"]
    for page in site.values():
        text = re.sub(r"<pre>.*?</pre>|<code.*?</code>", "", page, flags=re.DOTALL)
        assert re.findall(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', text) == []
        assert re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="(?:https?:)?//', text) == []
        assert re.findall(r"\\[a-z]+\{|\\\(", text) == []


def dead_links(pages):
    """Yield each link of {path: page} to a page, or to a place of one, that is not there."""
    places = {
        path: {html.unescape(name) for name in re.findall(r'\bid="([^"]+)"', page)} for path, page in pages.items()
    }
    for path, page in pages.items():
        for link in map(html.unescape, re.findall(r'<a\b[^>]*\bhref="([^"]+)"', page)):
            to, _, place = link.partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), to)) if to else path
            if ":" in to or not target.endswith(".html"):
                continue
            if target not in places or (place and place not in places[target]):
                yield f"{path}: {link}"


def test_links_between_pages_lead_somewhere(site):
    assert sorted(dead_links(site)) == []


def test_dead_link_is_seen():
    first = '<a href="b/c.html#x"> <a href="#y"> <a href="d.html"> <a href="https://e.org/f.html">'
    assert sorted(dead_links({"a.html": first, "b/c.html": '<p id="x">'})) == ["a.html: #y", "a.html: d.html"]


def test_reference_has_every_command(site):
    commands = [name for name in app.resolved_commands() if not name.startswith("-")]
    page = site["reference/command-line.html"]
    assert [name for name in commands if f"unrolled {name}" not in page] == []
    assert "--hidden-size" in page


def test_reference_has_every_key(site):
    keys = [field.name for part in vars(RunConfig()).values() for field in fields(part)]
    page = site["reference/configuration.html"]
    assert [key for key in keys if f">{key}<" not in page] == []


def test_reference_links_to_torch(site):
    assert 'href="https://docs.pytorch.org/docs/stable/tensors.html#torch.Tensor"' in site["reference/nn.html"]


def test_every_notebook_is_a_page_with_its_outputs(site):
    assert [p.stem for p in (ROOT / "examples").glob("*.ipynb") if f"examples/{p.stem}.html" not in site] == []
    assert "data:image/gif;base64" in site["examples/vanishing.html"]


@pytest.mark.parametrize("name", ["docstrings", "generated", "mathml", "outside"])
def test_examples_of_an_extension_run(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert (failed, tried > 0) == (0, True)


def test_page_in_no_list_is_an_error(tmp_path):
    pytest.importorskip("sphinx", reason="the extra [docs] is not installed")
    (tmp_path / "index.md").write_text("# Home\n")
    (tmp_path / "lost.md").write_text("# Lost\n")
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\n')
    command = [sys.executable, "-m", "sphinx", "-q", "-W", tmp_path, tmp_path / "html"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode != 0
    assert "lost.md" in ran.stderr
