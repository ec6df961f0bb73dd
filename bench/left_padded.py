"""The batch of pytorch#94457: reviews padded on the left to 500 words, a small LSTM, the loss on its last state.

    python bench/left_padded.py            about five minutes
    python bench/left_padded.py --quick

Embedding(10000, 32), LSTM(32, 100), Linear(100, 1), Adam at 0.01, B 256, T 500.  Gradients that go back through
hundreds of padded steps sink below 1e-38, where numbers are denormal and arithmetic is up to a hundred times slower,
so the first epoch is slow.  Three measurements:

- a whole training step beside torch's, by default and with denormals flushed (torch.set_flush_denormal);
- a step in the first epoch beside a step in the second, of two copies that train in turn;
- forward and backward of the layer for inputs of other signs and sizes, beside ordinary ones.

The reviews are synthetic: lengths as in the data set (median 170 words, a quarter over 280), words by Zipf's law.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from harness import TOLERANCE, Report, Times, interleave, parser, same

import unrolled.nn

V, E, H = 10_000, 32, 100


class Sizes(NamedTuple):
    """Sizes: batch, time steps, batches of an epoch, training steps of the comparison with torch."""

    B: int = 256
    T: int = 500
    batches: int = 98
    beside: int = 8


QUICK = Sizes(B=16, T=60, batches=4, beside=2)
#: Inputs x of the layer and the factor on the gradient of its last output, by name.
INPUTS: dict[str, Callable[[torch.Tensor], tuple[torch.Tensor, float]]] = {
    "ordinary": lambda x: (x, 1.0),
    "all positive": lambda x: (x.abs(), 1.0),
    "all negative": lambda x: (-x.abs(), 1.0),
    "zeros": lambda x: (torch.zeros_like(x), 1.0),
    "times 100": lambda x: (100 * x, 1.0),
    "times 1e-30": lambda x: (1e-30 * x, 1.0),
    "denormal": lambda x: (1e-40 * x, 1.0),
    "gradient 1e-30": lambda x: (x, 1e-30),
}


class Classifier(torch.nn.Module):
    """The model of the issue."""

    def __init__(self, layer: type[torch.nn.RNNBase]):
        super().__init__()
        self.embedding = torch.nn.Embedding(V, E)
        self.lstm = layer(E, H, batch_first=True)
        self.head = torch.nn.Linear(H, 1)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        _, (h_n, _) = self.lstm(self.embedding(words))
        return self.head(h_n[-1])[:, 0]


class Trainer:
    """A model, its optimiser and its position in the batches."""

    def __init__(self, model: Classifier, batches: list[tuple[torch.Tensor, torch.Tensor]], flush: bool = False):
        self.model, self.batches, self.flush, self.done = model, batches, flush, 0
        self.optimiser = torch.optim.Adam(model.parameters(), lr=0.01)

    def step(self) -> float:
        """Train on the next batch; return the loss, nats."""
        words, liked = self.batches[self.done % len(self.batches)]
        self.done += 1
        torch.set_flush_denormal(self.flush)
        self.optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(self.model(words), liked)
        loss.backward()
        self.optimiser.step()
        torch.set_flush_denormal(False)
        return loss.item()


def reviews(sizes: Sizes, generator: torch.Generator) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the batches of an epoch: words (B, T), padded with 0 on the left; whether they were liked (B,)."""
    made = []
    ranks = 1 / torch.arange(1, V, dtype=torch.float64)
    for _ in range(sizes.batches):
        words = 1 + torch.multinomial(ranks, sizes.B * sizes.T, replacement=True, generator=generator)
        words = words.view(sizes.B, sizes.T)
        scale = sizes.T / 500
        lengths = (scale * 170 * torch.randn(sizes.B, generator=generator).mul(0.75).exp()).clamp(5, sizes.T).long()
        liked = torch.rand(sizes.B, generator=generator) < 0.5
        words[:, -4:-1] = torch.where(liked, 11, 12)[:, None]  # something to learn
        words[torch.arange(sizes.T) < sizes.T - lengths[:, None]] = 0
        made.append((words, liked.float()))
    return made


