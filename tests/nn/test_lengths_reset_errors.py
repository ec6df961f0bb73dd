"""Wrong lengths and resets, which torch's layers do not take."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import unrolled.nn

X = torch.zeros(5, 3, 4)
GRU_WEIGHTS = [(torch.zeros(18, 4), torch.zeros(18, 6), None, None, None)]


@pytest.mark.parametrize(
    ("lengths", "error", "text"),
    [
        ([5, 3, 1], TypeError, r"lengths must be an int64 .*, got list; give torch.as_tensor\(lengths\)"),
        (torch.tensor([5, 3, 1]).int(), TypeError, r"lengths must be an int64 .* an int32 .*; give lengths.long\(\)"),
        (torch.tensor([5.0, 3.0, 1.0]), TypeError, r"lengths must be an int64 .* got a float32 tensor of shape \(3,\)"),
        (torch.tensor([5, 3, 1], dtype=torch.int32), TypeError, "got an int32 tensor"),
        (torch.tensor([5, 3]), ValueError, r"lengths must have shape \(3,\), .* got \(2,\)"),
        (torch.tensor([[5, 3, 1]]), ValueError, r"got \(1, 3\)"),
        (torch.tensor([5, 6, 1]), ValueError, r"lengths\[1\] is 6, expected 0 to T = 5"),
        (torch.tensor([5, 3, -1]), ValueError, r"lengths\[2\] is -1, expected 0 to T = 5"),
        (torch.zeros(3, dtype=torch.int64, device="meta"), ValueError, "lengths must be on the input's device cpu"),
    ],
    ids=str,
)
def test_wrong_lengths_are_refused(route, lengths, error, text):
    with pytest.raises(error, match=text):
        unrolled.nn.GRU(4, 6)(X, lengths=lengths)


@pytest.mark.parametrize(
    ("reset", "error", "text"),
    [
        (torch.zeros(5, 3), TypeError, r"reset must be a bool tensor of shape \(5, 3\), got a float32 tensor"),
        (
            torch.zeros(5, 3),
            TypeError,
            r"give reset.bool\(\) if 1 marks a reset, reset == 0 if 1 marks a state that is",
        ),
        (
            torch.zeros(5, 3, dtype=torch.uint8),
            TypeError,
            r"got a uint8 tensor of shape \(5, 3\); give reset.bool\(\)$",
        ),
        (np.zeros((5, 3), bool), TypeError, r"got ndarray; give torch.as_tensor\(reset\)"),
        ([[True]], TypeError, "got list"),
        (torch.zeros(3, 5, dtype=torch.bool), ValueError, r"shape \(5, 3\), that of input without its .* got \(3, 5\)"),
        (torch.zeros(5, dtype=torch.bool), ValueError, r"got \(5,\)"),
        (torch.zeros(5, 3, dtype=torch.bool, device="meta"), ValueError, "reset must be on the input's device cpu"),
    ],
    ids=str,
)
def test_wrong_reset_is_refused(route, reset, error, text):
    with pytest.raises(error, match=text):
        unrolled.nn.GRU(4, 6)(X, reset=reset)


@pytest.mark.parametrize(
    ("to", "error", "text"),
    [
        (torch.zeros(1, 2, 6), ValueError, r"h of reset_state is a .* \(1, 2, 6\) .*expected a float32 .*\(1, 3, 6\)"),
        (torch.zeros(1, 3, 6).double(), ValueError, "h of reset_state is a float64 tensor"),
        (torch.zeros(1, 3, 6, device="meta"), ValueError, "on meta, expected .* on cpu"),
        ((torch.zeros(1, 3, 6),) * 2, TypeError, "GRU: Expected reset_state to be one tensor h_0, got tuple"),
    ],
    ids=["shape", "type", "device", "pair"],
)
def test_wrong_reset_state_is_refused(route, to, error, text):
    reset = torch.zeros(5, 3, dtype=torch.bool)
    with pytest.raises(error, match=text):
        unrolled.nn.GRU(4, 6)(X, reset=reset, reset_state=to)
    if error is ValueError:
        with pytest.raises(error, match=text):
            unrolled.nn.functional.layer("GRU", X, None, None, GRU_WEIGHTS, reset=reset, reset_state=(to, None))


def test_wrong_reset_of_one_step_is_refused(route):
    gru, cell = unrolled.nn.GRU(4, 6), unrolled.nn.GRUCell(4, 6)
    calls = [gru.step, cell, unrolled.nn.Stepper(gru, batch_size=3)]
    for call in calls:
        with pytest.raises(TypeError, match=r"reset must be a bool tensor of shape \(3,\), got a uint8 tensor"):
            call(X[0], reset=torch.zeros(3, dtype=torch.uint8))
        with pytest.raises(
            ValueError, match=r"h of reset_state is a float32 tensor of shape \(1, 1\) on cpu, expected"
        ):
            call(X[0], reset=torch.zeros(3, dtype=torch.bool), reset_state=torch.zeros(1, 1))


def test_reset_state_without_reset_is_refused(route):
    gru, to = unrolled.nn.GRU(4, 6), torch.zeros(1, 3, 6)
    for call in (
        lambda: gru(X, reset_state=to),
        lambda: gru.step(X[0], reset_state=to),
        lambda: unrolled.nn.GRUCell(4, 6)(X[0], reset_state=to[0]),
        lambda: unrolled.nn.Stepper(gru, batch_size=3)(X[0], reset_state=to),
        lambda: unrolled.nn.functional.layer("GRU", X, None, None, GRU_WEIGHTS, reset_state=(to, None)),
    ):
        with pytest.raises(ValueError, match="reset_state is given without reset"):
            call()


def test_lengths_and_packed_input_together_are_refused():
    packed = pack_sequence([torch.zeros(n, 4) for n in (5, 3, 1)])
    with pytest.raises(ValueError, match="lengths cannot be given with a PackedSequence"):
        unrolled.nn.GRU(4, 6)(packed, lengths=torch.tensor([5, 3, 1]))


def test_reset_that_is_packed_otherwise_than_the_input_is_refused():
    gru, x, reset = unrolled.nn.GRU(4, 6), torch.randn(6, 3, 4), torch.zeros(6, 3, dtype=torch.bool)
    pack = partial(pack_padded_sequence, enforce_sorted=False)
    lengths = torch.tensor([6, 1, 4])
    gru(pack(x, lengths), reset=pack(reset, lengths))
    for input, other in [
        (pack(x, lengths), torch.tensor([4, 1, 6])),
        (pack(x, lengths), torch.tensor([6, 1, 3])),
        (x, lengths),
    ]:
        with pytest.raises(ValueError, match="reset is packed otherwise than the input; pack both with the same"):
            gru(input, reset=pack(reset, other))
