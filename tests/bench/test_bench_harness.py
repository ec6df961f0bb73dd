"""What the benches share: whose turn it is, when a number may be shown, what stands beside it."""

import argparse
import json
import math
import sys
from pathlib import Path

import everything
import grid
import harness
import layers
import left_padded
import memory
import pytest
import roofline
import torch
from adapters import Elsewhere, Task


def options(tmp_path, **more):
    return argparse.Namespace(**{"quick": True, "threads": 1, "seconds": 0.0, "json": tmp_path / "out.json", **more})


def test_turns_go_round_and_every_body_has_one_a_round(monkeypatch):
    monkeypatch.setattr(harness, "SHORTEST", 0.0)
    said = []
    times = harness.interleave({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, seconds=0.0)
    turns = said[-2 * times.rounds :]
    assert turns[:6] == ["a", "b", "b", "a", "a", "b"]
    assert times.rounds == len(times.seconds["a"]) == len(times.seconds["b"])


def test_short_bodies_get_the_rounds_that_a_median_should_have():
    assert harness.interleave({"a": lambda: None}, seconds=0.05).rounds >= harness.WANTED


def test_long_bodies_end_early_but_never_below_the_least(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(harness.time, "perf_counter", lambda: float(next(clock)))
    assert harness.interleave({"slow": lambda: None}, seconds=1.0).rounds == harness.LEAST


def test_ratio_is_the_median_of_the_rounds_ratios():
    times = harness.Times({"torch": [2.0, 30.0, 4.0], "own": [1.0, 10.0, 1.0]})
    assert times.ratio("torch", "own") == 3.0
    assert times.quartiles("torch", "own") == [2.5, 3.5]
    assert times.ms("torch") == 4000.0


def test_body_of_another_process_is_timed_by_its_own_clock():
    class Remote:
        def __call__(self):
            return None

        def seconds(self, calls):
            return 0.25 * calls

    assert harness.interleave({"there": Remote()}, seconds=0.0).ms("there") == 250.0


@pytest.mark.parametrize("wrong", [1.01, math.nan, math.inf])
def test_wrong_result_is_named(wrong):
    right = {"y": torch.ones(3), "dW": torch.full((2,), 2.0)}
    with pytest.raises(harness.DiffersError, match="GRU B3: dW differs"):
        harness.same("GRU B3", {**right, "dW": right["dW"] * wrong}, right, 1e-4)
    assert harness.same("GRU B3", {**right, "dW": right["dW"] * 1.00001}, right, 1e-4) > 0


def test_report_writes_what_the_numbers_depend_on(monkeypatch, tmp_path):
    words = ["bench/steps.py", "--threads", "1", "--json", "out.json", "--peer", "Other=/home/somebody/other"]
    monkeypatch.setattr(sys, "argv", words)
    report = harness.Report("steps", options(tmp_path))
    report.add(lambda: {"ms": 1.23456789, "deep": [{"ratio": 9.87654321}]}, str)
    report.lacks("JAX", "not installed")
    assert report.finish(more=[1]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert {"commit", "cpu", "instruction_set", "threads", "torch", "date"} <= found["machine"].keys()
    assert found["command"] == "python bench/steps.py --threads 1 --peer Other=other"
    assert found["missing"] == {"JAX": "not installed"}
    assert len(found["load"]) == 2
    assert found["rows"][0]["ms"] == 1.2346
    assert found["rows"][0]["deep"] == [{"ratio": 9.8765}]
    assert "load" in found["rows"][0]


def test_refused_row_leaves_no_file(tmp_path, capsys):
    report = harness.Report("steps", options(tmp_path))
    report.add(lambda: {"ms": 1.0}, str)

    def row():
        raise harness.DiffersError("LSTM H8: h differs")

    report.add(row, str)
    assert report.finish() == 1
    assert not (tmp_path / "out.json").exists()
    assert "refused: LSTM H8: h differs" in capsys.readouterr().out


def run_layers(monkeypatch, tmp_path):
    monkeypatch.setattr(layers, "QUICK", [grid.Point(3, 5, 7, 9)])
    monkeypatch.setattr(layers, "limits", lambda threads: None)
    monkeypatch.setattr(layers, "product_rate", lambda *shape: 100.0)
    words = ["layers.py", "--quick", "--threads", "1", "--sets", "cover", "--cells", "GRU"]
    monkeypatch.setattr(sys, "argv", [*words, "--json", str(tmp_path / "layers.json")])
    return layers.main()


def test_layers_bench_writes_a_row_a_point(monkeypatch, tmp_path):
    assert run_layers(monkeypatch, tmp_path) == 0
    (row,) = json.loads((tmp_path / "layers.json").read_text())["rows"]
    assert [row[letter] for letter in "BTIH"] == [3, 5, 7, 9]
    assert row["worst_difference"] < 1e-5
    assert row["training"]["gflops"] > 0


def test_layers_bench_refuses_a_wrong_gradient(monkeypatch, tmp_path):
    training = layers.Bodies.training

    def wrong(self):
        y = training(self)
        if type(self.module).__module__.startswith("unrolled"):
            self.module.bias_hh_l0.grad[2] *= 1.5
        return y

    monkeypatch.setattr(layers.Bodies, "training", wrong)
    assert run_layers(monkeypatch, tmp_path) == 1
    assert not (tmp_path / "layers.json").exists()


def test_operations_count_every_layer_and_direction():
    point = grid.Point(B=3, T=5, I=7, H=11)
    assert layers.operations("LSTM", point, L=1, D=1) == 2 * 5 * 3 * 4 * 11 * (7 + 11)
    assert layers.operations("RNN", point, L=2, D=2) == 2 * 5 * 3 * 2 * 11 * ((7 + 11) + (22 + 11))


@pytest.mark.parametrize("strength", [1, 2])
def test_covering_holds_every_tuple_of_values_and_no_dear_point(strength):
    chosen = grid.covering(strength)
    wanted = set().union(*(grid.covered(point, strength) for point in grid.every_point()))
    assert set().union(*(grid.covered(point, strength) for point in chosen)) == wanted
    assert all(point.work <= grid.MOST_WORK[strength] for point in chosen)
    assert len({*chosen}) == len(chosen)


def test_covering_is_at_least_sixty_points_over_the_cells():
    assert len(grid.covering(2)) * len(layers.CELLS) >= 60


def test_floor_is_reading_for_one_row_and_arithmetic_for_many():
    limits = {"multiply_add_gflops": {"2": 200.0}, "read_gb_s": {"L2": {"2": 200.0}, "L3": {"2": 150.0}}}
    one = roofline.floor({"cell": "LSTM", "B": 1, "T": 100, "I": 32, "H": 256}, "inference", limits, 2)
    many = roofline.floor({"cell": "LSTM", "B": 32, "T": 100, "I": 32, "H": 256}, "training", limits, 2)
    assert (one.reason, many.reason) == ("reading from L2", "arithmetic")
    assert one.ms == pytest.approx(100 * 4 * 4 * 256 * 256 / 200e9 * 1e3)
    assert many.ms == pytest.approx(3 * 2 * 32 * 100 * 4 * 256 * (32 + 256) / 200e9 * 1e3)


def test_reviews_are_padded_on_the_left():
    sizes = left_padded.Sizes(B=5, T=40, batches=2)
    for words, liked in left_padded.reviews(sizes, torch.Generator().manual_seed(0)):
        padding = words == 0
        assert padding.any()
        assert not padding[:, -1].any()
        assert (padding.long().diff(dim=1) <= 0).all()
        assert set(liked.tolist()) <= {0.0, 1.0}


def test_everything_stops_at_red_parity_tests(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(everything, "python", lambda *words: ran.append(words) or words[:2] == ("-m", "pytest"))
    monkeypatch.setattr(sys, "argv", ["everything.py"])
    assert everything.main() == 1
    assert len(ran) == 1
    assert "nothing is reported" in capsys.readouterr().out


def test_everything_makes_no_tables_after_a_refusal(monkeypatch):
    ran = []
    monkeypatch.setattr(everything, "python", lambda *words: ran.append(words[0]) or words[0] == "bench/ragged.py")
    monkeypatch.setattr(sys, "argv", ["everything.py"])
    assert everything.main() == 1
    assert ran[-1] == "bench/ragged.py"


def test_peer_elsewhere_computes_the_same_and_is_gone_after_close():
    T, B, I, H = 3, 2, 5, 7
    stock = torch.nn.GRU(I, H)
    weights = {name.removesuffix("_l0"): w.detach().numpy() for name, w in stock.named_parameters()}
    x = torch.randn(T, B, I)
    peer = Elsewhere("torch", 1)
    found = peer.make(Task("GRU", weights, x.numpy(), torch.ones(T, B, H).numpy()))
    torch.testing.assert_close(torch.from_numpy(found["y"]), stock(x)[0].detach())
    assert peer.body("training").seconds(2) > 0
    with pytest.raises(RuntimeError, match="NoSuchCell"):
        peer.make(Task("NoSuchCell", weights, x.numpy(), x.numpy()))
    peer.close()
    assert not peer._process.is_alive()


@pytest.mark.whole_process
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read through /proc")
def test_resident_memory_is_read_after_settling_and_is_flat(monkeypatch):
    monkeypatch.setattr(memory, "SETTLING", 60)
    found = memory.flat(calls=100, most=12)
    assert len(found["resident_mb"]) == 11
    assert found["growth_mb"] < 4
