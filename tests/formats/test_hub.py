"""Models go to the hub and come back by huggingface_hub itself, from a hub that is a folder of this machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.formats.local_hub import local_hub
from tests.saved.networks import networks
from unrolled import runtime
from unrolled.export import to_hub
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_hub
from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.measured import load_measured, save_measured
from unrolled.saved.network_folder import load_network, save_network

pytest.importorskip("huggingface_hub", reason="the extra [hub] is not installed")
ROOT = Path(__file__).parents[2]
NETWORKS = dict(networks())


@pytest.fixture
def model():
    return SequenceModel(ModelConfig(cell="gru", hidden_size=5), Vocabulary("abc", "characters"), framed=False)


@pytest.fixture
def hub(tmp_path):
    """Yield what runs Python with a hub in a folder: in a process of its own, for the client reads its address once."""
    with local_hub(tmp_path / "hub") as address:

        def python(code, **more):
            environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "none"}
            environment |= {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1", "COLUMNS": "200", **more}
            command = [sys.executable, "-c", code]
            return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

        yield python


def test_model_is_pushed_and_loaded_by_its_id(hub, model, tmp_path):
    model.save_pretrained(tmp_path / "here")
    done = hub("""
from unrolled.lm import SequenceModel
from unrolled import export
SequenceModel.from_pretrained("here").push_to_hub("somebody/abc")
print(export.push_to_hub("here", "somebody/abc", license="mit", private=True))
loaded = SequenceModel.from_pretrained("somebody/abc", dropout=0.5)
loaded.save_pretrained("back")
again = SequenceModel.from_pretrained("somebody/abc", local_files_only=True)
print(loaded.config.dropout, again)
""")
    assert done.returncode == 0, done.stderr
    address, shown = done.stdout.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/somebody/abc/commit/[0-9a-f]{40}", address)
    assert shown.startswith("0.5 SequenceModel(GRU, V 5, H 5")
    names = {file.name for file in (tmp_path / "hub" / "somebody" / "abc").iterdir()}
    assert names == {"README.md", "config.json", "vocabulary.json", "model.safetensors"}
    before, after = (runtime.load(tmp_path / name) for name in ("here", "back"))
    np.testing.assert_array_equal(before.score("abcab").bits, after.score("abcab").bits)


def test_command_imports_a_model_of_the_hub_by_its_id(hub, model, tmp_path):
    to_hub(model, tmp_path / "hub" / "somebody" / "abc")
    done = hub("from unrolled.cli import main; main(['import', 'hub:somebody/abc', '--out', 'back'])")
    assert done.returncode == 0, done.stderr
    assert "hub:somebody/abc: Hugging Face hub\n  reads 5 symbols, one-hot\n" in done.stdout
    assert load_network(tmp_path / "back").text.vocabulary == model.vocabulary


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "hub:somebody/nothing",
            "somebody/nothing: is no folder here, and not on the hub, or not public; check the name",
        ),
        ("hub:some body", "some body: is no folder here, and cannot be had from the hub: "),
        ("hub:somebody/empty", "somebody/empty: has no config.json, so it is no model of this package"),
        ("hub:somebody/broken", "config.json: damaged, or written by something else"),
    ],
)
def test_id_that_is_no_model_is_said_in_one_sentence(name, said, hub, tmp_path):
    for made in ("empty", "broken"):
        (tmp_path / "hub" / "somebody" / made).mkdir(parents=True)
        (tmp_path / "hub" / "somebody" / made / "README.md").write_text("so long")
    (tmp_path / "hub" / "somebody" / "broken" / "config.json").write_text("{")
    done = hub(f"from unrolled.cli import main; main(['import', {name!r}, '--out', 'back'])")
    errors = [line for line in done.stderr.splitlines() if line.startswith("unrolled: ")]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [said in line for line in errors] == [True], done.stderr
    assert not (tmp_path / "back").exists()


def test_hub_that_cannot_be_reached_is_said(hub):
    code = "from unrolled.lm import SequenceModel; SequenceModel.from_pretrained('somebody/abc')"
    done = hub(code, HF_ENDPOINT="http://127.0.0.1:9")
    assert (
        "FormatError: somebody/abc: is no folder here, and cannot be had from the hub: " in done.stderr.splitlines()[-1]
    )
    code = "from unrolled.lm import SequenceModel; SequenceModel.from_pretrained('here').push_to_hub('somebody/abc')"
    assert "here: no config.json" in hub(code).stderr


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_comes_back_from_its_folder(name, tmp_path):
    to_hub(NETWORKS[name], tmp_path / "model-hub", license="apache-2.0")
    found = from_hub(tmp_path / "model-hub")
    before, after = NETWORKS[name].tensors(), found.tensors()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])
    head = (tmp_path / "model-hub" / "README.md").read_text().split("---\n")[1]
    assert "library_name: unrolled\nlicense: apache-2.0\n" in head
    assert ("pipeline_tag: text-generation" in head) == (NETWORKS[name].text is not None)


def test_card_is_read_by_the_hub_s_own_reader(model):
    from huggingface_hub import ModelCard

    from unrolled.formats.hub import card

    data = ModelCard(card(model.network(), None, "mit")).data
    assert (data.library_name, data.license, data.tags) == ("unrolled", "mit", ["unrolled", "gru"])


def test_paths_of_training_data_stay_here(model, tmp_path):
    from dataclasses import replace

    network = model.network()
    origin = network.origin | {"sources": ["/home/somebody/secret/text.txt", "sonnets"]}
    origin |= {
        "data": {"tokenizer": "/secret/tokenizer.json", "min_count": 2},
        "started_from": {"folder": "/secret/run"},
    }
    to_hub(replace(network, origin=origin), tmp_path / "model")
    assert "secret" not in (tmp_path / "model" / "config.json").read_text()
    kept = load_network(tmp_path / "model").origin
    assert kept["sources"] == ["text.txt", "sonnets"]
    assert (kept["data"], kept["started_from"]) == ({"tokenizer": "tokenizer.json", "min_count": 2}, {"folder": "run"})


def test_license_that_is_none_is_refused(model, tmp_path):
    with pytest.raises(FormatError, match="license is 'mit\\\\ntags: x'; expected a name as of the hub"):
        to_hub(model, tmp_path / "model", license="mit\ntags: x")


@pytest.mark.parametrize("license", ["no", "Yes", "null", "off", "1.0", "2", "1e5", "1.5e-5", "-", "..."])
def test_license_that_yaml_would_read_as_something_else_is_refused(license, model, tmp_path):
    with pytest.raises(FormatError, match="expected a name as of the hub"):
        to_hub(model, tmp_path / "model", license=license)


@pytest.mark.parametrize("license", ["0bsd", "mit", "cc-by-4.0", "bsd-3-clause", "pddl"])
def test_license_is_text_in_the_head_of_the_card(license, model, tmp_path):
    from huggingface_hub import ModelCard

    to_hub(model, tmp_path / "model", license=license)
    assert ModelCard.load(tmp_path / "model" / "README.md").data.license == license


def test_folder_of_a_model_is_not_replaced_unasked(model, tmp_path):
    to_hub(model, tmp_path / "model")
    with pytest.raises(CheckpointError, match="a model is already there"):
        to_hub(model, tmp_path / "model")
    to_hub(model, tmp_path / "model", overwrite=True)


def test_what_was_measured_is_of_these_weights_alone(model, tmp_path):
    measured = {"of": "the test split", "symbols": 9, "bits": 2.5, "baselines": {"uniform": {"bits": float("inf")}}}
    save_network(tmp_path, model.network())
    assert load_measured(tmp_path) is None
    save_measured(tmp_path, measured)
    assert load_measured(tmp_path) == measured | {"baselines": {"uniform": {"bits": None}}}
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"evaluation\.json: damaged, or written by something else"):
        load_measured(tmp_path)
