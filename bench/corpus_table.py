"""Bits per character on 42 works of Shakespeare (5 MB, split by whole works): cell by size, a fixed time each.

    python bench/corpus_table.py --minutes 3 --sizes 128,256,512      prints the table, writes JSON

Every model is trained for about the same number of minutes by the package's own loop (a short run says how many steps
fit; the rate falls to zero over them), then measured on the test works beside the baselines of the same split.
`--plain-steps N` also trains the same model written in plain PyTorch, from the same weights on the same batches for N
steps, and compares the two on the validation works: their bits per character must agree.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from fetch_corpus import CORPORA, fetch
from harness import Report, parser
from torch.nn.functional import cross_entropy

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus import baselines
from unrolled.corpus.batching import StreamBatches
from unrolled.corpus.corpus import Corpus
from unrolled.lm.evaluation import evaluate
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train

STOCK = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
B, T = 64, 64


def train_one(corpus: Corpus, cell: str, H: int, minutes: float) -> dict[str, Any]:
    """Train one model for a number of minutes; return a row of the table."""

    def trained(steps: int) -> tuple[SequenceModel, float]:
        """Return a model after this number of steps, and the seconds they took."""
        torch.manual_seed(0)
        model = SequenceModel(ModelConfig(cell=cell, hidden_size=H), corpus.vocabulary, framed=False)
        config = TrainingConfig(
            max_steps=steps, max_epochs=0, batch_size=B, bptt=T, learning_rate=4e-3, schedule="cosine",
            warmup_steps=min(100, steps // 10), log_every=100, validate_every=10**9, checkpoint_every=10**9,
        )  # fmt: skip
        started = time.perf_counter()
        train(model, corpus, config)
        return model, time.perf_counter() - started

    trial = 60
    steps = max(trial, round(60 * minutes * trial / trained(trial)[1]))
    model, spent = trained(steps)
    found = evaluate(model, corpus, "test")
    return {
        "cell": cell, "H": H, "minutes": round(spent / 60, 2), "steps": steps,
        "tokens_per_s": round(steps * B * T / spent), "test_bits": found.bits, "accuracy": found.accuracy,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    return (
        f"{row['cell']:5} H={row['H']:<5} {row['minutes']:>6} min {row['steps']:>7,} steps "
        f"{row['tokens_per_s']:>9,} tokens/s {row['test_bits']:>7.3f} bits/character {row['accuracy']:>6.1%}"
    )


class Plain(torch.nn.Module):
    """The same model in torch's own layers, with one-hot input."""

    def __init__(self, cell: str, V: int, H: int):
        super().__init__()
        self.rnn = STOCK[cell](V, H)
        self.head = torch.nn.Linear(H, V)

    def loss(self, ids: torch.Tensor, targets: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        one_hot = torch.nn.functional.one_hot(ids, self.head.out_features).float()
        y, state = self.rnn(one_hot, state)
        return cross_entropy(self.head(y).flatten(0, 1), targets.flatten()), state


def same_steps(corpus: Corpus, cell: str, H: int, steps: int) -> dict[str, Any]:
    """Train ours and the plain script from the same weights on the same batches; compare on the validation works."""
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=H), corpus.vocabulary, framed=False)
    plain = Plain(cell, len(corpus.vocabulary), H)
    plain.rnn.load_state_dict(model.rnn.state_dict())
    plain.head.load_state_dict(model.head.state_dict())
    config = TrainingConfig(
        max_steps=steps, max_epochs=0, batch_size=B, bptt=T, log_every=steps, validate_every=10**9,
        checkpoint_every=10**9,
    )  # fmt: skip
    train(model, corpus, config)

    optimiser = torch.optim.AdamW(plain.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    state = None
    for batch, _ in zip(StreamBatches(corpus.train.ids, B, T), range(steps), strict=False):
        optimiser.zero_grad()
        loss, state = plain.loss(torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets), state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), config.clip_norm)
        optimiser.step()

    held = torch.from_numpy(np.asarray(corpus.validation.ids[:20_001], dtype=np.int64))[:, None]
    with torch.no_grad():
        theirs = float(plain.loss(held[:-1], held[1:], None)[0]) / math.log(2)
        ours = float(cross_entropy(model(held[:-1])[0].flatten(0, 1), held[1:].flatten())) / math.log(2)
    print(f"{cell:5} H={H:<5} after the same {steps} steps: ours {ours:.4f}, plain PyTorch {theirs:.4f} bits/character")
    return {"cell": cell, "H": H, "steps": steps, "ours": ours, "plain": theirs}


def main() -> int:
    """Run the table; returns the exit code."""
    options = parser(__doc__, seconds=0)
    options.add_argument("--minutes", type=float, default=3.0, help="of training, each model")
    options.add_argument("--cells", default="gru,lstm,rnn")
    options.add_argument("--sizes", default="128,256,512")
    options.add_argument("--plain-steps", type=int, default=0)
    arguments = options.parse_args()
    report = Report("corpus_table", arguments)
    corpus = Corpus.read(fetch("works"), **CORPORA["works"].options)
    cells, sizes = arguments.cells.split(","), [int(H) for H in arguments.sizes.split(",")]
    steps = arguments.plain_steps
    comparisons = [same_steps(corpus, cell, min(sizes), steps) for cell in cells] if steps else []
    for H in sizes:
        for cell in cells:
            report.add(partial(train_one, corpus, cell, H, arguments.minutes), line)
    beside = {b.name: b.bits_per_symbol for b in baselines.table(corpus, "test")}
    print("  ".join(f"{name} {bits:.3f}" for name, bits in beside.items()))
    return report.finish(baselines=beside, same_steps=comparisons)


if __name__ == "__main__":
    raise SystemExit(main())
