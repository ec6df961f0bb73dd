"""The gradient goes out in parts, each as soon as it is complete, in the same order everywhere."""

from dataclasses import replace

import pytest
import torch

from tests.lm.runs import stream_corpus
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.sharing import ALL, Alone
from unrolled.lm import gradients
from unrolled.lm.gradients import by_autograd, gradient_function, walked_back
from unrolled.lm.loader import BatchLoader
from unrolled.lm.model import SequenceModel
from unrolled.lm.optimisers import Optimiser
from unrolled.lm.parallel import exchange as exchanges
from unrolled.lm.parallel.exchange import SentGradients, buckets

DEEP = ModelConfig("gru", hidden_size=7, num_layers=3, embedding_size=4, learned_initial_state=True)


class Timed:
    """A run, as far as an exchange asks it."""

    def __init__(self, seconds=0.0, step=0.0):
        self.clock, self.lasted = Alone(), {"step": step}
        self.clock.seconds = seconds


def prepared(config):
    corpus = stream_corpus()
    model = SequenceModel(config, corpus.vocabulary, framed=False).train()
    batch = BatchLoader(corpus.train, True, 3, 5, 0).next()
    return model, Optimiser(model, TrainingConfig(max_steps=1)).flat, batch


@pytest.mark.parametrize("least", [1, 1000, 10**9])
@pytest.mark.parametrize("tied", [False, True])
def test_parts_hold_every_number_once(least, tied):
    model, flat, _ = prepared(replace(DEEP, embedding_size=7, tied=tied))
    found = buckets(flat, walked_back(model), least)
    places = [place for part in found for place in range(part.start, part.stop)]
    assert sorted(places) == [*range(flat.gradients.numel())]
    assert frozenset.union(*(part.parameters for part in found)) == {*map(id, model.parameters())}
    assert all((part.stop - part.start) * 4 >= least for part in found[:-2])


@pytest.mark.parametrize("path", ["by hand", "by autograd"])
@pytest.mark.parametrize("tied", [False, True])
def test_parts_go_out_while_earlier_layers_are_walked_back(path, tied, monkeypatch):
    monkeypatch.setattr(exchanges, "buckets", lambda flat, order: buckets(flat, order, 1))
    model, flat, batch = prepared(replace(DEEP, embedding_size=7, tied=tied))
    gradient_function(model)(model, batch, None)
    complete, sent = flat.gradients.clone(), []
    flat.gradients.zero_()
    if path == "by autograd":
        monkeypatch.setattr(gradients, "by_hand", by_autograd)

    def send(tensor):
        sent.append((tensor.storage_offset(), tensor.clone(), flat.gradients.clone()))
        return lambda: None

    exchange = SentGradients(flat, ALL, walked_back(model), send)
    gradient_function(model, ready=exchange.ready)(model, batch, None)
    during = len(sent)
    exchange.finish(0.0, False, Timed())
    first_layer = flat.spans[id(model.rnn.weight_hh_l0)]
    assert during >= 8  # of the last two layers and the head
    for start, part, meanwhile in sent[:6]:
        torch.testing.assert_close(part, complete[start : start + len(part)])
        assert not meanwhile[slice(*first_layer)].any()
    *gradient, loss = sent
    assert loss[1].dtype == torch.float64
    torch.testing.assert_close(sum(len(part) for _, part, _ in gradient), len(complete))


def test_parts_wait_for_the_last_batch_of_a_step():
    model, flat, batch = prepared(DEEP)
    sent = []
    exchange = SentGradients(flat, ALL, walked_back(model), lambda tensor: sent.append(tensor) or (lambda: None))
    add_gradients = exchange.around(gradient_function(model, ready=exchange.ready))
    for _ in range(2):
        exchange.last = False
        add_gradients(model, batch, None)
        assert not sent
        exchange.last = True
        add_gradients(model, batch, None)
        assert exchange.finish(1.5, True, Timed()) == (1.5, True)
        assert sum(part.numel() for part in sent[:-1]) == flat.gradients.numel()
        assert exchange.bytes == 4 * flat.gradients.numel()
        sent.clear()


def test_hooks_of_the_walk_back_are_removed():
    model, _, batch = prepared(DEEP)
    called = []
    by_autograd(model, batch, None, ready=called.append)
    assert {*map(id, called)} == {*map(id, model.parameters())}
    by_autograd(model, batch, None)
    assert len(called) == len([*model.parameters()])


def test_frozen_parameters_are_in_no_part():
    corpus = stream_corpus()
    model = SequenceModel(DEEP, corpus.vocabulary, framed=False)
    model.rnn.weight_ih_l1.requires_grad_(False)
    flat = Optimiser(model, TrainingConfig(max_steps=1)).flat
    found = buckets(flat, walked_back(model), 1)
    assert sum(part.stop - part.start for part in found) == flat.gradients.numel()
