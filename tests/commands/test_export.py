"""`unrolled export` writes a model in another format and says where it is; it never replaces what is there unasked."""

import ast
import inspect
import re
import subprocess
import sys

import pytest
import torch

from tests.commands.command_line import ENVIRONMENT, contents, refusal, unrolled
from tests.saved.networks import layer, text_networks
from unrolled import export, imports
from unrolled.formats.registry import FORMATS, format_of
from unrolled.saved.network import Network
from unrolled.saved.network_folder import save_network


def test_formats_are_the_functions_that_write_and_read_them():
    for module, verb, does in ((export, "to", "writes"), (imports, "from", "reads")):
        functions = {name for name, _ in inspect.getmembers(module, inspect.isfunction) if name.startswith(f"{verb}_")}
        assert functions == {f"{verb}_{name}" for name, each in FORMATS.items() if getattr(each, does)}


def test_help_lists_every_format_and_what_it_can_hold():
    shown = unrolled("export", "--help").stdout.decode().split("Formats:")[1]
    for name, each in FORMATS.items():
        assert (f"  {name} " in shown and each.holds in " ".join(shown.split())) == each.writes
    assert all(len(line) <= 120 for line in shown.splitlines())


def test_format_is_seen_by_the_end_of_a_name_and_by_the_file(tmp_path):
    for name, each in FORMATS.items():
        for suffix in each.suffixes if each.reads else ():
            alone = [other for other in FORMATS.values() if other.reads and f"x{suffix}".endswith(other.suffixes)]
            assert format_of(tmp_path / f"x{suffix}") == each or len(alone) > 1, name


@pytest.fixture
def plain(tmp_path):
    """The folder of a small text model that every format can hold."""
    save_network(tmp_path / "runs" / "lstm", dict(text_networks())["text-LSTM-one-hot"])
    return tmp_path / "runs" / "lstm"


def test_export_says_where_the_file_is_its_size_and_what_loads_it(plain):
    shown = unrolled("export", "runs/lstm", "--to", "flax", cwd=plain.parents[1]).stdout.decode().splitlines()
    assert shown[0] == "made runs/lstm.flax.safetensors: Flax, 2 kB"
    assert shown[1].startswith("next: in Python: ")
    assert "runs/lstm.flax.safetensors" in shown[1]


def test_export_does_not_replace_a_file_unasked(plain, tmp_path):
    (tmp_path / "x.npz").write_bytes(b"mine")
    said = refusal(1, "export", plain, "--to", "flax", "--out", tmp_path / "x.npz")
    assert said.endswith("x.npz: is already there; name another file with --out, or replace it with --overwrite")
    assert (tmp_path / "x.npz").read_bytes() == b"mine"
    done = unrolled("export", plain, "--to", "flax", "--out", tmp_path / "x.npz", "--overwrite")
    assert done.returncode == 0
    assert (tmp_path / "x.npz").read_bytes()[:2] == b"PK"


def test_export_replaces_a_folder_only_when_told(plain, tmp_path):
    out = tmp_path / "model-hub"
    assert unrolled("export", plain, "--to", "hub", "--out", out).returncode == 0
    assert "is already there" in refusal(1, "export", plain, "--to", "hub", "--out", out)
    assert unrolled("export", plain, "--to", "hub", "--out", out, "--overwrite").returncode == 0


def test_export_of_what_a_format_cannot_hold_is_refused_and_writes_nothing(tmp_path):
    save_network(tmp_path / "model", Network((layer("LSTM", 3, 5, P=2),)))
    before = contents(tmp_path)
    said = refusal(1, "export", tmp_path / "model", "--to", "flax")
    assert said.startswith("Flax cannot hold the projection of layer 0: ")
    assert contents(tmp_path) == before


def test_card_of_a_model_has_the_figures_of_its_run_and_no_paths(run, tmp_path):
    out, shown = run
    done = unrolled("export", out, "--to", "hub", "--out", tmp_path / "card")
    assert done.returncode == 0, done.stderr.decode()
    card = (tmp_path / "card" / "README.md").read_text()
    bits = dict(re.findall(r"^\| (\S+) \| ([\d.]+) \|$", card, re.MULTILINE))
    assert bits["bigram"] in shown
    (own,) = re.findall(r"^\| \*\*this model\*\* \| ([\d.]+) \|$", card, re.MULTILINE)
    assert f" {own} " in shown
    assert "symbols of the test split" in card
    assert (
        unrolled("generate", tmp_path / "card", "--seed", "1").stdout == unrolled("generate", out, "--seed", "1").stdout
    )


def test_card_of_other_weights_has_no_figures(copied, tmp_path):
    from unrolled.lm import SequenceModel

    model = SequenceModel.from_pretrained(copied)
    with torch.no_grad():
        model.b_y.add_(1)
    model.save_pretrained(copied, overwrite=True)
    assert unrolled("export", copied, "--to", "hub", "--out", tmp_path / "card").returncode == 0
    assert "bits/symbol" not in (tmp_path / "card" / "README.md").read_text()


def test_export_of_a_model_that_is_not_there_is_refused(tmp_path):
    assert "nowhere: no config.json" in refusal(1, "export", "nowhere", "--to", "flax", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_export_names_the_formats_for_one_that_is_none(plain):
    assert "flax" in refusal(2, "export", plain, "--to", "flaks")
    assert "export needs --to" in refusal(2, "export", plain)


@pytest.mark.parametrize("name", [name for name, each in FORMATS.items() if each.writes and not each.extra])
def test_format_without_an_extra_is_written_and_read_without_torch(name, plain, tmp_path):
    code = f"""
import sys
sys.modules["torch"] = None
from unrolled.cli import run
out = {str(tmp_path / "file")!r} + {FORMATS[name].suffixes[0]!r}
codes = [run(["export", {str(plain)!r}, "--to", {name!r}, "--out", out])]
if {FORMATS[name].reads}:
    codes.append(run(["import", out, "--format", {name!r}, "--out", {str(tmp_path / "back")!r}]))
print(codes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert not any(ast.literal_eval(done.stdout.splitlines()[-1])), done.stderr
