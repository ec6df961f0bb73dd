"""Dropout with masks of the core: its shares, its scale, its random numbers and its derivative."""

import numpy as np
import pytest
import torch

from unrolled.config.model import ModelConfig
from unrolled.corpus.sharing import Whole
from unrolled.lm.dropout import add_masked, dropout, kept, masked, rows_of
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

N = 1 << 18


def stays(x, p):
    """Which elements of x a new mask keeps."""
    return masked(torch.ones_like(x), kept(x, p)).bool()


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, 0.999])
def test_each_element_is_dropped_with_the_probability_asked_for(p):
    torch.manual_seed(0)
    mask = stays(torch.empty(N), p)
    deviation = (N * p * (1 - p)) ** 0.5
    assert abs(int((~mask).sum()) - N * p) < 5 * deviation
    for place in range(8):  # all lanes alike
        assert abs(int((~mask[place::8]).sum()) - N / 8 * p) < 5 * deviation / 8**0.5


def test_masks_of_different_draws_are_independent():
    torch.manual_seed(6)
    masks = np.array([stays(torch.empty(1 << 14), 0.5).numpy() for _ in range(9)])
    found = np.corrcoef(masks)[np.triu_indices(9, 1)]
    assert abs(found).max() < 5 / 2**7


def test_masks_of_neighbours_are_independent():
    torch.manual_seed(1)
    mask = stays(torch.empty(N), 0.5).numpy()
    for distance in range(1, 9):
        assert abs(np.corrcoef(mask[:-distance], mask[distance:])[0, 1]) < 5 / N**0.5


@pytest.mark.parametrize("p", [0.25, 0.3, 0.999])
def test_what_is_left_keeps_the_mean(p):
    torch.manual_seed(2)
    y = dropout(torch.ones(N), p)
    assert y.mean().item() == pytest.approx(1, abs=5 * (p / (1 - p) / N) ** 0.5)
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=1e-6)
    assert len(y.unique()) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"weight_dropout": 0.3}], ids=str)
def test_a_model_of_any_float_type_learns_with_dropout(options, dtype):
    config = ModelConfig(hidden_size=5, num_layers=2, **options)
    model, ids = SequenceModel(config, Vocabulary("ab")).to(dtype), torch.randint(2, (7, 3))
    model.loss(ids, ids)[0].backward()
    assert all(w.grad.isfinite().all() and w.grad.dtype == dtype for w in model.parameters())


def test_no_dropout_draws_nothing_and_returns_its_input():
    before, x = torch.get_rng_state(), torch.ones(3)
    assert dropout(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_fixes_the_mask_for_odd_sizes_and_any_thread_count():
    masks = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(3)
        masks.append(stays(torch.empty(7, 110, 130, dtype=torch.bfloat16), 0.4))
    torch.set_num_threads(1)
    assert masks[0].shape == (7, 110, 130)
    assert torch.equal(*masks)


def test_the_derivative_is_the_same_mask():
    x = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(7)
    (dx,) = torch.autograd.grad(dropout(x, 0.5).sum(), x)
    torch.manual_seed(7)
    mask = kept(x, 0.5)
    assert torch.equal(dx, masked(torch.ones_like(x), mask))
    total = torch.full_like(x, 3.0, requires_grad=False)
    add_masked(torch.ones_like(x), mask, total)
    assert torch.equal(total, 3 + dx)


def test_shares_of_a_batch_draw_their_rows_of_one_mask():
    x = torch.ones(5, 4, 7)
    masks = []
    for rows, T in ([0, 1, 2, 3], 5), ([3, 1], 4):
        torch.manual_seed(8)
        with rows_of(Whole(5, 4, np.array(rows), 20)):
            masks.append(stays(x[:T, : len(rows)], 0.5))
    assert torch.equal(masks[1], masks[0][:4, [3, 1]])


def test_weight_dropout_zeroes_recurrent_weights_in_training_alone():
    torch.manual_seed(4)
    model = SequenceModel(ModelConfig(hidden_size=16, num_layers=2, weight_dropout=0.5), Vocabulary("abc")).train()
    dropped = model._dropped_weights()
    assert dropped.keys() == {"weight_hh_l0", "weight_hh_l1"}
    for name, weight in dropped.items():
        assert 0.4 < float((weight == 0).double().mean()) < 0.6
        kept_ones = weight != 0
        torch.testing.assert_close(weight[kept_ones], 2 * getattr(model.rnn, name)[kept_ones])
    ids = torch.tensor([[0], [1], [2]])
    assert not torch.equal(model(ids)[0], model(ids)[0])
    model.eval()
    assert torch.equal(model(ids)[0], model(ids)[0])


def _dropping():
    config = ModelConfig(hidden_size=6, dropout=0.5, weight_dropout=0.3)
    return SequenceModel(config, Vocabulary("abc")).train()


def test_masks_under_vmap_are_as_its_randomness_says():
    model, ids = _dropping(), torch.zeros(3, 5, 2, dtype=torch.int64)

    def read(randomness):
        return torch.func.vmap(lambda one: model(one)[0], randomness=randomness)(ids)

    with pytest.raises(RuntimeError, match="randomness"):
        read("error")
    model.config = ModelConfig(hidden_size=6, dropout=0.5)
    same, different = read("same"), read("different")
    assert torch.equal(same[0], same[1])
    assert not torch.equal(different[0], different[1])


def test_graph_that_is_traced_in_training_holds_the_masks_that_it_draws():
    """A tracer sees a mask drawn anew in each call, not the values of one."""
    from torch.fx.experimental.proxy_tensor import make_fx

    model, ids = _dropping(), torch.zeros(7, 2, dtype=torch.int64)
    model.config = ModelConfig(hidden_size=6, dropout=0.5)
    torch.manual_seed(3)
    graph = make_fx(lambda ids: model(ids)[0])(ids)
    drawn, called = (torch.stack([read(ids) for _ in range(400)]) for read in (graph, lambda ids: model(ids)[0]))
    assert len({each.sum().item() for each in drawn}) > 300
    assert (drawn.mean(0) - called.mean(0)).abs().max() < 6 * (2 / 400) ** 0.5 * called.std()  # standard errors
    assert abs(drawn.std() / called.std() - 1) < 0.1
