"""The textbook example: its vocabulary, shapes and loss, and models of two units worked by hand."""

import math

import numpy as np
import pytest
import torch

from unrolled.config.model import ModelConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.loader import BatchLoader
from unrolled.lm.model import SequenceModel
from unrolled.notation import gate_count
from unrolled.saved.vocabulary import Vocabulary

STRINGS = [["a"] * n + ["b"] * n for n in range(1, 6)]
CELLS = ["rnn", "lstm", "gru"]


def textbook_corpus():
    return Corpus.from_sequences(STRINGS, validation=0, test=0)


def textbook_model(cell, hidden_size=10):
    torch.manual_seed(0)
    return SequenceModel(ModelConfig(cell=cell, hidden_size=hidden_size), textbook_corpus().vocabulary)


def test_vocabulary_order_and_one_hot_rows():
    vocabulary = textbook_corpus().vocabulary
    assert vocabulary.names == ("a", "b", "EOS", "UNK")
    assert vocabulary.one_hot([0, 1, 2, 3]).tolist() == np.eye(4).tolist()
    assert vocabulary.encode(["a", "never seen"]).tolist() == [0, 3]


def test_batch_inputs_lack_the_last_symbol_and_targets_the_first():
    batch = BatchLoader(textbook_corpus().train, stream=False, batch_size=5, bptt=1, seed=0).next()
    a, b, EOS = 0, 1, 2
    for row, n in enumerate(range(5, 0, -1)):
        sequence = [a] * n + [b] * n + [EOS]
        length = 2 * n
        assert (batch.lengths[row] if batch.lengths is not None else batch.ids.shape[0]) == length
        assert batch.ids[:length, row].tolist() == sequence[:-1]
        assert batch.targets[:length, row].tolist() == sequence[1:]
    assert batch.N == 30


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("H", [10, 50])
def test_parameter_shapes_of_each_cell(cell, H):
    G, V = gate_count(ModelConfig(cell=cell).kind), 4
    shapes = {name: tuple(p.shape) for name, p in textbook_model(cell, H).named_parameters()}
    assert shapes == {
        "rnn.weight_ih_l0": (G * H, V),
        "rnn.weight_hh_l0": (G * H, H),
        "rnn.bias_ih_l0": (G * H,),
        "rnn.bias_hh_l0": (G * H,),
        "head.weight": (V, H),
        "head.bias": (V,),
    }


@pytest.mark.parametrize("cell", CELLS)
def test_untrained_probabilities_are_close_to_one_quarter(cell):
    logits, _ = textbook_model(cell)(torch.tensor([[0], [0], [1], [1]]))
    assert logits.shape == (4, 1, 4)
    assert (logits.softmax(-1) - 0.25).abs().max() < 0.02


