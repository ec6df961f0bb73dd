"""`unrolled export` writes a model in another format and says where it is; it never replaces what is there unasked."""

import ast
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from tests.commands.command_line import ENVIRONMENT, SMALL, contents, refusal, unrolled
from tests.saved.networks import layer, text_networks
from unrolled import export, imports, runtime
from unrolled.formats.registry import FORMATS, format_of
from unrolled.saved.narrow import narrowed
from unrolled.saved.network import Head, Network
from unrolled.saved.network_folder import load_network, save_network
from unrolled.words import sized


def test_formats_are_the_functions_that_write_and_read_them():
    for module, verb, does in ((export, "to", "writes"), (imports, "from", "reads")):
        functions = {name for name, _ in inspect.getmembers(module, inspect.isfunction) if name.startswith(f"{verb}_")}
        assert functions == {f"{verb}_{name}" for name, each in FORMATS.items() if getattr(each, does)}


def test_formats_have_the_weights_that_their_functions_take():
    for name, each in FORMATS.items():
        if each.writes:
            hints = get_type_hints(getattr(export, f"to_{name}"))
            taken = {*get_args(hints.get("weights"))} | {w for a in get_args(hints.get("weights")) for w in get_args(a)}
            assert {w for w in taken if isinstance(w, str)} == {*each.weights}, name


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
    shutil.rmtree(copied / "checkpoints")  # resuming the run would bring the old weights back
    model.save_pretrained(copied, overwrite=True)
    assert unrolled("export", copied, "--to", "hub", "--out", tmp_path / "card").returncode == 0
    assert "bits/symbol" not in (tmp_path / "card" / "README.md").read_text()


def test_export_of_a_model_that_is_not_there_is_refused(tmp_path):
    assert "nowhere: no config.json" in refusal(1, "export", "nowhere", "--to", "flax", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_export_names_the_formats_for_one_that_is_none(plain):
    assert "flax" in refusal(2, "export", plain, "--to", "flaks")
    assert "export needs --to FORMAT, or --weights" in refusal(2, "export", plain)


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_weights_alone_write_the_folder_of_a_model_beside_it(run, tmp_path, weights):
    shutil.copytree(run[0], tmp_path / "a")
    done = unrolled("export", "a", "--weights", weights, cwd=tmp_path)
    assert done.stdout.decode().startswith(f"made a-{weights}: a model with weights in {weights}, ")
    found, want = load_network(tmp_path / f"a-{weights}"), narrowed(load_network(run[0]), weights)
    assert found.narrow == want.narrow
    for name, w in want.tensors().items():
        np.testing.assert_array_equal(found.tensors()[name], w)
    assert "is already there" in refusal(1, "export", "a", "--weights", weights, cwd=tmp_path)
    assert unrolled("export", "a", "--weights", weights, "--overwrite", cwd=tmp_path).returncode == 0


def test_small_weights_are_widened_by_float32(plain, tmp_path):
    unrolled("export", plain, "--weights", "int8", "--out", tmp_path / "small")
    unrolled("export", tmp_path / "small", "--weights", "float32", "--out", tmp_path / "wide")
    small, wide = (load_network(tmp_path / name) for name in ("small", "wide"))
    assert (small.narrow, wide.narrow) == ("int8", None)
    for name, w in small.tensors().items():
        np.testing.assert_array_equal(wide.tensors()[name], w)


def rows(shown):
    """Return the rows of a table by their first cell."""
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in shown.splitlines() if line[:1] == "│"]
    return {name: others for name, *others in cells}


@pytest.mark.parametrize("data", ["text", "sequences"])
def test_check_gives_the_sizes_and_the_bits_that_evaluate_gives(data, run, lines_file, tmp_path):
    model = run[0]
    if data == "sequences":
        model = tmp_path / "model"
        assert unrolled("train", lines_file, "--lines", "--out", model, *SMALL).returncode == 0
    done = unrolled("export", model, "--weights", "int8", "--out", tmp_path / "small", "--check")
    found = rows(done.stdout.decode())
    folders = [model, tmp_path / "small"]
    assert found["model.safetensors"] == [sized((each / "model.safetensors").stat().st_size) for each in folders]
    ((label, bits),) = [row for row in found.items() if row[0].startswith("bits/symbol")]
    for folder, shown in zip(folders, bits, strict=True):
        measured = json.loads(unrolled("evaluate", folder, "--no-baselines", "--json").stdout)
        assert label == f"bits/symbol, {measured['symbols']:,} symbols of the test split"
        assert abs(float(shown) - measured["bits"]) < (1e-4 if folder == model else 1e-2)  # torch computes in float32
    assert all(cell.endswith(" ns") for cell in found["one step"])


