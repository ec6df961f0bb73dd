"""A checkpoint whose checksums are right and whose contents are not: one sentence that names the file."""

import copy
import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
import safetensors.numpy
import torch

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus import Corpus
from unrolled.lm import SequenceModel, train
from unrolled.lm.run_state import ResumeError
from unrolled.saved.atomic_files import FORMAT_VERSION, CheckpointError, pack, sha256
from unrolled.saved.checkpoints import latest

CORPUS = Corpus.from_text("abcabca" * 30, validation=0.2, test=0)
#: Options of training, and whether an optimiser keeps a number of steps.
RULES = {
    "adamw": {"optimiser": "adamw"},
    "sgd": {"optimiser": "sgd", "learning_rate": 0.5},
    "sgd without momentum": {"optimiser": "sgd", "learning_rate": 0.5, "momentum": 0.0},
    "rmsprop": {"optimiser": "rmsprop", "schedule": "plateau"},
}
#: What may have any value of its type.
BELIEVED = {"symbols", "seconds", "nats", "norm", "steps", "best", "waited", "framed"}
BELIEVED |= {"validated", "logged_symbols", "logged_seconds"}
WRONG = [None, "x", -1, -0.5, True, [], {}, 2**63, 1e308, {"a": 1}]


def trained(folder, rule="adamw", **options):
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(cell="lstm", hidden_size=5), CORPUS.vocabulary, framed=False)
    config = {"max_steps": 5, "validate_every": 2, "log_every": 3, "batch_size": 2, "bptt": 11, **RULES[rule]}
    return train(model, CORPUS, TrainingConfig(**config), folder, **options)


@pytest.fixture(scope="module", params=RULES)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    trained(folder, request.param)
    return folder, request.param


def change(folder, *, state=lambda state: None, tensors=lambda tensors: None):
    """Change the latest checkpoint in place, and make its checksums right again."""
    checkpoint = latest(folder)
    arrays = safetensors.numpy.load_file(checkpoint / "training.safetensors")
    tensors(arrays)
    training = json.loads((checkpoint / "training.json").read_bytes())
    state(training["state"])
    packed = pack(arrays)
    described = json.dumps(training | {"sha256": sha256(packed)}).encode()
    (checkpoint / "training.safetensors").write_bytes(packed)
    (checkpoint / "training.json").write_bytes(described)
    named = {"format_version": FORMAT_VERSION, "checkpoint": checkpoint.name, "sha256": sha256(described)}
    (folder / "checkpoints" / "latest").write_text(json.dumps(named))


def refusal(run, scratch, **changes):
    """Resume a changed copy of a run, which must be refused; return the sentence."""
    folder, rule = run
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch)
    change(scratch, **changes)
    with pytest.raises((CheckpointError, ResumeError)) as caught:
        trained(scratch, rule, resume=True)
    said = str(caught.value)
    assert "\n" not in said
    assert isinstance(caught.value, ResumeError) or "training." in said, said
    return said


def paths(value, at=()):
    """Every key of nested objects that version 0.1 wrote too, as the keys that lead to it."""
    for key, below in value.items():
        if key in ("metrics", "validation_symbols"):
            continue
        yield (*at, key)
        if isinstance(below, dict):
            yield from paths(below, (*at, key))


def state_of(folder):
    return json.loads((latest(folder) / "training.json").read_bytes())["state"]


def at(path, do):
    def changed(state):
        for key in path[:-1]:
            state = state[key]
        do(state, path[-1])

    return changed


def test_resume_goes_on_from_an_unchanged_state(run, tmp_path):
    folder, rule = run
    shutil.copytree(folder, tmp_path / "run")
    change(tmp_path / "run")
    assert trained(tmp_path / "run", rule, resume=True).steps == 5


def test_resume_goes_on_from_a_run_longer_than_any_option_may_be(tmp_path):
    trained(tmp_path / "run")
    change(tmp_path / "run", state=lambda state: state["clock"].update(symbols=3 * 2**31, logged_symbols=3 * 2**31))
    assert trained(tmp_path / "run", resume=True).steps == 5


