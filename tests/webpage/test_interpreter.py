"""The modules behind the one-file page compute what Python does: symbols, random numbers, the choice of a symbol."""

import re
import sys
import unicodedata
from itertools import chain

import numpy as np
import pytest

driver = pytest.importorskip("tests.views.browser.driver", reason="needs selenium", exc_type=ImportError)
pytestmark = pytest.mark.skipif(bool(driver.WHY_NOT), reason=driver.WHY_NOT or "there is a browser")

from tests.webpage.alone import Inside, units  # noqa: E402
from unrolled import _core  # noqa: E402
from unrolled.config.generation import GenerationConfig  # noqa: E402
from unrolled.core.sampling import probabilities, rules  # noqa: E402
from unrolled.runtime.unknown import unknown_note  # noqa: E402
from unrolled.saved.vocabulary import Vocabulary  # noqa: E402

#: Symbols that tokenizers may take differently: white space, marks, surrogates, what is composed or decomposed.
ODD = [*"ab \n\t\r\0\x7f\x1c\x85eé각ﬁ中😀👩'\"<&", "\ufeff", "\u2028", "\u202e", "\u200d", "EOS", "UNK"]
ODD += ["\u0301", "\u1100", "\u1161", "\ud800", "\udfff"]
ODD += [*"￭-.,1٣_(!", "🇩🇪", "👍🏽", "❤️", "\u200c", "\u0300"]
VOCABULARIES = {
    "characters": Vocabulary.build(["ab é\n中😀<&"], "characters"),
    "characters-nfc": Vocabulary.build(["ab é각\n"], "characters", nfc=True),
    "bytes": Vocabulary.build(["ab é中\n"], "bytes"),
    "words": Vocabulary(["a", "ab", "\n", "é", "<b>", "\ufeffa"], "words"),
    "words-nfc": Vocabulary(["a", "ab", "\n", "é", "각"], "words", nfc=True),
    "words-and-marks": Vocabulary(["a", "ab", "\n", "é", "'", "￭'", "'￭", "￭<￭", "￭😀￭", "￭", "中"], "words-and-marks"),
    "words-and-marks-nfc": Vocabulary(["a", "ab", "\n", "é", "각", "&￭"], "words-and-marks", nfc=True),
    "bpe": Vocabulary.build(["ab é\n\n  abba 中中 ab123 ab's"] * 3, "bpe", size=270),
    "bpe-nfc": Vocabulary.build(["ab é각 ab é각\n"] * 3, "bpe", size=265, nfc=True),
    "symbols": Vocabulary(["a", "b", "c4", "'", "\x00"], "symbols"),
}


@pytest.fixture(scope="module")
def inside(window):
    return Inside(window)


def texts(count):
    """Random texts that hold odd symbols, and the empty one."""
    rng = np.random.default_rng(0)
    yield ""
    for _ in range(count):
        text = "".join(rng.choice(ODD) for _ in range(rng.integers(1, 12)))
        yield text.replace("\ud800\udfff", "")  # two halves are one code point, but not in Python


VOCABULARY = """
const vocabulary = new Vocabulary(arguments[0]);
const fromUnits = (units) => String.fromCharCode(...units);
const inUnits = (text) => Array.from({ length: text.length }, (_, k) => text.charCodeAt(k));
"""


def described(vocabulary):
    return {"symbols": vocabulary.symbols, "kind": vocabulary.kind, "nfc": vocabulary.nfc}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_text_is_read_as_python_reads_it(inside, name):
    vocabulary, many = VOCABULARIES[name], list(texts(600))
    found = inside.run(
        VOCABULARY
        + """return arguments[1].map((units) => {
            const text = fromUnits(units), symbols = vocabulary.split(text), ids = vocabulary.encode(symbols);
            const aligned = vocabulary.aligned(symbols).map(inUnits);
            return [ids, symbols.map(inUnits), aligned, vocabulary.unknownNote(text, ids)];
        });""",
        described(vocabulary),
        [units(text) for text in many],
    )
    for text, (ids, symbols, aligned, note) in zip(many, found, strict=True):
        split = vocabulary.split(text)
        assert ids == vocabulary.encode(text).tolist(), ascii(text)
        assert symbols == [units(symbol) for symbol in split], ascii(text)
        want = vocabulary.tokenizer.aligned(split)
        assert [*chain(*aligned)] == units("".join(want)), ascii(text)
        if not name.startswith(("bytes", "bpe")) or not re.search(
            "[\ud800-\udfff]", text
        ):  # whose bytes Python's decoder holds back longer
            assert aligned == [units(piece) for piece in want], ascii(text)
        if "\\" not in repr(text):  # of odd symbols repr makes something else, in the note's suggestion
            assert note == unknown_note(vocabulary, text), ascii(text)


