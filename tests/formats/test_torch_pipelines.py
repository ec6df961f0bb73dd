"""Models that are a line of torch's modules, under names that people give: read right, or not at all."""

import random
import re
from itertools import count

import numpy as np
import pytest
import torch

from unrolled.formats.network_of import FormatError
from unrolled.imports import from_torch
from unrolled.nn import module_of

#: Names of modules by where they stand; # is a number, which grows along the line.
TABLES = ["embed", "embedding", "encoder", "emb", "lookup", "word_embeddings"]
BEFORE = ["fc_in", "proj", "fc#", "input_proj", "encoder", "linear", "pre", "fc", "dense", "net.0", "linear#"]
RECURRENT = ["lstm", "rnn", "gru", "encoder", "decoder", "cells", "layer", "net.rnn", "rnn_#", "lstm#"]
AFTER = ["fc", "fc#", "linear", "dense", "net.2", "linear#", "proj"]
LAST = [*AFTER, "out", "head", "decoder", "classifier", "fc_out"]
ANSWERS = re.compile(r"does not say how its parts follow|do not fit each other|which no network here is")


class Line(torch.nn.Module):
    """Modules of which each reads what the one before it gives; of a recurrent one that is its output."""

    def __init__(self, parts):
        super().__init__()
        self.line = [module for _, module in parts]  # a list registers nothing
        for name, module in parts:
            *path, last = name.split(".")
            owner = self
            for each in path:
                if not hasattr(owner, each):
                    owner.add_module(each, torch.nn.Module())
                owner = getattr(owner, each)
            owner.add_module(last, module)

    def forward(self, x):
        for module in self.line:
            x = module(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


def made(rng):
    """Return a line of small modules, and something that it reads."""
    used, numbers, parts = set(), count(), []

    def name(pool):
        free = [each for each in pool if each not in used]
        used.add(chosen := rng.choice(free).replace("#", str(next(numbers))))
        return chosen

    def dense(pool, bias):
        nonlocal width
        outputs = rng.randint(2, 5)
        parts.append((name(pool), torch.nn.Linear(width, outputs, bias=rng.random() < bias)))
        width = outputs

    width = first = rng.randint(2, 4)
    V = rng.randint(2, 5) if rng.random() < 0.4 else 0
    if V:
        parts.append((name(TABLES), torch.nn.Embedding(V, width)))
    if rng.random() < 0.25:
        dense(BEFORE, 0.7)
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
        H, D, kind = rng.randint(2, 4), rng.choice([1, 1, 1, 2]), rng.choice([torch.nn.LSTM, torch.nn.GRU])
        layer = kind(width, H, rng.choice([1, 1, 2]), bidirectional=D == 2, bias=rng.random() < 0.8)
        parts.append((name(RECURRENT), layer))
        width = D * H
        if rng.random() < 0.1:
            dense(BEFORE, 1)
    dense_layers = rng.choice([0, 1, 1, 1, 2])
    for k in range(dense_layers):
        dense(LAST if k == dense_layers - 1 else AFTER, 0.8)
    return Line(parts), torch.randint(0, V, (5, 2)) if V else torch.randn(5, 2, first)


@pytest.mark.parametrize("seed", range(4))
def test_a_line_of_modules_is_read_right_or_asked_for(seed, tmp_path):
    rng, read, asked = random.Random(seed), 0, []
    torch.manual_seed(seed)
    for _ in range(100):
        module, x = made(rng)
        torch.save(module.state_dict(), tmp_path / "x.pt")
        try:
            network = from_torch(tmp_path / "x.pt")
        except FormatError as error:
            asked.append(str(error))
            continue
        names = [name for name, _ in module.named_modules()]
        found = module_of(network)(x)[0].detach().numpy()
        np.testing.assert_allclose(found, module(x).detach().numpy(), atol=1e-5, err_msg=str(names))
        read += 1
    assert [said for said in asked if not ANSWERS.search(said)] == []
    assert min(read, len(asked)) > 20


@pytest.mark.parametrize("names", [("fold_0", "fold_1"), ("model", "ema")])
def test_several_models_in_one_file_are_not_one(names, tmp_path):
    models = {name: torch.nn.ModuleDict({"rnn": torch.nn.GRU(4, 4)}) for name in names}
    torch.save({name: model.state_dict() for name, model in models.items()}, tmp_path / "x.pt")
    with pytest.raises(FormatError, match=r"recurrent layers lie in several dictionaries, '\w+', '\w+'; name those"):
        from_torch(tmp_path / "x.pt")
    network = from_torch(tmp_path / "x.pt", embedding="", rnn=f"{names[1]}.rnn", head="")
    expected = models[names[1]]["rnn"].weight_ih_l0.detach().numpy()
    np.testing.assert_array_equal(network.layers[0].directions[0].W_ih, expected)


def test_names_of_a_cell_and_of_a_layer_side_by_side_lose_nothing(tmp_path):
    of_layer = {f"rnn.{name}": w for name, w in torch.nn.GRU(3, 5).state_dict().items()}
    torch.save(of_layer | {"rnn.weight_ih": torch.zeros(15, 3)}, tmp_path / "x.pt")
    with pytest.raises(FormatError, match=r"it also holds 'rnn\.weight_ih', which is no part"):
        from_torch(tmp_path / "x.pt")


def test_thousands_of_modules_are_answered(tmp_path):
    many = {f"{k}.a{k}.{name}": w for k in range(1000) for name, w in torch.nn.GRU(2, 2).state_dict().items()}
    torch.save(many, tmp_path / "x.pt")
    with pytest.raises(FormatError, match="its parts do not fit each other"):
        from_torch(tmp_path / "x.pt")
