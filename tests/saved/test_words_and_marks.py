"""Words with punctuation apart: what is a word and what a mark, and a text is written back as it was."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unrolled.corpus.sonnets import sonnets
from unrolled.saved.tokenizers import tokenizer
from unrolled.saved.tokenizers.words_and_marks import JOINER
from unrolled.saved.vocabulary import Vocabulary

KIND = "words-and-marks"
READER = tokenizer(KIND)
#: What the cuts turn on: letters with marks, apostrophes, hyphens, numbers, brackets, emoji, flags, the joiner itself.
SIGNS = "aé\u0301नि中_19'’-‐.,;:!?\"“”()[]—…😀👍🏽👩‍🚀❤️🇩🇪🏴󠁧󠁢\u200d\u200c\xad\u200b\ufeff\x00\ud800￭�ᚠ²½٣"
words = st.text(st.sampled_from(SIGNS) | st.characters(), min_size=1).map(lambda s: re.sub(r"\s", "", s)).filter(bool)
#: Texts in which white space is single spaces and line ends.
texts = st.lists(st.lists(words).map(" ".join), max_size=4).map("\n".join)


def spaced(text):
    """A text with single spaces in the place of its white space, lines apart."""
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("Hello, world!", "Hello ￭, world ￭!"),
        ('"What?" he said.', '"￭ What ￭? ￭" he said ￭.'),
        ("(so (it) is)", "(￭ so (￭ it ￭) is ￭)"),
        ('("so")', '(￭ ￭"￭ so ￭" ￭)'),
        ("so - long", "so - long"),
        ("a /b c/ d", "a /￭ b c ￭/ d"),
        ("and/or", "and ￭/￭ or"),
        # within a word
        ("don't we’ll rock'n'roll", "don't we’ll rock'n'roll"),
        ("'tis the dogs' o'", "'￭ tis the dogs ￭' o ￭'"),
        ("well-known, pre- and post-war", "well-known ￭, pre ￭- and post-war"),
        ("yes--no -- so", "yes ￭--￭ no -- so"),
        ("snake_case _so_ __init__", "snake_case _so_ __init__"),
        ("soft\xadhyphen می\u200cخواهم", "soft\xadhyphen می\u200cخواهم"),
        # numbers
        ("3.14 1,000,000 1.", "3.14 1,000,000 1 ￭."),
        ("$3.50 -5 50% 10:30 3.14kg ٣,١", "$￭ 3.50 -￭ 5 50 ￭% 10 ￭:￭ 30 3.14kg ٣,١"),
        (".5 a.b 1,a", ".￭ 5 a ￭.￭ b 1 ￭,￭ a"),
        # marks that follow themselves
        ("so... ?! !!!! ==", "so ￭... ?￭ ￭! !!!￭ ￭! ==￭"),
        # letters of all kinds, composed or not
        ("naïve naïve Ελλάδα привет", "naïve naïve Ελλάδα привет"),
        ("नमस्ते, दुनिया।", "नमस्ते ￭, दुनिया ￭।"),
        ("你好，世界。", "你好 ￭，￭ 世界 ￭。"),
        ("¿Qué? «oui» x² ½", "¿￭ Qué ￭? «￭ oui ￭» x² ½"),
        # emoji are marks, each with what belongs to it
        ("so😀 👍🏽 👩‍🚀! ❤️❤️", "so ￭😀 👍🏽 👩‍🚀￭ ￭! ❤️❤️￭"),
        ("🇩🇪🇫🇷 1️⃣", "🇩🇪￭ ￭🇫🇷 1️⃣"),
        # line ends, and white space that is not kept
        ("so\n\n long,\tlives ", "so ⏎ ⏎ long ￭, lives"),
        ("say:\n- so\n-", "say ￭: ⏎ - so ⏎ -￭"),
        ("", ""),
        # the joiner itself is a letter
        ("￭ ￭, ￭a ￭'￭", "￭ ￭ ￭, ￭a ￭ ￭'￭ ￭"),
    ],
)
def test_words_marks_and_line_ends_are_symbols(text, symbols):
    found = READER.split(text)
    assert found == [symbol.replace("⏎", "\n") for symbol in symbols.split(" ") if symbol]
    assert "".join(READER.pieces(found)) == spaced(text)


@given(text=texts)
@example(text="(a\n")
@example(text="a￭ ￭' '￭'￭ ￭￭")
@example(text="👩\u200d,\u200d \u200d")
def test_text_of_single_spaces_is_written_as_it_was(text):
    text = spaced(text)
    vocabulary = Vocabulary.build(text.encode("utf-8", "ignore").decode(), KIND)
    whole = vocabulary.extended(symbol for symbol in READER.split(text) if not re.search("[\ud800-\udfff]", symbol))
    ids = whole.encode(text)
    if whole.unk_id not in ids:
        assert whole.decode(ids) == text
        assert "".join(whole.pieces(ids.tolist())) == text
        assert whole.aligned_pieces(ids) == [*whole.pieces(ids.tolist())]
    assert "".join(READER.pieces(READER.split(text))) == text


@given(text=texts | st.text())
def test_symbols_hold_the_text_and_their_joiners(text):
    symbols = READER.split(text)
    assert "".join(READER.sides(symbol)[1] for symbol in symbols) == re.sub(r"[^\S\n]", "", text)
    for symbol in symbols:
        joined, written, joins = READER.sides(symbol)
        if symbol != "\n":
            assert symbol == JOINER * joined + written + JOINER * joins
            of_word = written[0] in "_￭\xad\u200c\u200d" or unicodedata.category(written[0])[0] in "LMN"
            assert not (of_word and (joined or joins))
            assert READER.split(written)[0].strip(JOINER) == written.strip(JOINER)


@given(text=texts, prompt=texts)
def test_what_continues_a_prompt_is_written_as_in_one_text(text, prompt):
    prompt, text = spaced(prompt), spaced(text)
    apart = not (prompt and text) or "\n" in (prompt[-1], text[0])
    whole = prompt + text if apart else f"{prompt} {text}"
    begun = READER.split(prompt)
    rest = READER.split(whole)[len(begun) :]
    if READER.split(whole)[: len(begun)] == begun:
        assert prompt + "".join(READER.pieces(rest, prompt)) == whole
        assert prompt + " " + "".join(READER.pieces(rest, prompt + " ")) == f"{prompt} {''.join(READER.pieces(rest))}"


def test_continuation_has_its_own_space():
    for prompt, symbol, written in [
        ("so", "long", " long"),
        ("so ", "long", "long"),
        ("so", "￭,", ","),
        ("so\n", "long", "long"),
        ("so (", "long", "long"),
        ("so,", "long", " long"),
        ("so,", "￭”", "”"),
        ("", "long", "long"),
    ]:
        assert [*READER.pieces([symbol], prompt)] == [written], prompt


def test_sonnets_are_read_in_fewer_kinds_of_word_and_written_back():
    text = spaced(sonnets())
    apart, together = Vocabulary.build(text, KIND), Vocabulary.build(text, "words")
    assert apart.decode(apart.encode(text)) == text
    assert len(apart) < 0.8 * len(together)


def test_vocabulary_is_limited_to_the_most_frequent():
    assert Vocabulary.build("so, so, long", KIND, size=4).names == ("so", "￭,", "EOS", "UNK")
    assert Vocabulary.build("so, so, long", KIND, min_count=2).names == ("so", "￭,", "EOS", "UNK")


def test_normal_form_is_that_of_words():
    vocabulary = Vocabulary.build("naïve,", KIND, nfc=True)
    assert vocabulary.encode("nai\u0308ve,").tolist() == vocabulary.encode("naïve,").tolist() == [0, 1]


def test_listed_symbols_have_the_joiners_they_are_listed_with():
    assert READER.listed("so ￭, (￭\n") == ["so", "￭,", "(￭", "\n"]


@pytest.mark.parametrize("symbol", ["", "a b", "a\n", " "])
def test_symbol_with_white_space_is_refused(symbol):
    with pytest.raises(ValueError, match="it is empty or holds white space"):
        Vocabulary([symbol], KIND)
