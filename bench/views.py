"""How long it takes to look inside: `python bench/views.py`; milliseconds, one thread, H = 256, best of five."""

import random
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
from unrolled.views import plots, plots_gates
from unrolled.views.gradients import gradients, saliency
from unrolled.views.jacobians import jacobians
from unrolled.views.report import report
from unrolled.views.traces import trace


def best(call, times=5):
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return 1e3 * min(taken)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    vocabulary = Vocabulary([chr(97 + k) for k in range(60)], "characters")
    text = "".join(random.choices(vocabulary.symbols, k=2_000))
    print(f"{'cell':<5} {'T':>5} {'training forward':>17} {'trace':>7} {'ratio':>6} {'gradients':>10} {'saliency':>9}")
    for cell in ("rnn", "lstm", "gru"):
        model = SequenceModel(ModelConfig(cell=cell, hidden_size=256), vocabulary)
        for T in (200, 1_000):
            ids = torch.from_numpy(vocabulary.encode(text[:T]))[:, None]
            forward = best(lambda: model.loss(ids, ids))  # noqa: B023
            traced = best(lambda: trace(model, text[:T]))  # noqa: B023
            back = best(lambda: gradients(model, text[:T]), 3)  # noqa: B023
            mattered = best(lambda: saliency(model, text[:T]), 3)  # noqa: B023
            row = f"{forward:>17.1f} {traced:>7.1f} {traced / forward:>6.2f} {back:>10.1f} {mattered:>9.1f}"
            print(f"{cell:<5} {T:>5} {row}")
        print(f"{cell:<5} Jacobians over 100 lags {best(lambda: jacobians(model, text[:200]), 1):.0f}")  # noqa: B023
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SequenceModel(ModelConfig(cell="lstm", hidden_size=256), vocabulary)

        def picture():
            read = trace(model, text[:1_000])
            plots.save(
                plots_gates.gates(read.layers[0].signals, read.symbols, title="lstm"), Path(folder) / "gates.png"
            )

        print(f"first picture, LSTM, 1,000 symbols: {best(picture, 1):.0f}")
        page = report(model, text).html()
        print(f"report of 2,000 symbols: {len(page.encode()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
