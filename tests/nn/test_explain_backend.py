"""What `explain_backend` says of a call, and what the call does."""

import subprocess
import sys

import pytest
import torch

import unrolled.nn


def test_explain_backend_names_path_and_reason(monkeypatch):
    gru, x = unrolled.nn.GRU(3, 5), torch.zeros(7, 2, 3)
    explain = unrolled.nn.explain_backend
    path, why = explain(gru, x)
    assert path == "fused"
    assert why.startswith("torch.float32 on cpu; an autograd Function, because a gradient is wanted; one thread: ")
    with torch.no_grad():
        assert explain(gru, x).why.startswith("torch.float32 on cpu; a bare call, because no gradient is wanted; ")
    assert "torch.bfloat16 on cpu;" in explain(gru.bfloat16(), x.bfloat16()).why
    assert "torch.float16 on cpu, computed in float32;" in explain(gru.half(), x.half()).why
    gru, x = gru.float(), x.float()
    assert explain(torch.nn.GRU(3, 5), x).path == "torch"
    monkeypatch.setenv("UNROLLED_BACKEND", "reference")
    assert explain(gru, x) == ("reference", "UNROLLED_BACKEND=reference")
    assert explain(gru.to("meta"), x.to("meta")).path == "reference"


@pytest.mark.parametrize(
    ("dtype", "computed"), [(torch.bfloat16, "bfloat16"), (torch.float16, "float32")], ids=["bfloat16", "float16"]
)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "PeepholeLSTM", "RNNCell", "LSTMCell", "GRUCell"])
def test_explain_backend_says_in_which_type_autocast_has_a_call_computed(name, dtype, computed):
    layer, x = getattr(unrolled.nn, name)(4, 6), torch.zeros(3, 2, 4)
    x = x[0] if "Cell" in name else x
    with torch.autocast("cpu", dtype):
        why = unrolled.nn.explain_backend(layer, x).why
        y = layer(x)
    narrow = (y if isinstance(y, torch.Tensor) else y[0]).dtype == dtype
    assert why.startswith(f"torch.float32 on cpu{f', computed in {computed}' if narrow else ''};")


@pytest.mark.parametrize("name", ["GRU", "GRUCell"])
def test_explain_backend_refuses_what_the_call_refuses(name):
    layer, x = getattr(unrolled.nn, name)(4, 6), torch.zeros(2, 4)
    for wrong in (
        x.to_sparse(),
        x.numpy(),
        torch.zeros(1, 2, 3, 4),
        torch.nested.nested_tensor([x, x], layout=torch.jagged),
    ):
        errors = (TypeError, ValueError, NotImplementedError)
        with pytest.raises(errors) as called:
            layer(wrong)
        with pytest.raises(errors) as explained:
            unrolled.nn.explain_backend(layer, wrong)
        assert str(explained.value) == str(called.value)


def test_explain_backend_says_how_many_threads_and_why():
    code = """
import torch, unrolled.nn
from unrolled import _core
torch.set_num_threads(16)
def say(layer, *shape):
    print(unrolled.nn.explain_backend(layer, torch.zeros(shape)).why.split("; ", 2)[2])
_core.rehearse(processors=2)
say(unrolled.nn.LSTM(256, 256, bidirectional=True, batch_first=True), 32, 100, 256)
say(unrolled.nn.LSTM(1024, 1024), 100, 1, 1024)
say(unrolled.nn.LSTM(8, 8), 100, 8)
say(unrolled.nn.GRUCell(8, 8), 3, 8)
_core.rehearse(processors=1)
say(unrolled.nn.LSTM(256, 256), 100, 32, 256)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "2 threads: they share its rows; 16 threads are allowed, and this process has 2 processors",
        "2 threads: they share each of its steps; 16 threads are allowed, and this process has 2 processors",
        "one thread: it is done before another would have woken",
        "one thread: it is done before another would have woken",
        "one thread: 16 threads are allowed, and this process has one processor",
    ]