def test_cross_entropy_of_the_textbook_logits():
    logits = torch.tensor([[-1.2366e-4, 1.7240e-4]])
    assert torch.nn.functional.cross_entropy(logits, torch.tensor([0])).item() == pytest.approx(0.6933, abs=5e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_loss_is_the_mean_of_minus_log_probability_over_symbols(cell):
    model = textbook_model(cell)
    batch = BatchLoader(textbook_corpus().train, stream=False, batch_size=5, bptt=1, seed=0).next()
    loss, _ = model.loss(batch.ids, batch.targets, None, batch.lengths)
    total, _ = model.loss(batch.ids, batch.targets, None, batch.lengths, reduction="sum")
    by_hand = []
    for string in STRINGS:
        ids = model.vocabulary.encode([*string, "EOS"])
        logits = model(torch.from_numpy(ids[:-1, None]))[0][:, 0].detach().double().numpy()
        by_hand += [math.log(np.exp(row).sum()) - row[target] for row, target in zip(logits, ids[1:], strict=True)]
    assert len(by_hand) == batch.N == 30
    assert loss.item() == pytest.approx(np.mean(by_hand), rel=1e-6)
    assert loss.item() == pytest.approx(math.log(4), abs=0.05)
    assert total.item() == pytest.approx(sum(by_hand), rel=1e-6)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


# Two hidden units, symbols one-hot, V = 4: small round weights, with one scalar formula per gate and unit below.
W_X, W_H = np.array([[0.1, -0.2], [0.3, 0.4]]), np.array([[0.5, -0.1], [0.2, 0.3]])
TWO_UNITS = {gate: {"W_x": W_X * k, "W_h": W_H * k, "b": 0.05 * k} for k, gate in enumerate("ifgorznh", start=1)}


def pre_activation(gate, x, h, unit):
    """W_x[unit] . x + W_h[unit] . h + b of one gate and one unit; x holds the first two components of a one-hot row."""
    w = TWO_UNITS[gate]
    return w["W_x"][unit] @ x + w["W_h"][unit] @ h + w["b"]


def rnn_by_hand(x, h, c):
    return np.array([np.tanh(pre_activation("h", x, h, u)) for u in (0, 1)]), c


def lstm_by_hand(x, h, c):
    h_new, c_new = np.zeros(2), np.zeros(2)
    for u in (0, 1):
        i, f, o = (sigmoid(pre_activation(gate, x, h, u)) for gate in "ifo")
        g = np.tanh(pre_activation("g", x, h, u))
        c_new[u] = f * c[u] + i * g
        h_new[u] = o * np.tanh(c_new[u])
    return h_new, c_new


def gru_by_hand(x, h, c):
    h_new = np.zeros(2)
    for u in (0, 1):
        r, z = (sigmoid(pre_activation(gate, x, h, u)) for gate in "rz")
        w = TWO_UNITS["n"]
        n = np.tanh(w["W_x"][u] @ x + r * (w["W_h"][u] @ h + w["b"]))
        h_new[u] = (1 - z) * n + z * h[u]
    return h_new, c


BY_HAND = [("rnn", "h", rnn_by_hand), ("lstm", "ifgo", lstm_by_hand), ("gru", "rzn", gru_by_hand)]


@pytest.mark.parametrize(("cell", "gates", "by_hand"), BY_HAND)
def test_two_unit_model_matches_the_equations_worked_by_hand(cell, gates, by_hand):
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=2), Vocabulary(["a", "b"])).double()
    unused = np.zeros((2, 2))  # the columns of EOS and UNK, which do not occur here
    stacked = {
        "weight_ih_l0": np.concatenate([np.hstack([TWO_UNITS[g]["W_x"], unused]) for g in gates]),
        "weight_hh_l0": np.concatenate([TWO_UNITS[g]["W_h"] for g in gates]),
        "bias_ih_l0": np.concatenate([np.full(2, 0.0 if g == "n" else TWO_UNITS[g]["b"]) for g in gates]),
        "bias_hh_l0": np.concatenate([np.full(2, TWO_UNITS[g]["b"] if g == "n" else 0.0) for g in gates]),
    }
    with torch.no_grad():
        for name, value in stacked.items():
            getattr(model.rnn, name).copy_(torch.from_numpy(value))
    W_hy, b_y = model.head.weight.detach().numpy(), model.head.bias.detach().numpy()
    ids = [0, 0, 1, 1]
    logits, state = model(torch.tensor(ids)[:, None])
    h, c = np.zeros(2), np.zeros(2)
    for t, symbol in enumerate(ids):
        h, c = by_hand(np.eye(2)[symbol], h, c)
        np.testing.assert_allclose(logits[t, 0].detach(), W_hy @ h + b_y, rtol=1e-12, atol=1e-15)
    for got, want in zip(state, (h, c), strict=False):
        np.testing.assert_allclose(got[0, 0].detach(), want, rtol=1e-12)


def test_lstm_first_step_as_on_paper():
    # x = a, h = c = 0, unit 0: i = s(0.15), g = tanh(0.45), o = s(0.60); f multiplies c = 0.
    h, c = lstm_by_hand(np.array([1.0, 0.0]), np.zeros(2), np.zeros(2))
    assert c[0] == pytest.approx(0.537430 * 0.421899, abs=1e-6)
    assert h[0] == pytest.approx(0.645656 * math.tanh(c[0]), abs=1e-6)
