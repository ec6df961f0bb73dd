"""`unrolled train` in the processes that torchrun starts.  Each start takes seconds, so one run shows several things.

More of it, on three processes, on two hosts and with every process killed, is `make ranks`.
"""

import json
import os
import signal
import time

import pytest

from tests.commands.command_line import unrolled
from tests.commands.torchrun import ended, start, start_ranks, together, workers
from tests.commands.two_hosts import ADDRESSES, NotPermitted, two_hosts
from tests.lm.runs import metrics

DROPPED = ["--cell", "gru", "--hidden-size", "8", "--num-layers", "2", "--embedding-size", "6", "--dropout", "0.3",
           "--weight-dropout", "0.2", "--batch-size", "5", "--bptt", "16", "--log-every", "10", "--validate-every",
           "40", "--max-epochs", "0", "--learning-rate", "0.01", "--schedule", "constant", "--warmup-steps", "0",
           "--precision", "float32"]  # fmt: skip
ENDLESS = ["sonnets", "--hidden-size", "8", "--batch-size", "4", "--bptt", "16", "--max-steps", "1000000",
           "--max-epochs", "0", "--log-every", "1"]  # fmt: skip


def last_step(out):
    """The last step that a run has noted; 0 before the first."""
    lines = (out / "metrics.jsonl").read_text().splitlines() if (out / "metrics.jsonl").exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def wait_for_step(step, out, process):
    """Wait until a run has noted a step."""
    until = time.monotonic() + 60
    while last_step(out) < step:
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_two_processes_train_as_one_with_dropout_and_either_goes_on_with_the_run(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert unrolled("train", "sonnets", "--out", one, *DROPPED, "--max-steps", 100).returncode == 0
    code, shown, said, error = together("train", "sonnets", "--out", two, *DROPPED, "--max-steps", 60)
    assert code == 0, error
    assert "2 processes share each batch, with " in shown
    assert shown.count("ended by max_steps") == 1  # of the first process only
    assert not said
    resumed = start_ranks(*[["train", "--resume", "--out", two, "--max-steps", 80]] * 2)
    for code, _, said, error in map(ended, resumed):
        assert (code, said) == (0, []), error
    assert unrolled("train", "--resume", "--out", two, "--max-steps", 100).returncode == 0
    found, expected = ({line["step"]: line for line in metrics(run) if "nats" in line} for run in (two, one))
    assert found.keys() == expected.keys()
    for step, line in expected.items():
        assert found[step]["nats"] == pytest.approx(line["nats"], abs=1e-6)
        assert found[step]["symbols"] == line["symbols"]


def test_signal_to_one_process_ends_all_and_saves_and_a_killed_one_is_named(tmp_path):
    out = tmp_path / "run"
    process = start("train", *ENDLESS, "--out", out)
    wait_for_step(1, out, process)
    os.kill(workers(process, 2)[1], signal.SIGTERM)
    code, shown, said, error = ended(process)
    assert code == 0, error
    assert f"unrolled train --resume --out {out}" in shown
    assert not said

    first, victim = start_ranks(*[["train", "--resume", "--out", out]] * 2)
    wait_for_step(last_step(out) + 1, out, first)
    victim.kill()
    killed = time.monotonic()
    code, _, said, error = ended(first)
    ended(victim)
    assert time.monotonic() - killed < 20
    assert code == 1
    assert len(said) == 1, error
    assert said[0].startswith(f"unrolled: rank 1 (pid {victim.pid} on ")
    assert "has died" in said[0]


def test_two_hosts_train_as_one(tmp_path):
    """Two network namespaces; the interface that leads to the other is found without being named."""
    flags = ["train", "sonnets", *DROPPED, "--max-steps", 20]
    try:
        with two_hosts() as (hosts, _):
            each = [[*flags, "--out", tmp_path / f"host{k}"] for k in (0, 1)]
            found = [*map(ended, start_ranks(*each, prefixes=hosts, address=ADDRESSES[0]))]
    except NotPermitted as reason:
        pytest.skip(str(reason))
    assert [code for code, *_ in found] == [0, 0], found
    assert found[1][1] == ""  # the second host prints nothing
    assert not (tmp_path / "host1").exists()
    assert unrolled(*flags, "--out", tmp_path / "alone").returncode == 0
    losses = [[line.get("nats") for line in metrics(tmp_path / run)] for run in ("host0", "alone")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_process_with_other_options_is_named_before_anything_is_written(tmp_path):
    each = [["train", "sonnets", "--hidden-size", size, "--out", tmp_path / f"run{size}"] for size in (8, 12)]
    found = [*map(ended, start_ranks(*each))]
    assert all(code != 0 for code, *_ in found)
    [said] = [line for _, _, lines, _ in found for line in lines]
    assert "--hidden-size 12, rank 0" in said
    assert said.endswith("has --hidden-size 8; start all processes with the same options")
    assert not [*tmp_path.iterdir()]


def test_missing_process_is_named_within_the_time_out(tmp_path):
    [alone, unused] = start_ranks(["train", "sonnets", "--out", tmp_path / "run", "--rank-timeout", 1], ["--version"])
    code, _, [said], _ = ended(alone)
    ended(unused)
    assert code == 1
    assert said.startswith("unrolled: rank 1 of 2 processes did not come within 1 s; ")
    assert "--rank-timeout" in said
    assert not (tmp_path / "run").exists()


def test_one_process_of_torchrun_works_as_without(tmp_path, monkeypatch):
    flags = ["train", "sonnets", *DROPPED, "--max-steps", 12]
    plain = unrolled(*flags, "--out", tmp_path / "plain")
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "MASTER_ADDR": "x"}.items():
        monkeypatch.setenv(name, str(value))
    one = unrolled(*flags, "--out", tmp_path / "one")
    assert (one.returncode, plain.returncode) == (0, 0)
    assert b"processes" not in one.stdout
    files = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("one", "plain")]
    assert files[0] == files[1]


def test_processes_of_a_machine_say_once_what_is_wrong_with_the_arguments(monkeypatch):
    for rank, lines in ((0, 1), (1, 0)):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        done = unrolled("train", "sonnets", "--hidden-size", "none")
        assert (done.returncode, done.stderr.decode().count("unrolled: ")) == (2, lines)


def test_environment_that_is_not_of_torchrun_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "two")
    done = unrolled("train", "sonnets")
    assert done.returncode == 2
    assert "RANK is 'two' in the environment" in done.stderr.decode()


def test_layers_and_models_work_under_data_parallel_wrappers():
    code, shown, _, error = together(processes=2, module="tests.lm.parallel.wrappers")
    assert code == 0, error
    assert shown.splitlines().count("the same") == 2, shown + error
