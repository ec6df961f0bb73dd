"""A plan on paper: what it takes to train a large model on much text, on a number of machines.

    python bench/plan.py        prints the table of docs/scale.md

Nothing is measured here; what was measured or is assumed is in `Task` and `Node`.  All quantities are in bytes,
seconds and operations, unless their name says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

NODES = (1, 8, 64, 512)
HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class Task:
    """What is to be trained: an LSTM of L layers and H units on a number of symbols, each read once.

    Attributes:
        T: Steps of a chunk of the stream.
        rows: Rows of a node, if the batch does not grow too large.
        largest: Symbols of a batch above which more of them save few steps; it depends on data and loss, and is to be
            measured (McCandlish et al. 2018).
    """

    L: int = 3
    H: int = 2048
    V: int = 256
    symbols: float = 1e11
    T: int = 64
    rows: int = 64
    largest: float = 2.0**19

    @property
    def parameters(self) -> int:
        """Weights of layers and head; the input of the first layer has H numbers too."""
        return self.L * (8 * self.H**2 + 8 * self.H) + self.V * self.H + self.V

    @property
    def operations(self) -> float:
        """Operations for a symbol: a multiplication and an addition per weight forward, and twice that back.

        The first layer looks up what a symbol adds to its gates.
        """
        return 6.0 * ((8 * self.L - 4) * self.H**2 + self.V * self.H)


@dataclass(frozen=True)
class Node:
    """A machine, its share of the network and of the disk, and its price.

    Attributes:
        cores: Cores that compute.
        rate: Operations that a core does in a second of training: about half of what bench/train_throughput.py finds
            for an LSTM of H 512 on two cores, because many share a clock and memory.
        network: Bytes that it sends in a second, and receives.
        latency: Of one message.
        disk: Bytes that it writes in a second.
        years: Mean time between two failures, in years.
        price: Of an hour.
    """

    cores: int = 32
    rate: float = 100e9
    network: float = 25e9 / 8
    latency: float = 50e-6
    disk: float = 500e6
    years: float = 1.0
    price: float = 1.0


class Plan(NamedTuple):
    """What a run on a number of nodes takes.

    Attributes:
        batch: Symbols of a batch, of all nodes.
        compute: Seconds in which a node computes its part of a step.
        exchange: Seconds in which the gradient is summed, most of them during the backward pass.
        step: Seconds of a step: computing, and the part of the exchange that is left after it.
        steps: Steps of the run.
        reading: Bytes of text that a node reads in a second.
        save: Seconds in which a checkpoint is written.
        interval: Seconds between two checkpoints.
        failures: Failures that are expected in the run.
        lost: Share of the time that is spent on saving, and on what failures undo.
        days: The whole run.
        cost: Of all nodes.
        efficiency: Speed for each node, beside that of one node alone.
    """

    batch: float
    compute: float
    exchange: float
    step: float
    steps: float
    reading: float
    save: float
    interval: float
    failures: float
    lost: float
    days: float
    cost: float
    efficiency: float


def ring(size: float, nodes: int, node: Node) -> float:
    """Return the seconds in which a ring of nodes sums this many bytes: each sends nearly all of them twice.

    Source: Patarasuk and Yuan 2009.

    >>> ring(3.125e9, 2, Node(latency=0.0)), ring(3.125e9, 1, Node())
    (1.0, 0.0)
    """
    return 2 * (nodes - 1) / nodes * size / node.network + 2 * (nodes - 1) * node.latency


def plan(nodes: int, task: Task = Task(), node: Node = Node()) -> Plan:
    """Return what a run on this many nodes takes."""
    batch = min(task.rows * task.T * nodes, task.largest)
    compute = batch / nodes * task.operations / (node.cores * node.rate)
    part = ring(4 * task.parameters / task.L, nodes, node)  # a layer's gradient, one part each
    exchange, beside = task.L * part, compute * 2 / 3 * (task.L - 1) / task.L
    step = compute + max(part, exchange - beside)
    steps = task.symbols / batch
    save = 4 * 4 * task.parameters / node.disk  # weights, two moments and the best weights, by one node
    between = node.years * 365 * DAY / nodes  # failures of any node
    interval = math.sqrt(2 * save * between)  # Young 1974: the best there is
    lost = save / interval + interval / 2 / between
    seconds = steps * step / (1 - lost)
    alone = task.rows * task.T / (task.rows * task.T * task.operations / (node.cores * node.rate))
    return Plan(
        batch,
        compute,
        exchange,
        step,
        steps,
        batch / nodes / step,
        save,
        interval,
        seconds / between,
        lost,
        seconds / DAY,
        nodes * seconds / HOUR * node.price,
        batch / nodes / step / alone,
    )


def averaged(nodes: int, every: int, task: Task = Task(), node: Node = Node()) -> float:
    """Return the efficiency if nodes average weights after this many steps, not every gradient (local SGD)."""
    local = replace(task, largest=math.inf)
    compute = plan(1, local, node).compute
    return compute / (compute + ring(4 * task.parameters, nodes, node) / every)


def table() -> str:
    """Return the table of docs/scale.md."""
    lines = [
        "| nodes | symbols a batch | s a step: computing | summing | together | days | failures | lost | efficiency "
        "| price |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for nodes in NODES:
        p = plan(nodes)
        lines.append(
            f"| {nodes} | {p.batch:,.0f} | {p.compute:.2f} | {p.exchange:.2f} | {p.step:.2f} | {p.days:,.1f} | "
            f"{p.failures:.2f} | {p.lost:.2%} | {p.efficiency:.0%} | {p.cost:,.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
