"""Parts that a file does not join: one line is the network, several are asked for, by the words that choose one."""

import re
from itertools import pairwise, permutations, product

import numpy as np
import pytest

from tests.saved.networks import layer
from unrolled.config.options import named_as_flags
from unrolled.formats.assembly import FilePart, assembled
from unrolled.formats.network_of import FormatError
from unrolled.formats.told import Told


def recurrent(name, I, H, half=False):
    return FilePart(name, (layer("GRU", I, H),), is_half=half)


def matrix(name, outputs, inputs, bias=True):
    W = np.ones((outputs, inputs), np.float32)
    return FilePart(name, W=W, b=W[:, 0] if bias else None, is_table=not bias)


def by_brute_force(parts):
    """Return the lines that parts make, each a tuple of names, and of those the ones that are a network here."""
    lines = set()
    for order in permutations(parts):
        counts = [[int(n) for n in re.findall(r"\d+", part.name)] for part in order]
        stems = [re.sub(r"\d+", "", part.name) for part in order]
        if any(stems[a] == stems[b] and counts[a] > counts[b] for a in range(len(order)) for b in range(a, len(order))):
            continue
        for first_is_table in (False, True) if order[0].is_table else (False,):
            widths = [
                (part.layers[0].I, part.layers[-1].width)
                if part.layers
                else (None, part.W.shape[1])
                if first_is_table and k == 0
                else part.W.shape[::-1]
                for k, part in enumerate(order)
            ]
            if all(below[1] == above[0] for below, above in pairwise(widths)):
                lines.add((first_is_table, tuple(part.name for part in order)))
    layers = {part.name for part in parts if part.layers}
    networks = set()
    for line in lines:
        first_is_table, names = line
        middle = names[first_is_table:]
        middle = middle if middle[-1] in layers else middle[:-1]
        if middle and all(name in layers for name in middle):
            networks.add(line)
    return lines, networks


def roles(network, parts):
    """Return the line that a network is, as `by_brute_force` gives it."""
    by_array = {id(part.layers[0]) if part.layers else id(part.W): part.name for part in parts}
    names = [by_array[id(network.embedding)]] if network.embedding is not None else []
    names += [by_array[id(each)] for each in network.layers]
    names += [by_array[id(network.head.W)]] if network.head is not None else []
    return network.embedding is not None, tuple(names)


@pytest.mark.parametrize("seed", range(60))
def test_every_set_of_parts_is_the_one_network_it_can_be_or_is_asked_for(seed):
    rng = np.random.default_rng(seed)
    names = [str(name) for name in rng.permutation(["a", "b", "c1", "c2", "d"])]
    parts = [recurrent(names[k], *rng.integers(2, 4, 2)) for k in range(rng.integers(1, 3))]
    parts += [matrix(n, *rng.integers(2, 4, 2), rng.integers(2)) for n in names[len(parts) :][: rng.integers(0, 4)]]
    lines, networks = by_brute_force(parts)
    if len(lines) == 1 and networks:
        assert roles(assembled("x", [parts], Told()), parts) == next(iter(networks))
        return
    with pytest.raises(FormatError) as error:
        assembled("x", [parts], Told())
    said = str(error.value)
    if not lines:
        assert "its parts do not fit each other" in said
    elif not networks:
        assert "which no network here is" in said
        assert "to read the recurrent part alone" in said
    else:
        assert "does not say how its parts follow each other" in said
        answers = said.rpartition("; say ")[2].split(", or ")
        read = {roles(assembled("x", [parts], eval(f"told({answer})", {"told": told})), parts) for answer in answers}
        assert read <= networks
        assert len(read) == len(answers)
        assert read == networks or len(answers) >= 4


def told(**given):
    return Told.of(given)


