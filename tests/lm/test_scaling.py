"""The plan on paper: its arithmetic against sums done another way."""

import math
from dataclasses import replace

import pytest

from unrolled.config.model import ModelConfig
from unrolled.lm.scaling import DAY, Job, Node, plan

JOB, NODE = Job(), Node()


def test_model_of_the_plan_has_a_hundred_million_parameters():
    assert JOB.parameters == pytest.approx(100e6, rel=0.02)


def test_time_of_one_machine_is_all_operations_over_what_it_reaches():
    job = replace(JOB, critical=math.inf)
    sure = replace(NODE, failures=1e-12)
    assert plan(job, sure, 1).seconds == pytest.approx(
        6 * job.parameters * job.symbols / (sure.operations * sure.share)
    )


@pytest.mark.parametrize("nodes", [2, 3, 8])
def test_gradients_take_what_a_ring_takes_piece_by_piece(nodes):
    """Send pieces round a ring until each node holds every sum; count the rounds."""
    held = [[{node} for _ in range(nodes)] for node in range(nodes)]  # of each node and piece, whose terms are in it
    rounds = 0
    while any(len(terms) < nodes for pieces in held for terms in pieces):
        sent = [(node, (node - rounds) % nodes) for node in range(nodes)]
        for (node, piece), terms in zip(sent, [held[node][piece] for node, piece in sent], strict=True):
            held[(node + 1) % nodes][piece] = held[(node + 1) % nodes][piece] | terms
        rounds += 1
    piece = 4 * JOB.parameters / nodes
    assert plan(JOB, NODE, nodes).sending == pytest.approx(rounds * (piece / NODE.network + NODE.latency))


def test_step_shows_what_arithmetic_cannot_hide_of_the_sending():
    slow = replace(NODE, network=1e8)
    shown = plan(JOB, slow, 8)
    assert shown.step == pytest.approx(shown.computing + shown.sending - shown.computing / 2)
    assert plan(JOB, slow, 8, every=16).step == shown.computing


def test_checkpoints_are_as_far_apart_as_costs_least():
    found = plan(JOB, NODE, 64)
    writing, apart = 16 * JOB.parameters / NODE.disk, DAY / (64 * NODE.failures)

    def lost(between):
        return writing / between + (NODE.restart + between / 2) / apart

    assert found.saving + found.failing == pytest.approx(lost(found.between))
    assert lost(found.between) < min(lost(0.9 * found.between), lost(1.1 * found.between))


def test_twice_the_symbols_are_needed_at_the_critical_batch():
    small, critical = replace(JOB, critical=math.inf), replace(JOB, critical=64 * JOB.batch)
    assert plan(critical, NODE, 64).steps == pytest.approx(2 * plan(small, NODE, 64).steps)


def test_larger_model_takes_longer_in_proportion():
    wide = replace(JOB, model=ModelConfig(hidden_size=4096, num_layers=3, embedding_size=4096, tied=True))
    ratio = plan(wide, NODE, 1).computing / plan(JOB, NODE, 1).computing
    assert ratio == pytest.approx(wide.parameters / JOB.parameters)
