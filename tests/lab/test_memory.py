"""Memory: the estimate is close to what training takes, and models that do not fit are refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.lab import memory
from unrolled.lab.stacked import StackedModels


def test_models_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    with pytest.raises(MemoryError, match="or take seeds=1 and train the others"):
        memory.check_memory(5 * 10**6, 9)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to know the memory a process took")
@pytest.mark.whole_process
def test_memory_estimate_is_close_to_what_training_takes():
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
    assert 0.4 < StackedModels.memory("LSTM", **shape) / int(out.stdout) < 2.5