def test_white_space_is_pythons(inside):
    for kind in ("words", "symbols"):
        apart = inside.run(
            VOCABULARY
            + """const found = [];
            for (let c = 0; c <= 0x10ffff; c++) {
              const symbols = vocabulary.split(`a${String.fromCodePoint(c)}b`);
              if (symbols.length !== 1) found.push(c);
            }
            return found;""",
            described(Vocabulary([], kind)),
        )
        assert apart == [c for c in range(sys.maxunicode + 1) if len(Vocabulary([], kind).split(f"a{chr(c)}b")) != 1]
        assert len(apart) == 29


def test_normal_form_is_pythons_for_every_character_that_python_knows(inside):
    known = [c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    changed = inside.run(
        """const changed = [];
        for (let c = 0; c <= 0x10ffff; c++) {
          const text = `a${String.fromCodePoint(c)}\\u0301`, normal = text.normalize("NFC");
          if (normal !== text) changed.push([c, normal]);
        }
        return changed;"""
    )
    want = {c: unicodedata.normalize("NFC", f"a{chr(c)}\u0301") for c in known}
    assert {c: n for c, n in changed if c in want} == {c: n for c, n in want.items() if n != f"a{chr(c)}\u0301"}


@pytest.mark.parametrize("after", ["", "rose", "rose ", "rose\n", "rose ("])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_text_is_written_as_python_writes_it(inside, name, after):
    vocabulary, rng = VOCABULARIES[name], np.random.default_rng(1)
    many = [rng.integers(0, len(vocabulary), rng.integers(1, 30)).tolist() for _ in range(300)]
    found = inside.run(
        VOCABULARY
        + """return arguments[1].map((ids) => {
            const writer = vocabulary.pieces(arguments[2]);
            return [...ids.map((id) => writer.piece(id)), writer.end()].map(inUnits);
        });""",
        described(vocabulary),
        many,
        after,
    )
    for ids, pieces in zip(many, found, strict=True):
        want = [units(piece) for piece in vocabulary.pieces(ids, after)]
        assert [*chain(*pieces)] == [*chain(*want)]
        if name.startswith("bpe"):  # whose bytes may begin half a code point, as in the next test
            continue
        assert pieces[: len(want)] == want
        assert pieces[len(want) :] in ([], [[]])


def test_every_two_bytes_are_written_as_python_writes_them(inside):
    vocabulary = Vocabulary([f"{byte:02x}" for byte in range(256)], "bytes")
    found = inside.run(
        VOCABULARY
        + """return Array.from({ length: 65536 }, (_, pair) => {
            const writer = vocabulary.pieces();
            return [writer.piece(pair >> 8), writer.piece(pair & 255), writer.end()].map(inUnits);
        });""",
        described(vocabulary),
    )
    for pair, pieces in enumerate(found):
        want = [units(piece) for piece in vocabulary.pieces(divmod(pair, 256))]
        assert [*chain(*pieces)] == [*chain(*want)], hex(pair)
        assert pieces == want or pair in range(0xEDA0, 0xEDC0), hex(pair)  # the beginning of half a code point


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1, 2**32, 2**40 + 17, 2**53 - 1])
def test_random_numbers_are_numpys(inside, seed):
    found = inside.run("const draw = uniforms(arguments[0]); return Array.from({ length: 1000 }, draw);", seed)
    assert found == np.random.default_rng([seed, 0]).random(1000).tolist()


OPTIONS = [
    {},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 3},
    {"top_k": 50},
    {"top_p": 0.05},
    {"top_p": 0.7},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "min_p": 0.1},
    {"strategy": "greedy"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("unk_id", [-1, 4])
def test_shares_and_choice_of_a_symbol_are_the_cores(inside, options, unk_id):
    rng = np.random.default_rng(2)
    logits = np.float32(3) * rng.standard_normal((40, 20), np.float32)
    logits[::4] = logits[::4].round()  # equal ones
    u = rng.random(40)
    config = GenerationConfig(**options)
    found = inside.run(
        """const [rows, u, options, forbidden] = arguments;
        return rows.map((row, k) => {
          const p = shares(Float32Array.from(row), options, new Set(forbidden));
          const all = p.reduce((sum, share) => sum + share);
          return [[...p].map((share) => share / all), choose(p, options.strategy, u[k])];
        });""",
        logits.tolist(),
        u.tolist(),
        {name: getattr(config, name) for name in ("temperature", "top_k", "top_p", "min_p", "strategy")},
        [] if unk_id < 0 else [unk_id],
    )
    p, chosen = zip(*found, strict=True)
    np.testing.assert_allclose(p, probabilities(logits, config, unk_id), rtol=1e-12, atol=0)
    assert [*chosen] == [_core.choose(rules(config, unk_id), row, x) for row, x in zip(logits, u, strict=True)]
