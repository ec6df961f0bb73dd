"""Golden models: right up to 10,000, saved and loaded, and wrong without their memory."""

from functools import cache

import numpy as np
import pytest
import torch

from unrolled.lab.golden import GOLDEN, golden
from unrolled.lab.predictors import ModelPredictor
from unrolled.languages import blind_criteria, first_failing, get, judge
from unrolled.languages.judging import Marked
from unrolled.lm import SequenceModel

MODELS = [(language, cell) for language, cells in GOLDEN.items() for cell in cells]
EVERY = pytest.mark.parametrize(("language", "cell"), MODELS)
#: Drawing a string of Shuffle-2 takes large integers, so its longest is shorter.
LONGEST = {"shuffle-2": 500}


@cache
def probes(name, sizes):
    """Return two strings of each size, or the only one, as runs; drawn once for all cells."""
    language, rng = get(name), np.random.default_rng(0)
    return [runs for n in sizes if language.has(n) for runs in language.probes(rng, n, 2)]


@EVERY
@pytest.mark.parametrize("start_mark", [False, True])
def test_golden_model_is_right_up_to_10000(language, cell, start_mark):
    """Try every size to 40, then a few: by then each unit has had all its values, or counts past where tanh is 1."""
    predictor, longest = ModelPredictor(golden(language, cell)), LONGEST.get(language, 10_000)
    least = []
    for sizes in (tuple(range(1, 41)), (137, 1000), (longest,)):  # read together: of similar lengths
        marked = [Marked(runs, predictor.vocabulary, start_mark=start_mark) for runs in probes(language, sizes)]
        margins = judge(predictor, marked, ["sets", "argmax"]).margins
        assert min(margins["sets"].min(), margins["argmax"].min()) > 25
        least.append(margins["sets"].min())
    assert least[0] == least[2]  # the margin does not shrink with the size


@pytest.mark.parametrize("cell", GOLDEN["anbncn"])
def test_golden_model_is_right_at_a_size_of_100000(cell):
    found = first_failing(ModelPredictor(golden("anbncn", cell)), get("anbncn"), 100_000, scan_to=64)
    assert (found.n, found.scanned_to, found.tried_to) == (None, 64, 100_000)


@EVERY
def test_golden_model_is_an_ordinary_model(language, cell, tmp_path):
    model = golden(language, cell)
    model.save_pretrained(tmp_path / "model")
    read = SequenceModel.from_pretrained(tmp_path / "model")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), read.parameters(), strict=True))
    for string in read.generate(count=20, max_length=300, seed=1):
        assert len(string.split()) == 300 or get(language).recognises(string.split())
    ids = torch.zeros(3, 1, dtype=torch.int64)
    model.loss(ids, ids)[0].backward()
    assert model.head.weight.grad is not None


@EVERY
def test_golden_model_without_its_memory_fails(language, cell):
    model = golden(language, cell)
    with torch.no_grad():
        model.rnn.weight_hh_l0.zero_()
        if cell == "lstm" and language != "parity":
            model.rnn.b_if.zero_()  # f = 1/2: the counter runs down
    criterion = "khot" if "sets" in blind_criteria(get(language)) else "sets"
    assert first_failing(ModelPredictor(golden(language, cell)), get(language), 100, criterion, strings=3).n is None
    assert first_failing(ModelPredictor(model), get(language), 100, criterion, strings=3).n is not None


def test_missing_golden_models_are_refused_with_the_existing_ones():
    for cell in ("gru", "rnn"):
        with pytest.raises(ValueError, match=f"no {cell} is exact for anbncn: .* the cells are lstm, relu"):
            golden("anbncn", cell)
    with pytest.raises(ValueError, match="no lstn is exact for parity; the cells are rnn, relu, lstm, gru"):
        golden("parity", "lstn")
    with pytest.raises(ValueError, match="no golden model is named 'copy'; the names are anbn"):
        golden("copy")
