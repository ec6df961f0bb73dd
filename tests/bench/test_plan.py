"""The plan on paper: its sums add up, and docs/scale.md shows what it says."""

import json
import math
from dataclasses import replace

import plan
import pytest
from harness import ROOT

from unrolled.config.model import ModelConfig
from unrolled.lm.memory import parameters

TASK, NODE = plan.Task(), plan.Node()


def test_document_shows_the_table():
    assert plan.table() in (ROOT / "docs" / "scale.md").read_text()


def test_parameters_are_those_of_the_model():
    model = ModelConfig("lstm", hidden_size=TASK.H, num_layers=TASK.L, embedding_size=TASK.H)
    assert TASK.parameters == parameters(model, TASK.V) - TASK.V * TASK.H  # the embedding is looked up, not multiplied
    assert TASK.parameters == pytest.approx(1e8, rel=0.02)


def test_rate_of_a_core_is_one_that_was_measured_with_room_to_spare():
    rows = json.loads((ROOT / "bench" / "results" / "train_throughput.json").read_text())["rows"]
    [row] = [row for row in rows if row["name"] == "lstm H=512"]
    one = replace(TASK, L=1, H=512, V=96)
    assert 1.2 <= row["unrolled"] * one.operations / 2 / NODE.rate <= 4  # on two cores


def test_one_node_computes_all_the_time_and_eight_take_an_eighth_of_it():
    one, eight = plan.plan(1), plan.plan(8)
    assert one.days * plan.DAY == pytest.approx(TASK.symbols * TASK.operations / (NODE.cores * NODE.rate), rel=0.01)
    assert (one.exchange, one.efficiency) == (0, 1)
    assert eight.days == pytest.approx(one.days / 8, rel=0.3)


def test_exchange_is_bounded_by_the_network_from_below():
    for nodes in plan.NODES[1:]:
        assert plan.plan(nodes).exchange >= 2 * (nodes - 1) / nodes * 4 * TASK.parameters / NODE.network


def test_faster_network_never_makes_a_run_slower_and_free_one_scales_up_to_the_largest_batch():
    fast = replace(NODE, network=math.inf, latency=0.0)
    assert all(plan.plan(n, TASK, fast).step <= plan.plan(n).step for n in plan.NODES)
    assert plan.plan(64, TASK, fast).efficiency == pytest.approx(1)


def test_interval_between_checkpoints_is_the_best():
    p, between = plan.plan(512), NODE.years * 365 * plan.DAY / 512

    def lost(interval):
        return p.save / interval + interval / 2 / between

    assert lost(p.interval) == pytest.approx(p.lost)
    assert min(lost(p.interval * 1.1), lost(p.interval / 1.1)) > p.lost


def test_averaging_weights_now_and_then_scales_further_than_summing_every_gradient():
    assert plan.averaged(512, 1) < plan.averaged(512, 10) < 1
    assert plan.averaged(512, 10) > plan.plan(512).efficiency
