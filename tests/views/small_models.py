"""Small models for the tests of views: every cell, odd sizes, float64 where a finite difference is to be taken."""

import torch

from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.nn import reference
from unrolled.saved.vocabulary import Vocabulary

#: Every shape of model: cell, layers, embedding, learned start.
CONFIGS = {
    "rnn": {"cell": "rnn"},
    "relu": {"cell": "rnn", "nonlinearity": "relu"},
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "lstm of two layers": {"cell": "lstm", "num_layers": 2, "learned_initial_state": True},
    "gru embedded": {"cell": "gru", "num_layers": 2, "embedding_size": 3},
}


def small(name="lstm", *, hidden_size=7, seed=0, framed=True, dtype=torch.float64, symbols="abc", kind="characters"):
    """A model whose weights are large enough that its states move."""
    torch.manual_seed(seed)
    config = ModelConfig(hidden_size=hidden_size, **CONFIGS[name])
    model = SequenceModel(config, Vocabulary(symbols, kind), framed=framed).to(dtype)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.6)
    return model


def unrolled(model, text):
    """The equations, step by step: logits (T, V), and each layer's (h,) or (h, c) of each step as nodes of the graph.

    Each c is the tensor that its h is computed from, so gradients with respect to it include the path through h.
    """
    kind, L = model.config.kind, model.config.num_layers
    initial = [*model.initial_state(1)] or [
        torch.zeros(L, 1, model.config.hidden_size, dtype=model.head.weight.dtype)
    ] * 2
    states = [[s[layer] for s in initial[: model.state_count]] for layer in range(L)]
    logits, nodes = [], [[] for _ in range(L)]
    for symbol in torch.from_numpy(model.vocabulary.encode(text)):
        x = symbol[None] if model.embedding is None else model.E[symbol][None]  # (B,) or (B, E)
        for layer in range(L):
            weights = model.rnn.weights()[layer][:4]
            if kind == "LSTM":
                states[layer] = reference.lstm_step(x, *states[layer], *weights)
            elif kind == "GRU":
                states[layer] = (reference.gru_step(x, *states[layer], *weights),)
            else:
                states[layer] = (reference.rnn_step(x, *states[layer], *weights, kind[4:].lower()),)
            x = states[layer][0]
            nodes[layer].append(states[layer])
        logits.append(model.head(x[0]))
    return torch.stack(logits), nodes