def test_check_of_a_text_model_whose_data_is_gone_says_so_and_gives_the_rest(plain, tmp_path):
    done = unrolled("export", plain, "--weights", "bfloat16", "--out", tmp_path / "small", "--check")
    assert done.returncode == 0
    assert b"records no files that it was trained on; compared without bits per symbol" in done.stderr
    assert [*rows(done.stdout.decode())] == ["model.safetensors", "outputs on random input", "one step"]


@pytest.mark.parametrize("D", [1, 2])
def test_check_of_a_network_of_vectors_compares_outputs(D, tmp_path):
    network = Network((layer("GRU", 3, 5, D),))
    save_network(tmp_path / "model", network)
    done = unrolled("export", tmp_path / "model", "--weights", "int8", "--check")
    largest, difference = rows(done.stdout.decode())["outputs on random input"]
    x = np.random.default_rng(0).normal(size=(64, 8, 3)).astype(np.float32)
    y, other = (runtime.load(each).feed(x) for each in (network, narrowed(network, "int8")))
    assert (largest, difference) == (f"up to {abs(y).max():.3g}", f"off by {abs(y - other).max():.2g}")
    assert ("one step" in rows(done.stdout.decode())) == (D == 1)


def test_weights_go_to_the_formats_that_take_them(plain, tmp_path):
    assert unrolled("export", plain, "--to", "c", "--weights", "int8", "--out", tmp_path / "a.h").returncode == 0
    assert "matrices in int8" in (tmp_path / "a.h").read_text()
    assert unrolled("export", plain, "--to", "html", "--weights", "int8", "--out", tmp_path / "a.html").returncode == 0
    assert '"kept":"int8"' in (tmp_path / "a.html").read_text().replace(" ", "")
    said = refusal(2, "export", plain, "--to", "flax", "--weights", "int8")
    assert "--weights is int8, but Flax has no choice of weights" in said
    said = refusal(2, "export", plain, "--to", "c", "--weights", "bfloat16")
    assert "--weights is bfloat16, but C99 has float32 and int8" in said
    assert "--check compares folders of models; leave out --to" in refusal(2, "export", plain, "--to", "c", "--check")


def test_check_without_weights_is_refused(plain):
    assert "export needs --to FORMAT, or --weights" in refusal(2, "export", plain, "--check")


#: Networks for formats that hold no network of text.
VECTORS = {
    "rtneural": Network((layer("LSTM", 3, 5),)),
    "nam": Network((layer("LSTM", 1, 5),), head=Head(np.ones((1, 5), np.float32), np.ones(1, np.float32))),
}


@pytest.mark.parametrize("name", [name for name, each in FORMATS.items() if each.writes and not each.extra])
def test_format_without_an_extra_is_written_and_read_without_torch(name, plain, tmp_path):
    if name in VECTORS:
        save_network(plain, VECTORS[name], overwrite=True)
    code = f"""
import sys
sys.modules["torch"] = None
from unrolled.cli import run
out = {str(tmp_path / "file")!r} + {FORMATS[name].suffixes[0]!r}
codes = [run(["export", {str(plain)!r}, "--to", {name!r}, "--out", out])]
codes.append(run(["export", {str(plain)!r}, "--weights", "int8", "--check"]))
if {FORMATS[name].reads}:
    codes.append(run(["import", out, "--format", {name!r}, "--out", {str(tmp_path / "back")!r}]))
print(codes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert not any(ast.literal_eval(done.stdout.splitlines()[-1])), done.stderr


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocabulary.json", "checkpoints/latest"])
def test_no_command_writes_over_a_part_of_a_model(copied, name):
    before = contents(copied)
    for command in (["export", copied, "--to", "torch", "--overwrite"], ["generate", copied]):
        said = refusal(1, *command, "--out", copied / name)
        assert f"{name}: a part of the model in {copied}, which would be lost; name another file" in said
    assert contents(copied) == before
    assert unrolled("generate", copied, "--out", copied / "sample.txt", "--max-length", "5").returncode == 0


def test_what_loads_a_file_can_be_typed_whatever_its_name_is(plain, tmp_path):
    said = {}
    for name, out in (("onnx", "it's \\ mine.onnx"), ("flax", "it's.npz"), ("hub", "my 'own' model")):
        done = unrolled("export", plain, "--to", name, "--out", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout.decode().splitlines()[1].removeprefix("next: ").removeprefix("in Python: ")
    for name, out in (("onnx", "it's \\ mine.onnx"), ("flax", "it's.npz")):
        quoted = [node.value for node in ast.walk(ast.parse(said[name])) if isinstance(node, ast.Constant)]
        assert out in quoted
    assert shlex.split(said["hub"]) == ["hf", "upload", "OWNER/NAME", "my 'own' model"]
