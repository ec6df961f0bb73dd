"""Replicas: the numbers of the layer, and of each replica alone."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unrolled.lab.replicas import Replicas
from unrolled.nn import dispatch
from unrolled.nn.fused import block_steps
from unrolled.notation import weight_shapes

KINDS = ["LSTM", "GRU", "RNN_TANH", "RNN_RELU"]


def stacked(kind, S, I, H, dtype=torch.float32):
    torch.manual_seed(S * 100 + H)
    return [torch.randn(S, *shape, dtype=dtype) / H**0.5 for shape in weight_shapes(kind, I, H).values()]


def run(kind, weights, ids, dy, T=None, width=None):
    """Return y (S, T, B, H) and the weights' gradients of replicas."""
    _, T_all, B = ids.shape
    gradients = [torch.full_like(w, 7.0) for w in weights]
    replicas = Replicas(kind, weights, T or T_all, B, gradients, width)
    replicas.ids[:, :T_all] = ids
    replicas.forward(replicas.T)
    replicas.dy[:, :T_all, :, : replicas.H] = dy
    replicas.backward(replicas.T)
    return replicas.y[:, :T_all, :, : replicas.H], gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_each_replica_has_the_numbers_of_the_layer(kind, dtype):
    S, T, B, I, H = 3, 7, 2, 5, 9
    weights = stacked(kind, S, I, H, dtype)
    ids, dy = torch.randint(I, (S, T, B)), torch.randn(S, T, B, H, dtype=dtype)
    y, gradients = run(kind, weights, ids, dy)
    for s in range(S):
        own = [w[s].clone().requires_grad_() for w in weights]
        want, *_ = dispatch.layer(kind, ids[s], None, None, [(*own, None)])
        want.backward(dy[s])
        assert torch.equal(y[s], want)
        for got, w in zip(gradients, own, strict=True):
            assert torch.equal(got[s], w.grad)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("B", [1, 3, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_by_whole_blocks_changes_no_bit(kind, B, threads):
    S, I, H = 2, 4, 3
    T = 2 * block_steps(B)
    weights = stacked(kind, S, I, H)
    ids, dy = torch.randint(I, (S, T, B)), torch.randn(S, T, B, H)
    torch.set_num_threads(threads)
    short = run(kind, weights, ids, dy)
    long = run(kind, weights, ids, dy, T=T + 3 * block_steps(B), width=H + 1)
    assert torch.equal(short[0], long[0])
    assert all(torch.equal(a, b) for a, b in zip(short[1], long[1], strict=True))


def test_padding_by_less_than_a_block_would_change_bits():
    """Otherwise the test above would prove nothing."""
    S, B, I, H = 1, 1, 4, 3
    T = 2 * block_steps(B)
    weights, ids = stacked("LSTM", S, I, H), torch.randint(I, (S, T, B))
    dy = torch.randn(S, T, B, H)
    _, short = run("LSTM", weights, ids, dy)
    _, long = run("LSTM", weights, ids, dy, T=T + 1)
    assert not all(torch.equal(a, b) for a, b in zip(short, long, strict=True))


def test_second_run_continues_from_the_final_state():
    S, T, B, I, H = 2, 9, 3, 4, 5
    weights, ids = stacked("LSTM", S, I, H), torch.randint(I, (S, T, B))
    whole, parts = Replicas("LSTM", weights, T, B), Replicas("LSTM", weights, T, B)
    whole.ids[:] = ids
    whole.forward(T)
    parts.ids[:, :4] = ids[:, :4]
    parts.forward(4)
    parts.h_0.copy_(parts.h_n)
    parts.c_0.copy_(parts.c_n)
    parts.ids[:, :5] = ids[:, 4:]
    parts.forward(5)
    assert torch.equal(parts.y[:, :5], whole.y[:, 4:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: [w[0][..., :2], *w[1:]], "W_ih of each replica must be contiguous"),
        (
            lambda w: [w[0], w[1], w[2][:, :4], w[3]],
            r"b_ih is torch.float32 \(2, 4\), expected torch.float32 \(2, 12\)",
        ),
        (lambda w: [w[0], w[1], w[2].double(), w[3]], "b_ih is torch.float64"),
        (lambda w: [each.half() for each in w], "W_ih is torch.float16"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Replicas("LSTM", change(stacked("LSTM", 2, 3, 3)), 1, 1)


def test_memory_that_does_not_fit_the_weights_is_refused():
    weights = stacked("GRU", 2, 3, 5)
    with pytest.raises(ValueError, match=r"W_ih is torch.float64 \(2, 15, 3\), expected torch.float32 \(2, 15, 3\)"):
        Replicas("GRU", weights, 1, 1, [w.double() for w in weights])
    with pytest.raises(ValueError, match="width is 4, expected H = 5 or more"):
        Replicas("GRU", weights, 1, 1, width=4)


def test_more_steps_than_there_is_room_for_are_refused():
    replicas = Replicas("GRU", stacked("GRU", 1, 3, 3), T=4, B=1)
    with pytest.raises(ValueError, match="T = 5, expected 1 to 4"):
        replicas.forward(5)


def test_replicas_refuse_to_run_where_torch_must_see_it():
    replicas = Replicas("GRU", stacked("GRU", 1, 3, 3), T=4, B=1)
    with (
        FlopCounterMode(display=False),
        pytest.raises(TypeError, match="outside of torch's tracers, transforms"),
    ):
        replicas.forward(4)
