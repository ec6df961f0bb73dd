"""Networks as modules: how they are called, and what is refused."""

import numpy as np
import pytest
import torch

import unrolled.nn
import unrolled.runtime
from tests.saved.networks import layer
from unrolled.nn import GRU, LSTM, network_of
from unrolled.saved.network import Network

NETWORKS = {
    "vectors": network_of([GRU(4, 6), LSTM(6, 5), torch.nn.Linear(5, 3)]),
    "symbols": network_of(GRU(4, 6), one_hot=True),
    "embedded": network_of([torch.nn.Embedding(4, 3), LSTM(3, 5)]),
    "initial": Network((layer("LSTM", 4, 5, initial=True), layer("GRU", 5, 4, initial=True, seed=1))),
    "last": network_of([GRU(4, 6), torch.nn.Linear(6, 3)], head="last"),
    "last of both": network_of([LSTM(4, 3, bidirectional=True), torch.nn.Linear(6, 3)], head="last"),
    "last output": network_of([LSTM(4, 3, bidirectional=True), torch.nn.Linear(6, 3)], head="last_output"),
}


@pytest.fixture(params=[(name, layers) for name in NETWORKS for layers in ("unrolled", "torch")], ids=str)
def module(request):
    name, layers = request.param
    return unrolled.nn.NetworkModule(NETWORKS[name], layers)


def drawn(module, T=5, B=3):
    reads_symbols = module.one_hot or module.embedding is not None
    return torch.randint(4, (T, B)) if reads_symbols else torch.randn(T, B, 4, dtype=next(module.parameters()).dtype)


def test_single_sequence_is_a_row_of_a_batch(module):
    x = drawn(module)
    y, states = module(x)
    one, own = module(x[:, 1])
    torch.testing.assert_close(one, y[1] if module.when != "each" else y[:, 1])
    flat, its = (torch.utils._pytree.tree_leaves(s) for s in (states, own))
    for batched, single in zip(flat, its, strict=True):
        torch.testing.assert_close(single, batched[:, 1])


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        (torch.tensor([5, 2]), ValueError, r"lengths must have shape \(3,\), one entry for each row"),
        (torch.tensor([5, 6, 1]), ValueError, r"lengths\[1\] is 6, expected 1 to T = 5"),
        (torch.tensor([5.0, 2.0, 1.0]), TypeError, r"lengths must be an int64 tensor .* give lengths\.long"),
        ([5, 2, 1], TypeError, r"lengths must be an int64 tensor .* torch\.as_tensor"),
    ],
    ids=["short", "long", "float", "list"],
)
def test_wrong_lengths_are_refused(module, lengths, error, message):
    with pytest.raises(error, match=message):
        module(drawn(module), lengths=lengths)


@pytest.mark.parametrize("name", ["last", "last of both", "last output"])
def test_last_step_is_what_the_runtime_takes(name):
    module, own = unrolled.nn.module_of(NETWORKS[name]), unrolled.runtime.load(NETWORKS[name])
    x, lengths = drawn(module), torch.tensor([5, 2, 1])
    for given in (None, lengths):
        y = module(x, lengths=given)[0].detach().numpy()
        np.testing.assert_allclose(y, own.feed(x.numpy(), None if given is None else given.numpy()), atol=1e-6)


def test_last_state_and_last_output_of_both_directions_differ():
    of_both, of_output = (unrolled.nn.module_of(NETWORKS[name]) for name in ("last of both", "last output"))
    of_output.load_state_dict(of_both.state_dict())
    x = drawn(of_both)
    y, (h, _) = of_both.rnn[0](x)
    torch.testing.assert_close(of_both(x)[0], of_both.head(torch.cat([h[0], h[1]], -1)))
    torch.testing.assert_close(of_output(x)[0], of_both.head(y[-1]))


def test_another_number_of_states_is_refused(module):
    x = drawn(module)
    _, states = module(x)
    for wrong in ((), (*states, *states)):
        with pytest.raises(ValueError, match=f"got {len(wrong)} states, expected one for each .*, {len(states)}"):
            module(x, wrong)


def test_what_is_no_network_and_layers_of_nobody_are_refused():
    with pytest.raises(TypeError, match=r"expected a Network, as network_of\(module\) returns it, got GRU"):
        unrolled.nn.module_of(GRU(4, 6))
    with pytest.raises(ValueError, match="layers is 'keras', expected 'unrolled' or 'torch'"):
        unrolled.nn.NetworkModule(NETWORKS["vectors"], "keras")
