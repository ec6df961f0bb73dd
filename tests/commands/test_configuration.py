"""Where the options of `train` come from: flags, then a TOML file, then the run that is resumed."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from unittest import mock

import numpy as np
import pytest
from cyclopts import App, Parameter

from tests.commands.command_line import SMALL, refusal, unrolled
from unrolled.commands.configuration import fill_in
from unrolled.core import has_bfloat16_units
from unrolled.saved.checkpoints import save_checkpoint
from unrolled.saved.model import SavedModel


def test_config_file_holds_the_options_and_flags_go_on_top(tmp_path):
    toml = tmp_path / "run.toml"
    toml.write_text(
        '[model]\ncell = "rnn"\nhidden_size = 5\n[data]\nvalidation = 0.1\n'
        "[training]\nmax_steps = 3\nlearning_rate = 1e-3\n"
    )
    done = unrolled("train", "sonnets", "--out", tmp_path / "run", "--config", toml, "--hidden-size", "6")
    assert done.returncode == 0, done.stderr.decode()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["model"]["cell"], config["model"]["hidden_size"]) == ("rnn", 6)
    assert (config["data"]["validation"], config["training"]["max_steps"]) == (0.1, 3)


@pytest.mark.parametrize("given", [["--precision", "bfloat16"], ["--config", "run.toml"]])
def test_precision_is_recorded_resumed_and_the_model_reads_float32_weights(given, tmp_path):
    (tmp_path / "run.toml").write_text('[training]\nprecision = "bfloat16"\n')
    done = unrolled("train", "sonnets", "--out", "run", *SMALL, *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert len(re.findall("precision", done.stderr.decode())) == (not has_bfloat16_units())
    again = unrolled("train", "--resume", "--out", "run", "--max-steps", "14", cwd=tmp_path)
    assert "after 14 steps" in again.stdout.decode(), again.stderr.decode()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["precision"] == "bfloat16"
    assert SavedModel.load(tmp_path / "run").tensors["rnn.weight_hh_l0"].dtype == np.float32
    assert unrolled("score", "run", "Shall I", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[model]\nhiden_size = 5\n", "unknown key 'hiden_size' in [model]; did you mean hidden_size?"),
        ("[modle]\nhidden_size = 5\n", "unknown key 'modle' at the top level; did you mean model?"),
        ("[model]\nhidden_size = -5\n", "hidden_size is -5"),
        ('[model]\nhidden_size = "5"\n', "hidden_size is '5'; it must be a whole number"),
        ('[training]\nprecision = "bf16"\n', "precision is 'bf16'; it must be one of float32, bfloat16"),
        ("[model\n", "Expected ']'"),
    ],
)
def test_config_file_with_a_mistake_is_wrong_use(toml, message, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(toml)
    error = refusal(2, "train", "sonnets", "--out", tmp_path / "run", "--config", path)
    assert error.startswith(str(path))
    assert message in error
    assert not (tmp_path / "run").exists()


def test_config_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"[model]\n# caf\xe9\n")
    error = refusal(2, "train", "sonnets", "--out", "run", "--config", "run.toml", cwd=tmp_path)
    assert error == "run.toml: byte 13 is not UTF-8; convert the file to UTF-8"


@pytest.mark.parametrize("path", ["text", "/dev/zero"])
def test_config_file_that_is_far_too_large_is_not_read(path, tmp_path):
    with (tmp_path / "text").open("wb") as file:
        file.truncate(1 << 40)
    error = refusal(2, "train", "sonnets", "--out", "run", "--config", path, cwd=tmp_path)
    assert error == f"{path}: has more than 1,048,576 bytes, so it is no configuration"


@pytest.mark.parametrize("given", [["--optimiser", "sgd"], ["--config", "run.toml"]])
def test_what_a_configuration_warns_of_is_one_note(given, lines_file, tmp_path):
    (tmp_path / "run.toml").write_text('[training]\noptimiser = "sgd"\n')
    done = unrolled("train", lines_file, "--lines", "--out", "run", *SMALL, *given, cwd=tmp_path)
    (said,) = [line for line in done.stderr.decode().splitlines() if "sgd" in line]
    assert said.startswith("unrolled: note: sgd learns next to nothing")


@dataclass(frozen=True)
class MadeUp:
    steps: int | Literal["auto"] | None = None
    share: float = 0.5
    loud: bool = False
    note: str | None = None


@pytest.mark.parametrize(
    ("flags", "toml", "saved", "expected"),
    [
        ([], "", {}, MadeUp()),
        ([], "", {"steps": None, "share": 1e-7, "loud": True, "note": None}, MadeUp(None, 1e-7, True)),
        ([], "", {"steps": "auto"}, MadeUp("auto")),
        ([], "steps = 3\n", {"steps": "auto", "share": 0.1}, MadeUp(3, 0.1)),
        ([], 'steps = "auto"\nloud = true\n', {"steps": 3}, MadeUp("auto", loud=True)),
        (["--steps", "auto", "--no-loud"], "steps = 3\nloud = true\n", {"steps": 4}, MadeUp("auto")),
        (["--steps", "9"], "steps = 3\n", {"steps": None}, MadeUp(9)),
    ],
)
def test_flags_go_before_the_file_and_the_file_before_the_run(flags, toml, saved, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("unrolled.commands.configuration.RunConfig", mock.Mock())
    app = App(config=fill_in)

    @app.default
    def options(*, out: Path, config: Path, resume: bool, made_up: Annotated[MadeUp, Parameter(name="*")] = MadeUp()):
        return made_up

    save_checkpoint(tmp_path, 0, {}, {"config": {"model": saved, "data": None, "training": None}})
    (tmp_path / "run.toml").write_text(f"[model]\n{toml}")
    arguments = ["--out", str(tmp_path), "--config", str(tmp_path / "run.toml"), "--resume", *flags]
    assert app(arguments, result_action="return_value") == expected


def test_byte_order_mark_of_an_editor_is_dropped(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xef\xbb\xbf[training]\r\nmax_steps = 2\r\n")
    done = unrolled("train", "sonnets", "--out", "run", "--config", "run.toml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
