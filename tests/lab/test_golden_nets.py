"""The nets that are set by hand: right up to 10,000, saved and read back, and wrong as soon as a weight is."""

import pytest
import torch

from unrolled.lab.golden import GOLDEN, golden
from unrolled.languages import ModelPredictor, first_failing, get, scan
from unrolled.lm import SequenceModel

NETS = [(language, cell) for language, cells in GOLDEN.items() for cell in cells]
EVERY = pytest.mark.parametrize(("language", "cell"), NETS)
#: Shuffle-2 is drawn from a table of large whole numbers, so its longest string is shorter.
LONG = {"shuffle-2": 500}


@EVERY
@pytest.mark.parametrize("start_mark", [False, True])
def test_golden_net_is_right_up_to_10000(language, cell, start_mark):
    net, spoken = ModelPredictor(golden(language, cell)), get(language)
    longest = LONG.get(language, 10_000)
    sizes = [*range(1, 41), *(n for n in (137, 1000, 9_999, 10_000) if n <= longest), longest]
    for reading in ("sets", "argmax"):
        margins = scan(net, spoken, sizes, reading, strings=2, start_mark=start_mark)
        assert margins.min() > 25, reading
    assert margins[-1] == margins[5]  # the margin does not shrink with the size


@pytest.mark.parametrize("cell", GOLDEN["anbncn"])
def test_golden_net_is_right_at_a_size_of_100000(cell):
    found = first_failing(ModelPredictor(golden("anbncn", cell)), get("anbncn"), 100_000, scan_to=64)
    assert (found.n, found.scanned_to, found.tried_to) == (None, 64, 100_000)


@EVERY
def test_golden_net_is_an_ordinary_model(language, cell, tmp_path):
    model = golden(language, cell)
    model.save_pretrained(tmp_path / "net")
    read = SequenceModel.from_pretrained(tmp_path / "net")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), read.parameters(), strict=True))
    spoken = get(language)
    for string in read.generate(count=20, max_length=300, seed=1):
        assert len(string.split()) == 300 or spoken.recognises(string.split())
    ids = torch.zeros(3, 1, dtype=torch.int64)
    model.loss(ids, ids)[0].backward()
    assert model.head.weight.grad is not None


@EVERY
def test_golden_net_without_its_memory_fails(language, cell):
    model = golden(language, cell)
    with torch.no_grad():
        model.rnn.weight_hh_l0.zero_()
        if cell == "lstm" and language != "parity":
            model.rnn.b_if.zero_()  # f = 1/2: the counter runs down
    assert first_failing(ModelPredictor(model), get(language), 100, strings=3).n is not None


def test_missing_golden_nets_are_refused_with_those_there_are():
    for cell in ("gru", "rnn"):
        with pytest.raises(ValueError, match=f"no {cell} net is exact for anbncn: .* there are lstm, relu"):
            golden("anbncn", cell)
    with pytest.raises(ValueError, match="no lstn net is exact for parity; there are rnn, relu, lstm, gru"):
        golden("parity", "lstn")
    with pytest.raises(ValueError, match="no golden net is called 'copy'; there are anbn"):
        golden("copy")
