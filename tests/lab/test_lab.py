"""The laboratory: what is learned, measured, kept, refused and shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled.cli import run as command_line
from unrolled.config.lab import LabConfig
from unrolled.config.model import ModelConfig
from unrolled.lab import cache, experiment, memory
from unrolled.lab.examples import language_examples
from unrolled.lab.golden import golden
from unrolled.lab.heads import Recogniser, Tagger, Transducer
from unrolled.lab.measuring import first_failing, margins
from unrolled.lab.nets import Nets
from unrolled.lab.objectives import OBJECTIVES
from unrolled.lab.optimisers import Adam, RMSprop
from unrolled.lab.results import LabResult
from unrolled.lab.tables import Table, headline, summary
from unrolled.lab.tasks import task_experiment
from unrolled.languages import Lengths, get
from unrolled.languages.judging import ModelPredictor
from unrolled.languages.metrics import scan
from unrolled.languages.registry import task
from unrolled.saved.vocabulary import Vocabulary

SMALL = LabConfig(seeds=2, steps=5, lengths="uniform:1-5", samples=20)


@pytest.mark.parametrize("loss", ["softmax", "sets", "squared"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_gradients_are_those_of_autograd(cell, loss):
    from unrolled.lab import training

    language, config = get("anbncn"), replace(SMALL, cell=cell, loss=loss, batch_size=3, units=5, seeds=1)
    models = [experiment.new_model(language, config, 4)]
    examples = language_examples(language, Lengths(config.lengths), 20, loss, [4])
    nets = Nets(models, 3, examples.T)
    batch = examples.batch(3)
    losses = training.gradients(nets, batch, examples.answers, OBJECTIVES[loss])
    ids, codes = batch.ids, batch.codes

    target = torch.from_numpy(examples.answers.table.T[codes[0]])
    asked = torch.from_numpy(codes[0] != examples.answers.nothing)
    logits, _ = models[0](torch.from_numpy(ids[0].astype(np.int64)))
    if loss == "softmax":
        each = -(torch.log_softmax(logits, -1) * target).sum(-1)
    elif loss == "sets":
        each = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
    else:
        each = (torch.sigmoid(logits) - target).square().mean(-1)
    want = each[asked].mean()
    want.backward()
    assert losses[0] == pytest.approx(want.item(), rel=1e-5)
    nets.weights[...] = nets.gradients  # so that write_back names them
    gradients = {name: p.grad.clone() for name, p in models[0].named_parameters()}
    nets.write_back()
    for name, got in models[0].named_parameters():
        torch.testing.assert_close(
            got.detach(), gradients[name], rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(("ours", "theirs"), [(Adam, torch.optim.Adam), (RMSprop, torch.optim.RMSprop)])
def test_optimisers_are_those_of_torch(ours, theirs):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((1, 7)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(weights[0].copy()))
    optimiser, rule = theirs([parameter], lr=0.03), ours(weights)
    for _ in range(20):
        gradient = rng.standard_normal((1, 7)).astype(np.float32)
        weights -= rule(gradient, np.float32(0.03))
        parameter.grad = torch.from_numpy(gradient[0])
        optimiser.step()
    np.testing.assert_allclose(weights[0], parameter.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_lstm_counts_far_beyond_training_and_plain_training_does_not():
    config = LabConfig(seeds=3, first_seed=70, steps=2500, lengths="uniform:1-20")
    result, nets = experiment.experiment(get("anbn"), config, limit=300)
    plain, _ = experiment.experiment(get("anbn"), replace(config, gain=1.0), limit=300)
    assert result.median > plain.median
    assert result.median > 200
    assert scan(ModelPredictor(nets[0]), get("anbn"), [20]).shape == (1,)


def test_many_nets_are_measured_as_each_is_alone():
    language = get("anbncn")
    models = [golden("anbncn", "lstm"), *(experiment.new_model(language, replace(SMALL, units=3), s) for s in range(2))]
    models = [models[0], *(m for m in models[1:] if m.config.hidden_size == models[0].config.hidden_size)] * 9
    sizes = [1, 2, 3, 70, 333]
    together = margins(models, language, sizes, "sets")
    alone = [scan(ModelPredictor(model), language, sizes, strings=10) > 0 for model in models]
    assert ((together > 0) == np.array(alone)).all()
    assert first_failing(models[:1], language, 70, "sets") == [None]


def test_trained_nets_are_ordinary_models(tmp_path):
    _, nets = experiment.experiment(get("anbn"), SMALL, limit=6)
    nets[0].save_pretrained(tmp_path / "net")
    assert type(nets[0]).from_pretrained(tmp_path / "net").start.argmax() == 0


def test_result_survives_being_kept(tmp_path):
    result, _ = experiment.experiment(get("dyck-1"), replace(SMALL, cell="gru"), limit=9)
    kept = cache.kept(tmp_path, "one", {}, result.to_dict)
    assert LabResult.from_dict(kept) == result
    named = [("dyck-1, gru", result)]
    assert len(summary(named, ["mark"]).rows[0]) == len(summary(named, ["mark"]).headers)
    assert headline(named).rows[0][0] == "dyck-1, gru"


def test_interrupted_sweep_goes_on_where_it_was(tmp_path):
    done = []

    def compute(name):
        if name == "c" and "again" not in done:
            raise KeyboardInterrupt
        done.append(name)
        return {"name": name}

    def all_of_it():
        return [cache.kept(tmp_path, name, {"of": name}, lambda name=name: compute(name)) for name in "abc"]

    with pytest.raises(KeyboardInterrupt):
        all_of_it()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]
    done.append("again")
    assert [each["name"] for each in all_of_it()] == ["a", "b", "c"]
    assert done == ["a", "b", "again", "c"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "damaged"),
        (b'{"version": 9, "settings": {}, "result": {}}', "version 9"),
        (b'{"version": 1, "settings": {"steps": 3, "cell": "gru"}, "result": {}}', r"other settings \(steps\)"),
    ],
)
def test_result_that_does_not_fit_is_refused(tmp_path, content, said):
    (tmp_path / "one.json").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        cache.kept(tmp_path, "one", {"steps": 4, "cell": "gru"}, dict)


def test_table_is_csv_and_markdown():
    table = Table(("a", "b|c"), (("1", 'say "x", y'),))
    assert table.csv() == 'a,b|c\n1,"say ""x"", y"\n'
    assert table.markdown().splitlines()[0] == "| a | b\\|c |"


def lab_command(*arguments):
    return command_line(["lab", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["anbm"], "near it are anbn"),
        (["anbn", "--lengths", "uniform:9"], "'9' is no range"),
        (["anbn", "--lengths", "uniform:0-4"], "anbn has no string of size 0"),
        (["dyck-1", "--lengths", "uniform:0-4"], "the string of size 0 is empty"),
        (["anbn", "--seeds", "100000000"], "at most"),
        (["anbn", "--gain", "0.1"], "gain is 0.1"),
        (["anbn", "--cell", "gru", "--from-golden"], "gru"),
        (["reproduce", "suzgun"], "near it are suzgun2019"),
        (["reproduce", "gers2001", "--seeds", "-3"], "seeds is -3"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, said, capsys):
    assert lab_command(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_folder_that_cannot_be_written_is_told_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for command in (["anbn"], ["reproduce", "gers2001"]):
        assert lab_command(*command, "--out", tmp_path / "file" / "inside") == 1
        assert "cannot write" in capsys.readouterr().err


def test_command_writes_tables_pictures_and_nets_and_shows_them_again(tmp_path, capsys):
    arguments = ["anbn", "--seeds", 2, "--steps", 5, "--limit", 60, "--lengths", "uniform:1-9", "--out", tmp_path / "o"]
    assert lab_command(*arguments) == 0
    shown = capsys.readouterr().out
    there = {str(path.relative_to(tmp_path / "o")) for path in (tmp_path / "o").rglob("*")}
    assert {"result.json", "seeds.md", "summary.csv", "right.png", "nets/seed-1/config.json"} <= there
    assert "flatters" in shown
    before = (tmp_path / "o" / "result.json").stat().st_mtime_ns
    assert lab_command(*arguments) == 0
    assert (tmp_path / "o" / "result.json").stat().st_mtime_ns == before
    assert lab_command(*arguments, "--gain", 2) == 1
    assert "other settings (gain)" in capsys.readouterr().err


def test_drift_from_exact_weights_begins_exact(tmp_path, capsys):
    assert lab_command("anbn", "--seeds", 2, "--steps", 50, "--limit", 60, "--from-golden", "--out", tmp_path) == 0
    assert (tmp_path / "drift.png").stat().st_size > 1000
    assert (tmp_path / "drift.csv").read_text().splitlines()[1].startswith("0,> 60")


def test_unlimited_memory_is_not_assumed(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    with pytest.raises(MemoryError, match="at most 1 seeds fit"):
        memory.refuse_too_much(5 * 10**6, 9)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to know the memory a process took")
@pytest.mark.whole_process
def test_bytes_of_nets_are_about_what_they_take():
    shape = {"S": 40, "B": 16, "T": 104, "H": 8, "K": 4}
    code = (
        "from pathlib import Path; from unrolled.languages import Lengths, get; from unrolled.lab import experiment;"
        "from unrolled.config.lab import LabConfig;"
        "peak = lambda: 1024 * int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]);"
        "config = LabConfig(seeds=40, units=8, batch_size=16, samples=20, steps=2);"
        "from unrolled.lab.training import train; from unrolled.lab.examples import language_examples;"
        "models = [experiment.new_model(get('anbn'), config, s) for s in range(40)];"
        "examples = language_examples(get('anbn'), Lengths('list:50'), 20, 'softmax', range(40));"
        "before = peak(); train(models, examples, config); print(peak() - before)"
    )
    environment = os.environ | {"UNROLLED_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert 0.4 < Nets.bytes("LSTM", **shape) / int(out.stdout) < 2.5


@pytest.mark.parametrize("name", ["parity", "parity-each", "reverse"])
def test_tasks_are_learned_through_their_heads(name):
    from unrolled.languages.tasks import EachStep

    asked = EachStep(task("parity")) if name.endswith("-each") else task(name)
    config = LabConfig(
        cell="gru", units=9, seeds=2, steps=400, batch_size=8, samples=100, gain=1.0, learning_rate=0.02,
        lengths="uniform:1-3",
    )  # fmt: skip
    result, nets = task_experiment(asked, config, limit=4)
    assert {type(net) for net in nets} == {{"end": Recogniser, "each": Tagger, "after": Transducer}[asked.kind]}
    at_three = result.sizes.index(3)
    assert max(row[at_three] for row in result.symbols) > 0.95
    assert json.loads(json.dumps(result.to_dict()))["task"] == asked.name


@pytest.mark.parametrize("inputs", [Vocabulary("ab"), 3])
def test_heads_ignore_what_follows_the_end_of_a_row(inputs):
    torch.manual_seed(0)
    x = torch.randint(2, (6, 2)) if isinstance(inputs, Vocabulary) else torch.randn(6, 2, 3)
    lengths = torch.tensor([6, 4])
    config = ModelConfig(hidden_size=5, num_layers=2)
    for kind, options in ((Recogniser, {}), (Tagger, {}), (Transducer, {"N": 3})):
        model = kind(config, inputs, ["x", "y"]).eval()
        both = model(x, **options, lengths=lengths)
        alone = model(x[:4, 1:], **options)
        got = both[:4, 1:] if kind is Tagger else both[..., 1:, :]
        assert torch.equal(got, alone)


def test_heads_refuse_what_they_cannot_do():
    with pytest.raises(ValueError, match="embedding_size is 4"):
        Recogniser(ModelConfig(hidden_size=4, embedding_size=4), Vocabulary("ab"), "xy")