def whole_steps(sizes: Sizes, batches: list[Any]) -> dict[str, Any]:
    """Time steps of ours, torch's, and torch's with denormals flushed, in turn on the same batches."""
    ours, theirs = Classifier(unrolled.nn.LSTM), Classifier(torch.nn.LSTM)
    theirs.load_state_dict(ours.state_dict())
    same("left padded", gradients(ours, batches[0]), gradients(theirs, batches[0]), TOLERANCE[torch.float32])
    trainers = {
        "own": Trainer(ours, batches),
        "torch": Trainer(theirs, batches),
        "torch, flushed": Trainer(copy.deepcopy(theirs), batches, flush=True),
    }
    times = in_turn({name: trainer.step for name, trainer in trainers.items()}, sizes.beside)
    found: dict[str, Any] = {"what": "whole step", "ms": {name: times.ms(name) for name in trainers}}
    found["ratio"] = {name: times.ratio(name, "own") for name in trainers if name != "own"}
    return {**found, "rounds": times.rounds}


def gradients(model: Classifier, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the model's output and every gradient, by name."""
    model.zero_grad()
    logits = model(batch[0])
    torch.nn.functional.binary_cross_entropy_with_logits(logits, batch[1]).backward()
    return {"logits": logits.detach(), **{name: p.grad.clone() for name, p in model.named_parameters()}}


def epochs(batches: list[Any]) -> dict[str, Any]:
    """Time the first epoch beside the second: one copy is an epoch ahead, so changes of load affect both."""
    behind = Trainer(Classifier(unrolled.nn.LSTM), batches)
    ahead = Trainer(copy.deepcopy(behind.model), batches)
    losses = [ahead.step() for _ in batches]
    times = in_turn({"first": behind.step, "second": ahead.step}, len(batches))
    found: dict[str, Any] = {"what": "epochs", "ms": {name: times.ms(name) for name in ("first", "second")}}
    found |= {"first_over_second": times.ratio("first", "second"), "quartiles": times.quartiles("first", "second")}
    return {**found, "rounds": times.rounds, "loss_nats": [losses[0], losses[-1]]}


def in_turn(bodies: dict[str, Callable[[], object]], rounds: int) -> Times:
    """Time rounds of bodies that must not run untimed, because each call is a training step."""
    times: dict[str, list[float]] = {name: [] for name in bodies}
    for number in range(rounds):
        for name, body in list(bodies.items())[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            body()
            times[name].append(time.perf_counter() - start)
    return Times(times)


def inputs(sizes: Sizes, seconds: float) -> list[dict[str, Any]]:
    """Time forward and backward of the layer for each kind of input, ours and torch's."""
    found = []
    stock = torch.nn.LSTM(E, H)
    own = unrolled.nn.LSTM(E, H)
    own.load_state_dict(stock.state_dict())
    B, T = max(1, sizes.B // 8), sizes.T  # an eighth: torch takes seconds for some of these
    x = torch.randn(T, B, E)
    for who, layer in (("own", own), ("torch", stock)):
        bodies = {}
        for name, of in INPUTS.items():
            given, gradient = of(x)
            bodies[name] = _pass(layer, given, gradient)
        times = interleave(bodies, seconds)
        relative = {name: times.ratio(name, "ordinary") for name in INPUTS}
        found.append({"what": "inputs", "who": who, "B": B, "ms": times.ms("ordinary"), "relative": relative})
    return found


def _pass(layer: torch.nn.RNNBase, x: torch.Tensor, gradient: float) -> Callable[[], object]:
    leaf = x.clone().requires_grad_()

    def both() -> None:
        layer.zero_grad()
        leaf.grad = None
        layer(leaf)[0][-1].sum().mul(gradient).backward()

    return both


def line(row: dict[str, Any]) -> str:
    """One measurement as it is printed."""
    if row["what"] == "whole step":
        times = ", ".join(f"{name} {ms:.0f} ms" for name, ms in row["ms"].items())
        return f"a whole step: {times}; " + ", ".join(f"{name} / own {r:.2f}x" for name, r in row["ratio"].items())
    if row["what"] == "epochs":
        return f"first epoch / second: {row['first_over_second']:.3f} ({row['rounds']} batches each)"
    relative = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["relative"].items())
    return f"{row['who']}, {row['ms']:.1f} ms, relative to ordinary input: {relative}"


def main() -> int:
    """Run the three measurements; returns the exit code."""
    options = parser(__doc__, seconds=6.0).parse_args()
    report = Report("left_padded", options)
    sizes = QUICK if options.quick else Sizes()
    batches = reviews(sizes, torch.Generator().manual_seed(0))
    report.add(lambda: whole_steps(sizes, batches), line)
    report.add(lambda: epochs(batches), line)
    for found in inputs(sizes, 0.3 if options.quick else options.seconds):
        report.add(lambda row=found: row, line)  # type: ignore[misc]
    return report.finish(sizes=sizes._asdict())


if __name__ == "__main__":
    sys.exit(main())