@pytest.mark.parametrize("name", ["head", "net.head", "fc_out", "params/logits", "decoder", "Output"])
def test_a_name_that_only_a_head_has_says_which_part_it_is(name):
    parts = [recurrent("rnn", 3, 3), matrix(name, 3, 3)]
    assert assembled("x", [parts], Told()).head is not None
    with pytest.raises(FormatError, match="say head='fc'"):
        assembled("x", [[parts[0], matrix("fc", 3, 3)]], Told())


def test_a_name_that_only_an_embedding_has_says_which_part_it_is():
    parts = [recurrent("rnn", 3, 3), matrix("word_embeddings", 3, 3, bias=False)]
    assert assembled("x", [parts], Told()).embedding is not None
    with pytest.raises(FormatError, match="say embedding='fc', or head='fc'"):
        assembled("x", [[parts[0], matrix("fc", 3, 3, bias=False)]], Told())


def test_two_directions_are_never_guessed_and_can_be_told():
    parts = [recurrent("cell_0", 3, 4, half=True), recurrent("cell_1", 3, 4, half=True), matrix("head", 2, 8)]
    with pytest.raises(FormatError, match=re.escape("say rnn=['cell_0+cell_1']")):
        assembled("x", [parts], Told())
    network = assembled("x", [parts], Told(rnn=("cell_0+cell_1",)))
    assert [each.D for each in network.layers] == [2]
    other = [recurrent("a", 3, 4), recurrent("b", 3, 5)]
    with pytest.raises(FormatError, match="its parts do not fit each other"):
        assembled("x", [other], Told(rnn=("a+b",)))


def test_parts_that_are_named_leave_the_rest_out_and_a_few_names_do_not():
    parts = [recurrent("a", 3, 4), recurrent("b", 3, 4), matrix("fc", 2, 4)]
    with pytest.raises(FormatError, match=re.escape("it also holds 'b', which is no part of a network here; to leave")):
        assembled("x", [parts], Told(rnn=("a",)))
    network = assembled("x", [parts], Told(embedding="", rnn=("b",), head=""), ["norm.weight"])
    assert network.layers[0] is parts[1].layers[0]
    assert network.head is None


def test_a_command_is_answered_in_its_own_words():
    parts = [recurrent("lower", 3, 3), recurrent("upper", 3, 3)]
    with named_as_flags(renamed={"kind": "cell"}), pytest.raises(FormatError) as error:
        assembled("x", [parts], Told())
    assert str(error.value).endswith("say --rnn lower --rnn upper, or --rnn upper --rnn lower")
    with named_as_flags(renamed={"kind": "cell"}), pytest.raises(FormatError, match="--cell LSTM, but the weights"):
        assembled("x", [parts], Told(kind="LSTM"))


def test_many_parts_of_one_width_are_answered_and_not_searched_for_ever():
    same = [recurrent(f"{a}{b}", 3, 3) for a, b in product("abcdefghij", "klm")]
    with pytest.raises(FormatError, match="its parts do not fit each other"):
        assembled("x", [same], Told())
    assert len(assembled("x", [[recurrent(f"rnn{n}", 3, 3) for n in range(300)]], Told()).layers) == 300
    hostile = [recurrent(name, 3, 3) for name in "abcdefghij"] + [matrix("head", 2, 4)]
    with pytest.raises(FormatError, match="its parts do not fit each other"):
        assembled("x", [hostile], Told())


@pytest.mark.parametrize(
    "given",
    [
        {"rnn": 5},
        {"rnn": [5]},
        {"rnn": []},
        {"head": 3},
        {"when": "never"},
        {"kind": "gru"},
        {"softmax": 1},
        {"heads": "fc"},
    ],
)
def test_what_is_told_is_checked(given):
    with pytest.raises((TypeError, ValueError), match=next(iter(given))):
        told(**given)


@pytest.mark.parametrize("rnn", [["a", "a"], "a+a", ["a+b", "b"]])
def test_a_part_that_is_named_twice_is_refused(rnn):
    with pytest.raises(ValueError, match=r"rnn names '[ab]' twice, expected each part once, lowest first"):
        Told.of({"rnn": rnn})