def test_resume_refuses_a_state_without_one_of_its_keys(run, tmp_path):
    optional = {"model", "training"}  # below these, an option that an earlier version did not know
    for path in paths(state_of(run[0])):
        if path[0] != "config" or path[1:] in [(each,) for each in (*optional, "framed")]:
            said = refusal(run, tmp_path / "run", state=at(path, dict.pop))
            assert f"`{path[-1]}`" in said, (path, said)


def test_resume_refuses_a_state_with_a_key_more(run, tmp_path):
    for path in [(), *[(key,) for key in ("feed", "schedule", "progress", "clock", "meter")]]:
        said = refusal(run, tmp_path / "run", state=at((*path, "more"), lambda state, key: state.update({key: 1})))
        assert "unknown field `more`" in said, said


@pytest.mark.filterwarnings("ignore:the model predicts worse than a uniform guess")
def test_resume_refuses_or_survives_a_state_with_any_wrong_value(run, tmp_path):
    """A number that a run could have is believed: how many symbols it read, how long it took."""
    folder, rule = run
    believed = set()
    for path in paths(state_of(folder)):
        if path[0] == "config" and len(path) > 2:
            continue  # an option is compared with that of the run
        for value in WRONG:
            scratch = tmp_path / "run"
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(folder, scratch)
            change(scratch, state=at(path, lambda state, key, value=value: state.update({key: copy.deepcopy(value)})))
            with suppress(CheckpointError, ResumeError):
                trained(scratch, rule, resume=True)
                believed.add(path[-1])
    assert believed <= BELIEVED


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (lambda t: t.pop("values"), "'values' is missing"),
        (lambda t: t.update(more=np.zeros(1)), "'more' is not expected"),
        (lambda t: t.update(best=t["best"][:-1]), r"'best' is float32"),
        (lambda t: t.update({"carried.0": t["carried.0"][:, :1]}), "expected float32 (L, B, H) = (1, 2, 5)"),
        (lambda t: t.pop("carried.1"), "'carried.1' is missing"),
        (lambda t: t["values"].fill(np.nan), "non-finite numbers"),
        (lambda t: t.update(rng=t["rng"][:-8]), "'rng' is uint8"),
        (lambda t: t["rng"].fill(255), "'rng' is no state"),
    ],
)
def test_resume_names_the_tensor_that_is_not_of_the_run(run, tensors, said, tmp_path):
    assert said in refusal(run, tmp_path / "run", tensors=tensors)


@pytest.mark.parametrize("steps", [-1, 0, 6, 1e30])
@pytest.mark.parametrize("run", ["adamw", "rmsprop"], indirect=True)
def test_resume_refuses_an_optimiser_of_another_step(run, steps, tmp_path):
    said = refusal(run, tmp_path / "run", tensors=lambda t: t["optimiser.step"].fill(steps))
    assert f"training.safetensors: the optimiser is at step {steps:g}, the run at step 5" in said


@pytest.mark.parametrize(("run", "name"), [("adamw", "exp_avg_sq"), ("rmsprop", "square_avg")], indirect=["run"])
def test_resume_refuses_a_mean_of_squares_below_zero(run, name, tmp_path):
    said = refusal(run, tmp_path / "run", tensors=lambda t: t[f"optimiser.{name}"].fill(-1))
    assert f"'optimiser.{name}', a mean of squares, has numbers below 0" in said


def test_resume_refuses_a_position_that_does_not_follow_from_the_steps(run, tmp_path):
    for epoch, index in ((10**15, 0), (0, 4), (0, 10**9), (1, 5)):
        position = {"epoch": epoch, "index": index}
        said = refusal(run, tmp_path / "run", state=at(("feed", "index"), lambda feed, _, p=position: feed.update(p)))
        assert f"training.json: batch {index:,} of epoch {epoch + 1:,}, expected the one after which 5 steps" in said
