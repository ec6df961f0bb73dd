"""Every command of the pages on ways out and in runs on a trained model, in the order in which they stand there."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.commands.command_line import unrolled

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "deploy.md", *sorted((DOCS / "deploy").glob("*.md"))]
COMMAND = re.compile(r"^unrolled (?:(?:export|import|generate) .+)$", re.MULTILINE)
#: What a page asks its reader to have, and what only a network gives.
ELSEWHERE = "hub:"


def commands(page):
    """Return the arguments of the commands in a page, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in COMMAND.findall(block) if ELSEWHERE not in line]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_run(page, run, tmp_path):
    for name in ("sonnets", "lstm"):
        shutil.copytree(run[0], tmp_path / "runs" / name)
    shapes = {"Wxh": (5, 7), "Whh": (5, 5), "Why": (7, 5), "bh": (5, 1), "by": (7, 1)}
    np.savez(tmp_path / "model.npz", **{name: np.ones(shape) for name, shape in shapes.items()})
    for each in commands(page):
        done = unrolled(*each, cwd=tmp_path)
        assert done.returncode == 0, (each, done.stderr.decode())


def test_pages_have_commands():
    assert sum(len(commands(page)) for page in PAGES) >= 8
