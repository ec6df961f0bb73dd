"""What the tests of the commands share."""

import shutil

import pytest
import torch

from tests.commands.command_line import SMALL, unrolled
from tests.views.small_models import small


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A model trained for a moment on the shipped text, and what the command printed."""
    out = tmp_path_factory.mktemp("runs") / "sonnets"
    done = unrolled("train", "sonnets", "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    return out, done.stdout.decode()


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the trained model that a test may damage."""
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    return out


@pytest.fixture(scope="session")
def lines_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "strings.txt"
    path.write_text("".join("a " * n + "b " * n + "\n" for n in range(1, 31)))
    return path


@pytest.fixture(scope="session")
def two_layers(tmp_path_factory):
    """A small LSTM of two layers that was never trained."""
    made = tmp_path_factory.mktemp("runs") / "two"
    small("lstm of two layers", dtype=torch.float32, framed=False).save_pretrained(made)
    return made


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A small model of each cell that was never trained."""
    made = {}
    for name in ("rnn", "lstm", "gru"):
        made[name] = tmp_path_factory.mktemp("runs") / name
        small(name, dtype=torch.float32, framed=name == "rnn").save_pretrained(made[name])
    return made
