"""How long a training run takes on many machines, and what it costs, before anybody rents them: arithmetic on paper.

Nothing here is measured but the share of the peak that the kernels reach; docs/scale.md says where each number is from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unrolled.config.model import ModelConfig
from unrolled.lm.memory import parameters
from unrolled.words import duration, rounded

#: Operations that training does with each parameter for each symbol: a multiplication and an addition forward, two of
#: each backward.
OPERATIONS = 6
#: Share of a step in which gradients are there to be sent: the backward pass is two thirds; its first part has none.
OVERLAPPED = 0.5
#: Bytes of a parameter: of its gradient as it is sent, and of all that a checkpoint holds of it.
SENT, SAVED = 4, 16
DAY = 86_400.0
#: The network of the plan in docs/scale.md.
LARGE = ModelConfig(hidden_size=2048, num_layers=3, embedding_size=2048, tied=True)


@dataclass(frozen=True)
class Node:
    """One machine of a cluster.

    Attributes:
        operations: Peak operations a second of all its cores, in the type that is trained in.
        share: Share of the peak that training reaches.
        network: Bytes a second that it sends and receives at once.
        latency: Seconds from one machine to the next.
        disk: Bytes a second at which a checkpoint is written.
        price: Of an hour.
        failures: Per machine and day.
        restart: Seconds from a failure to the first step after it.
    """

    operations: float = 64 * 128e9
    share: float = 0.65
    network: float = 25e9 / 8
    latency: float = 30e-6
    disk: float = 1e9
    price: float = 3.0
    failures: float = 1 / 1000
    restart: float = 180.0


@dataclass(frozen=True)
class Job:
    """What is to be trained.

    Attributes:
        model: The network.
        V: Symbols of its vocabulary.
        symbols: Of all passes over the data, at a batch so small that a larger one would save steps.
        batch: Symbols of one step on each node.
        critical: Symbols of a step at which twice as many symbols are needed (McCandlish et al., "An empirical model of
            large-batch training", 2018).
    """

    model: ModelConfig = LARGE
    V: int = 258
    symbols: float = 1e11
    batch: int = 64 * 128
    critical: float = 2e6

    @property
    def parameters(self) -> int:
        """Parameters of the network."""
        return parameters(self.model, self.V)


class Estimate(NamedTuple):
    """What a job takes on some nodes; times in seconds.

    Attributes:
        nodes: Their number.
        steps: Optimiser steps.
        computing: Of one step, the arithmetic.
        sending: Of one step, the sum of the gradients over all nodes.
        step: Of one step, with the part of sending that the arithmetic does not hide.
        between: From one checkpoint to the next.
        saving, failing: Shares of the time that checkpoints and failures take.
        failures: Expected in the whole run.
        seconds: Of the whole run.
        price: Of the whole run.
    """

    nodes: int
    steps: float
    computing: float
    sending: float
    step: float
    between: float
    saving: float
    failing: float
    failures: float
    seconds: float
    price: float


def plan(job: Job, node: Node, nodes: int, every: int = 1) -> Estimate:
    """Return what a job takes.

    Args: job; node; how many of them; every: steps between two sums of the gradients, more than 1 for local SGD.

    >>> few, many = (plan(Job(), Node(), nodes) for nodes in (8, 64))
    >>> 6 < few.seconds / many.seconds < 8, many.price > few.price
    (True, True)
    """
    P = job.parameters
    computing = OPERATIONS * P * job.batch / (node.operations * node.share)
    # A ring: each node sends and receives 2 (n - 1) / n of the gradient, in 2 (n - 1) pieces one after the other.
    sending = (2 * (nodes - 1) / nodes * SENT * P / node.network + 2 * (nodes - 1) * node.latency) / every
    step = computing + max(0.0, sending - OVERLAPPED * computing)
    needed = job.symbols * (1 + nodes * job.batch / job.critical)
    steps = needed / (nodes * job.batch)
    writing = SAVED * P / node.disk
    apart = DAY / (node.failures * nodes)  # seconds between two failures
    between = math.sqrt(
        2 * writing * apart
    )  # Young, "A first order approximation to the optimum checkpoint interval", 1974
    saving, failing = writing / between, (node.restart + between / 2) / apart
    seconds = steps * step * (1 + saving + failing)
    price = seconds / 3600 * nodes * node.price
    return Estimate(nodes, steps, computing, sending, step, between, saving, failing, seconds / apart, seconds, price)


def table(job: Job, node: Node, nodes: Sequence[int] = (1, 8, 64, 512), every: int = 1) -> str:
    """Return the plans for several numbers of nodes as a table in Markdown."""
    lines = [
        "| nodes | steps | arithmetic, s | all-reduce, s | a step, s | checkpoint every | failures | time | cost |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in (plan(job, node, count, every) for count in nodes):
        cells = (
            each.nodes, rounded(each.steps, 0), f"{each.computing:.2f}", f"{each.sending:.2f}", f"{each.step:.2f}",
            duration(each.between), f"{each.failures:.1f}", days(each.seconds), f"{each.price:,.0f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def days(seconds: float) -> str:
    """Return a time span in days, or in hours below two of them.

    >>> days(3 * DAY), days(7200)
    ('3.0 days', '2.0 hours')
    """
    return f"{seconds / DAY:,.1f} days" if seconds >= 2 * DAY else f"{seconds / 3600:,.1f} hours"
