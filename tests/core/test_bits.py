"""The same bits, whatever the company: promise 2 of the project, on every instruction set and both types."""

from itertools import pairwise

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled.nn
from tests.core.cases import DIVISIONS, DTYPES, KINDS, WITH_OPTIONS, assert_same_bits, make
from tests.nn.compare import assert_all_close
from unrolled.core.fields import Layout
from unrolled.nn import fused

pytestmark = [
    pytest.mark.usefixtures("instruction_set"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]

PER_ROW = ["y", "h_n", "c_n", "dx", "dh0", "dc0", "dh_reset", "dc_reset"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=DTYPES, ids=["f32", "f64", "bf16"])
def dtype(request):
    return request.param


def some_lengths(T, B):
    """Unsorted, with a zero, a full one and a tie."""
    lengths = torch.arange(B) * 3 % (T + 1)
    lengths[0], lengths[-1] = T, lengths[1]
    return lengths


def some_resets(T, B):
    return torch.rand(T, B, generator=torch.Generator().manual_seed(3)) < 0.2


@pytest.mark.parametrize("division", DIVISIONS)
def test_bits_do_not_depend_on_the_number_of_threads(kind, dtype, division):
    case = make(kind, dtype, **DIVISIONS[division])
    one = case.run()
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        assert_same_bits(case.run(), one)


@pytest.mark.parametrize("options", ["lengths", "reset", "reset to a state", "one-hot"])
def test_bits_do_not_depend_on_the_number_of_threads_with(kind, dtype, options):
    layout = {
        "lengths": {"lengths": some_lengths(23, 29)},
        "reset": {"reset": some_resets(23, 29)},
        "reset to a state": {"reset": some_resets(23, 29), "reset_state": True},
        "one-hot": {"one_hot": True},
    }[options]
    case = make(kind, dtype, **WITH_OPTIONS, **layout)
    one = case.run()
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        assert_same_bits(case.run(), one)


@pytest.mark.parametrize(("B", "H"), [(11, 1), (11, 9), (11, 33), (7, 33), (8, 33)])  # 7 and 8 rows are one tall tile
def test_row_has_the_same_bits_alone_and_in_a_batch(kind, dtype, B, H):
    case = make(kind, dtype, B=B, H=H, D=2)
    together = case.run()
    for b in (0, 4, B - 1):
        alone = case.rows([b]).run()
        in_batch = {name: t if t is None else t[:, b : b + 1] for name, t in together.items() if name in PER_ROW}
        assert_same_bits(alone, in_batch)


def test_row_has_the_same_bits_among_other_rows_and_in_another_place(kind, dtype):
    layout = {"lengths": some_lengths(7, 11), "reset": some_resets(7, 11)}
    case = make(kind, dtype, B=11, D=2, reset_state=True, **layout)
    want = case.run()
    order = [7, 2, 10, 5, 3]
    got = case.rows(order).run()
    assert_same_bits(got, {name: t if t is None else t[:, order] for name, t in want.items() if name in PER_ROW})


def test_ragged_row_has_the_bits_of_its_sequence_alone(kind, dtype):
    lengths = some_lengths(7, 5)
    case = make(kind, dtype, D=2, lengths=lengths)
    padded = case.run()
    for b, n in enumerate(lengths.tolist()):
        if n == 0:
            continue
        alone = case.rows([b])
        alone.layout = {}
        alone.x, alone.dy = alone.x[:n].contiguous(), alone.dy[:n].contiguous()
        in_batch = {name: padded[name] for name in PER_ROW if padded[name] is not None}
        in_batch = {name: t[:n, b : b + 1] if name in ("y", "dx") else t[:, b : b + 1] for name, t in in_batch.items()}
        assert_same_bits(alone.run(), in_batch)


def test_padding_is_never_read_and_the_output_past_the_end_is_zero(kind, dtype):
    lengths = some_lengths(7, 5)
    case = make(kind, dtype, D=2, lengths=lengths)
    clean = case.run()
    past = torch.arange(7)[:, None] >= lengths
    case.x[past] = case.dy[past] = torch.nan
    assert_same_bits(case.run(), clean)
    assert not clean["y"][past].any()
    assert not clean["dx"][past].any()


def test_packed_call_has_the_bits_of_the_padded_one(kind, dtype):
    lengths = torch.tensor([7, 5, 5, 2, 1])
    case = make(kind, dtype, D=2, lengths=lengths)
    padded = case.run()
    inside = torch.arange(7)[:, None] < lengths
    case.layout = {"batch_sizes": inside.sum(1)}
    case.x, case.dy = case.x[inside], case.dy[inside]
    padded["y"], padded["dx"] = padded["y"][inside], padded["dx"][inside]
    assert_same_bits(case.run(), padded)


@pytest.mark.parametrize("B", [1, 3, 5])  # few rows of one step are multiplied without packing
def test_whole_sequence_has_the_bits_of_its_pieces_and_of_its_steps(kind, dtype, B):
    case = make(kind, dtype, T=23, B=B)
    whole, _ = case.forward()
    for cuts in ([0, 4, 5, 17, 23], range(24)):
        h, c, pieces = case.h0, case.c0, []
        for first, end in pairwise(cuts):
            piece = fused.forward(case.kind, Layout(), case.x[first:end], h, c, case.weights)
            h, c = piece.h_n, piece.c_n
            pieces.append(piece.y)
        found = {"y": torch.cat(pieces), "h_n": h, "c_n": c}
        if dtype == torch.bfloat16 and c is not None:  # c goes from piece to piece rounded
            assert_all_close(found, whole)
        else:
            assert_same_bits(found, whole)


#: I and H on both sides of what is read at a time in place, 2 to 16 numbers of 4 to 16 rows; and beyond one chain.
IN_PLACE = [(1, 1), (2, 3), (7, 8), (9, 7), (8, 15), (17, 16), (31, 17), (33, 40), (16, 65), (1030, 9)]


def test_weights_read_in_place_give_the_bits_of_packed_ones(kind, dtype):
    for I, H in IN_PLACE:
        case = make(kind, dtype, T=1, B=5, I=I, H=H)  # five rows: packed
        together, _ = case.forward()
        for rows in (1, 2, 3, 4):
            few, _ = case.rows([*range(rows)]).forward()
            assert_same_bits(few, {name: t if t is None else t[:, :rows] for name, t in together.items()})


def test_training_and_inference_give_the_same_bits(kind, dtype):
    case = make(kind, dtype, D=2, lengths=some_lengths(7, 5), reset=some_resets(7, 5))
    assert_same_bits(case.forward(save=True)[0], case.forward(save=False)[0])


def test_layout_in_memory_does_not_change_the_bits(kind, dtype):
    case = make(kind, dtype, T=7, B=5, D=2)
    want = case.run()
    case.x, case.dy = (t.transpose(0, 1).contiguous().transpose(0, 1) for t in (case.x, case.dy))
    assert_same_bits(case.run(), want)
    wide = torch.full((7, 5, 8), torch.nan, dtype=dtype)
    wide[..., 2:5] = case.x
    case.x = wide[..., 2:5]
    assert_same_bits(case.run(), want)


def test_one_hot_row_has_the_same_bits_with_and_without_the_table_of_products(kind, dtype):
    """Symbols are looked up in a table made once a call when that pays: here for 29 rows, not for one."""
    case = make(kind, dtype, T=3, B=29, I=91, H=9, one_hot=True)
    together = case.run()
    for b in (0, 28):
        in_batch = {name: together[name] for name in PER_ROW if together[name] is not None}
        assert_same_bits(case.rows([b]).run(), {name: t[:, b : b + 1] for name, t in in_batch.items()})


@pytest.mark.parametrize("make_layer", [unrolled.nn.RNN, unrolled.nn.LSTM, unrolled.nn.GRU])
def test_layer_promises_the_same_bits_from_outside(dtype, make_layer):
    """Two bidirectional layers through the public door: rows alone, packed, padded, and one, two or seven threads."""
    layer = make_layer(13, 67, num_layers=2, bidirectional=True, dtype=dtype)
    lengths = torch.tensor([3, 61, 1, 11, 38])
    x = torch.randn(61, 5, 13, dtype=dtype)

    def gradients(threads):
        torch.set_num_threads(threads)
        leaf = x.clone().requires_grad_()
        y, _ = layer(leaf, lengths=lengths)
        y.square().sum().backward()
        found = {"y": y.detach(), "dx": leaf.grad, **{n: p.grad for n, p in layer.named_parameters()}}
        layer.zero_grad()
        return found

    padded = gradients(1)
    assert_same_bits(gradients(2), padded)
    assert_same_bits(gradients(7), padded)
    with torch.no_grad():
        packed, _ = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        assert_same_bits({"y": pad_packed_sequence(packed)[0]}, {"y": padded["y"]})
        for b, n in enumerate(lengths.tolist()):
            assert_same_bits({"y": layer(x[:n, b])[0]}, {"y": padded["y"][:n, b]})


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_step_gives_the_bits_of_the_sequence(dtype, name):
    layer = getattr(unrolled.nn, name)(5, 19, num_layers=2, dtype=dtype)
    x = torch.randn(9, 3, 5, dtype=dtype)
    with torch.no_grad():
        whole, _ = layer(x)
        state, steps = None, []
        for x_t in x:
            y_t, state = layer.step(x_t, state)
            steps.append(y_t)
    if dtype == torch.bfloat16 and name == "LSTM":  # c goes from step to step rounded; a Stepper keeps it in float32
        assert_all_close({"y": torch.stack(steps)}, {"y": whole})
    else:
        assert_same_bits({"y": torch.stack(steps)}, {"y": whole})


def test_assert_same_bits_sees_one_bit_and_the_sign_of_zero(dtype):
    want = torch.rand(3, 4, dtype=dtype)
    off = want.clone()
    off[1, 2] = torch.nextafter(off[1, 2], torch.ones((), dtype=dtype))
    with pytest.raises(AssertionError, match=r"y\[1, 2\].*1 of 12"):
        assert_same_bits({"y": off}, {"y": want})
    with pytest.raises(AssertionError, match="elements differ"):
        assert_same_bits({"y": torch.tensor([-0.0])}, {"y": torch.tensor([0.0])})
