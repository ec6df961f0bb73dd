"""Where our modules differ from torch's on PyTorch's own entries, and why: (check, module) -> reason.

Each is expected to fail: one that passes makes the suite red, and its line goes.
"""

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")

_BATCHED = "autograd's own batches of gradients (is_grads_batched=True) do not reach the core; torch.vmap does"
_EXPANDED = (
    "call_for_per_sample_grads knows torch's operators only; torch.vmap of torch.func.grad gives the same gradients"
)

DIFFERENCES: dict[tuple[str, str], str] = {
    **{("batched derivatives", name): _BATCHED for name in LAYERS + CELLS},
    **{("expanded weights", name): _EXPANDED for name in LAYERS},
}
