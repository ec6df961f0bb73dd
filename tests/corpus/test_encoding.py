"""The encoder: provisional ids are those of the definition, whatever the block sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus import encoding
from unrolled.corpus.encoding import END, UNKNOWN, Encoder
from unrolled.corpus.splitting import Sequences, renumbered
from unrolled.saved.tokenizers import TOKENIZERS, tokenizer

texts = st.lists(st.text(st.sampled_from("ab \n\u00e9\u20ac\U0001f339")) | st.sampled_from([" EOS ", " UNK "]))


def symbols_of(encoder, ids):
    names = ["END", "UNK", *encoder.symbols]
    return [names[k] for k in ids]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("block", [1, 3, 1 << 20])
@given(pieces=texts, lines=st.booleans())
def test_encoder_ids_name_the_symbols_of_each_piece(kind, block, pieces, lines):
    reader = tokenizer(kind)
    encoder = Encoder(reader, lines=lines)
    expected = []
    if lines:  # EOS only ends one
        pieces = [piece.replace(" EOS ", " EOS \n") for piece in pieces]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "BLOCK", block)
        for piece in pieces:
            encoder.text(piece)
            for number, line in enumerate(piece.split("\n") if lines else [piece]):
                expected += ["END"] * (number > 0) + reader.split(line)
    if kind == "symbols":
        expected = ["END" if symbol == "EOS" else symbol for symbol in expected]
    ids = encoder.ids()
    assert symbols_of(encoder, ids) == expected
    assert ids.dtype == np.min_scalar_type(len(encoder.symbols) + 1) or not len(ids)
    assert len(set(encoder.symbols)) == len(encoder.symbols)
    assert len(encoder.ids()) == 0


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_encoder_ends_a_sequence_once(kind):
    encoder = Encoder(tokenizer(kind))
    encoder.end()
    for _ in range(2):
        encoder.text("a")
        encoder.end()
        encoder.end()
    assert symbols_of(encoder, encoder.ids()) == ["61" if kind == "bytes" else "a", "END"] * 2


def test_encoder_reads_eos_and_unk_of_a_list_as_its_own():
    encoder = Encoder(tokenizer("symbols"))
    encoder.record(["a", "UNK", "EOS"])
    encoder.end()
    assert encoder.ids().tolist() == [2, UNKNOWN, END]


@given(st.lists(st.lists(st.integers(0, 4), min_size=1)), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_renumbered_puts_final_ids_in_the_place_of_each_provisional_one(lists, lengths):
    part = Sequences(np.array([k for ids in lists for k in ids], np.uint8), np.cumsum([0, *map(len, lists)]))
    final = np.arange(sum(lengths), dtype=np.uint16)
    of_each = np.split(final, np.cumsum(lengths)[:-1])
    expected = [[k for provisional in ids for k in of_each[provisional]] for ids in lists]
    got = renumbered(part, final, np.array(lengths))
    assert [ids.tolist() for ids in got] == expected
    assert got.ids.dtype == np.uint16
    assert not got.ids.flags.writeable
