"""Models and checkpoints that are damaged or foreign are refused by every command that reads them."""

import pytest

from tests.commands.command_line import contents, refusal
from tests.saved import seal


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("training.safetensors", lambda data: data[:-5], "training.safetensors: damaged"),
        ("training.json", lambda data: data.replace(b'"step": ', b'"step": 1'), "training.json: damaged"),
        ("latest", lambda data: b'{"format_version": 99}', "latest: format version 99; this release reads 1"),
    ],
)
def test_resume_of_a_damaged_or_foreign_checkpoint_is_refused(file, spoil, says, copied):
    (path,) = copied.rglob(file)
    path.write_bytes(spoil(path.read_bytes()))
    before = contents(copied)
    assert says in refusal(1, "train", "--resume", "--out", copied, "--max-steps", "16")
    assert contents(copied) == before


@pytest.mark.parametrize("command", ["generate", "score", "evaluate"])
def test_damaged_and_foreign_models_are_refused(command, run, tmp_path):
    out, _ = run
    text = ["a"] if command == "score" else []
    assert "no config.json" in refusal(1, command, tmp_path, *text)
    for file in ("config.json", "vocabulary.json", "model.safetensors"):
        (tmp_path / file).write_bytes((out / file).read_bytes())
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert "model.safetensors: damaged" in refusal(1, command, tmp_path, *text)
    (tmp_path / "config.json").write_text("{}")
    assert "config.json" in refusal(1, command, tmp_path, *text)


@pytest.mark.parametrize("command", ["generate", "score", "evaluate", "view", "explain"])
@pytest.mark.parametrize(
    ("part", "change", "file"),
    [
        ("vocabulary", lambda v: v | {"symbols": v["symbols"][:-1]}, "model.safetensors"),
        ("config", lambda c: c | {"model": c["model"] | {"num_layers": 3}}, "model.safetensors"),
        ("config", lambda c: c | {"model": c["model"] | {"cell": "x"}}, "config.json"),
        ("config", lambda c: c | {"framed": None}, "config.json"),
        ("tensors", lambda data: data[:-4], "model.safetensors"),
    ],
)
def test_model_whose_parts_do_not_fit_is_refused_by_every_command(command, part, change, file, copied):
    seal.change(copied, **{part: change})
    text = [] if command == "evaluate" else ["a"]
    assert refusal(1, command, copied, *text).startswith(f"{copied / file}: ")


@pytest.mark.parametrize("command", ["score", "view", "generate"])
@pytest.mark.parametrize(
    ("section", "changed"),
    [("data", {"validation": "x"}), ("training", {"bptt": 0}), ("model", {"dropout": 2}), ("data", {"lines": True})],
)
def test_options_that_were_changed_in_a_model_are_named_with_their_file(command, section, changed, copied):
    seal.change(copied, config=lambda c: c | {section: c[section] | changed})
    said = refusal(1, command, copied, "thee")
    (key,) = changed
    assert said.startswith(f"{copied}/config.json: not the config of a model: [{section}] {key} is ")
    assert said.endswith("; it was changed by hand, or damaged")
    assert "--" not in said
