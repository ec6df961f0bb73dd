"""Backward in segments: the gates computed again, every gradient with the bits of the run that kept them."""

import pytest
import torch

from tests.core.cases import DTYPES, KINDS, assert_same_bits, make
from tests.core.test_bits import some_lengths, some_resets

pytestmark = pytest.mark.usefixtures("instruction_set")

#: (T, B, H, segment): a block of the sums is 64, 21 (B = 3), 12 (B = 20) and 1 steps long.
SIZES = [(197, 1, 17, 64), (71, 3, 47, 10), (53, 20, 33, 7), (9, 131, 9, 2), (7, 5, 9, 50)]


@pytest.fixture(params=[kind for kind in KINDS if not kind.startswith("RNN")])
def kind(request):
    return request.param


@pytest.fixture(params=DTYPES, ids=["f32", "f64", "bf16"])
def dtype(request):
    return request.param


@pytest.mark.parametrize(("T", "B", "H", "segment"), SIZES)
def test_segments_give_the_bits_of_the_whole(kind, dtype, T, B, H, segment):
    case = make(kind, dtype, T=T, B=B, H=H, D=2)
    assert_same_bits(case.run(segment), case.run())


@pytest.mark.parametrize("options", ["lengths", "reset", "reset to a state", "both", "one-hot", "packed"])
def test_segments_give_the_bits_of_the_whole_with(kind, dtype, options):
    T, B = 53, 11
    lengths, reset = some_lengths(T, B), some_resets(T, B)
    layout = {
        "lengths": {"lengths": lengths.clamp(max=T - 4)},
        "reset": {"reset": reset},
        "reset to a state": {"reset": reset, "reset_state": True},
        "both": {"lengths": lengths, "reset": reset},
        "one-hot": {"one_hot": True, "lengths": lengths},
        "packed": {},
    }[options]
    case = make(kind, dtype, T=T, B=B, H=19, D=2, **layout)
    if options == "packed":
        inside = torch.arange(T)[:, None] < torch.tensor([53, 53, 40, 39, 39, 21, 20, 12, 11, 3, 1])
        case.layout = {"batch_sizes": inside.sum(1), "reset": reset[inside]}
        case.x, case.dy = case.x[inside], case.dy[inside]
    for segment in (12, 30):
        assert_same_bits(case.run(segment), case.run())


@pytest.mark.parametrize(
    "size",
    [{"T": 83, "B": 29, "I": 7, "H": 27}, {"T": 81, "B": 2, "I": 37, "H": 147}, {"T": 83, "B": 3, "H": 109, "D": 2}],
    ids=["rows", "panels", "recurrences"],
)
def test_segments_give_the_same_bits_for_any_number_of_threads(kind, dtype, size):
    case = make(kind, dtype, **size)
    one = case.run()
    for threads in (1, 2, 3, 7):
        torch.set_num_threads(threads)
        assert_same_bits(case.run(21), one)
