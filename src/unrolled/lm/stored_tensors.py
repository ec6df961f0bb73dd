"""The weights of a model as its file holds them, and those of one with more symbols."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import torch

from unrolled.config.model import ModelConfig
from unrolled.config.options import listed
from unrolled.nn.network import shown
from unrolled.saved.tensors import for_more_symbols, model_tensors
from unrolled.saved.vocabulary import Vocabulary

Tensors = dict[str, np.ndarray]


def stored_tensors(model: torch.nn.Module, config: ModelConfig, V: int, *, as_made: bool) -> Tensors:
    """Return every weight of a model by its stored name; a shared one appears once.

    Args: the model, whose computed weights are those of its next call; V symbols; as_made: whether its layers are its
        class's own, but may be pruned or parametrized.
    Raises: ValueError for a type that numpy lacks, and for a tied model whose head was given another matrix;
        RuntimeError for a weight whose memory was freed.
    """
    W = attrgetter("head.weight")(model)
    if config.tied and W is not (E := attrgetter("embedding.weight")(model)) and not torch.equal(W, E):
        raise ValueError(
            "the model is tied, but the matrix of its head is no longer that of its embedding; change both alike, "
            "or make one with tied=False"
        )
    stored = model.state_dict()
    if as_made:  # one that is pruned or parametrized is stored under other names
        stored = {each.name: attrgetter(each.name)(model) for each in model_tensors(config, V)}
    elif config.tied:
        del stored["head.weight"]
    return {name: shown(t, name) for name, t in stored.items()}


def extended_tensors(tensors: Tensors, config: ModelConfig, own: Vocabulary, vocabulary: Vocabulary) -> Tensors:
    """Return the weights of a model that knows more symbols than its own.

    Raises: ValueError naming the symbols of its own that the vocabulary lacks, or if that is of another kind.
    """
    if (vocabulary.kind, vocabulary.nfc) != (own.kind, own.nfc):
        raise ValueError(f"the model reads {own}, expected a vocabulary of the same kind; got {vocabulary}")
    if missing := [symbol for symbol in own.symbols if symbol not in vocabulary.symbols]:
        raise ValueError(f"the vocabulary lacks symbols that the model knows: {listed(missing)}")
    return for_more_symbols(tensors, config, own, vocabulary)
