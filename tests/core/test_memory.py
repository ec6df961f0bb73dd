"""Memory: what training keeps for each symbol read, and that calls leave nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import unrolled.nn
from tests.core.cases import KINDS, make
from unrolled.nn import fused
from unrolled.notation import CELLS, has_cell_state

#: Floats that training keeps for each (t, b), in units of H, beyond input and output.
KEPT = {"RNN": 1, "LSTM": 6, "GRU": 5}


def kept_floats(layer, x):
    """How many elements autograd keeps for backward, without the input, the output and the weights."""
    y, finals = layer(x)  # hooks of saved tensors would see a copy of y
    storages = [(t.untyped_storage(), t.element_size()) for t in y.grad_fn.saved_tensors]
    kept = {storage.data_ptr(): storage.nbytes() // size for storage, size in storages}
    for known in (x, y, *layer.parameters(), *(finals if isinstance(finals, tuple) else (finals,))):
        kept.pop(known.untyped_storage().data_ptr(), None)
    return sum(kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", KEPT)
def test_training_keeps_few_floats_for_each_symbol(name, dtype):
    T, B, H = 13, 5, 48
    layer = getattr(unrolled.nn, name)(7, H, dtype=dtype)
    x = torch.randn(T, B, 7, dtype=dtype, requires_grad=True)
    assert kept_floats(layer, x) <= KEPT[name] * H * T * B


@pytest.mark.parametrize("B", [1, 20])
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_checkpoint_steps_keep_a_tenth_at_most(name, B):
    """What is kept from forward to backward, and the gates of the one segment that backward holds at a time."""
    T, H, block = 1000, 48, fused.block_steps(B)
    layer = getattr(unrolled.nn, name)(7, H, checkpoint_steps="auto")
    x = torch.randn(T, B, 7, requires_grad=True)
    segment = -(-32 // block) * block  # 32: sqrt(T)
    slots = len(CELLS[name].saved) + has_cell_state(name)
    in_segments = kept_floats(layer, x) + segment * B * slots * H
    layer.checkpoint_steps = None
    assert in_segments <= 0.1 * kept_floats(layer, x)


LONG = """
import re, torch, unrolled.nn
torch.set_num_threads(1)
# Not ru_maxrss: a process starts with the peak of the one that started it.
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024
lstm = unrolled.nn.LSTM(16, 128, checkpoint_steps=STEPS)
x = torch.randn(100_000, 1, 16)
lstm(x[:300])[0].sum().backward()
before = peak()
lstm(x)[0].sum().backward()
print(peak() - before)
"""


@pytest.mark.whole_process
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which Linux alone has")
def test_a_hundred_thousand_steps_train_in_little_memory():
    """Peak memory beyond weights and input, the output and its gradient (51 MB each) included."""

    def peak(steps):
        code = LONG.replace("STEPS", repr(steps))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert peak("auto") < 150e6
    assert peak(None) > 250e6  # so the measure can fail


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.whole_process
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read through /proc")
def test_resident_memory_is_flat_over_calls_of_any_shape():
    generator = torch.Generator().manual_seed(0)

    def calls(count):
        for k in range(count):
            T, B = (int(torch.randint(1, 40, (), generator=generator)) for _ in range(2))
            make(KINDS[k % len(KINDS)], torch.float32, T=T, B=B, I=17, H=33).run()

    make("LSTM projected", torch.float32, T=40, B=40, I=17, H=33).run()
    calls(400)
    before = resident_bytes()
    calls(400)
    one_call = 40 * 40 * 33 * 4 * 20  # what the largest call holds, about
    assert resident_bytes() - before < one_call


WORKSPACE = """
import torch, unrolled, unrolled.nn
from unrolled import _core
torch.set_num_threads(1)
lstm = unrolled.nn.LSTM(16, 128)
def train(T, B):
    lstm(torch.randn(T, B, 16))[0].sum().backward()
    return _core.workspace_bytes()
large = train(500, 32)
assert large > 50e6
"""


def in_fresh_process(code):
    """Run code after one large call; elsewhere the workspace holds what other tests left."""
    subprocess.run([sys.executable, "-c", WORKSPACE + code], check=True)


def test_memory_of_one_large_call_goes_back_after_some_small_ones():
    in_fresh_process("""
assert train(500, 32) == large  # the next large call finds its memory
for _ in range(200):
    small = train(5, 2)
assert small < large / 10, (small, large)
""")


def test_large_calls_among_small_ones_find_their_memory():
    in_fresh_process("""
for _ in range(5):
    for _ in range(40):
        assert train(5, 2) >= large
    before = _core.workspace_bytes()
    assert train(500, 32) == before
""")


def test_release_memory_gives_all_back_that_no_call_has():
    in_fresh_process("""
y, _ = lstm(torch.randn(500, 32, 16))
unrolled.release_memory()
assert _core.workspace_bytes() >= y.numel() * 4  # what is saved for backward is in use
y.sum().backward()
del y
unrolled.release_memory()
assert _core.workspace_bytes() == 0
""")


def test_release_memory_needs_no_torch():
    code = "import sys, unrolled; unrolled.release_memory(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
