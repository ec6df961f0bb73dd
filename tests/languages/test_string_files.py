"""Files of strings: they are read as written, layouts are the published ones, errors name the line."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.corpus.reading import CorpusError
from unrolled.languages import get, names
from unrolled.languages.bliss import forced_mask, read_bliss, valid_mask, write_bliss
from unrolled.languages.flare import Labelled, label, read_flare, write_flare
from unrolled.languages.string_files import read_strings, write_strings

STRINGS = st.lists(st.lists(st.sampled_from(["a", "é", "(1", "push0", "0"])).map(tuple), max_size=6)


@settings(max_examples=40, deadline=None, database=None)
@given(strings=STRINGS)
def test_lines_are_read_as_they_were_written(strings, tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "strings.txt"
    write_strings(path, strings, spaced=True)
    assert list(read_strings(path, spaced=True)) == strings
    if all(len(s) == 1 for string in strings for s in string):
        write_strings(path, strings)
        assert list(read_strings(path)) == strings


@pytest.mark.parametrize("name", names())
def test_strings_of_every_language_are_read_as_written(name, tmp_path):
    language, rng = get(name), np.random.default_rng(0)
    strings = [language.draw(rng, n) for n in range(1, 9) if language.has(n)]
    spaced = any(len(symbol) > 1 for symbol in language.alphabet)
    write_strings(tmp_path / "strings.txt", strings, spaced=spaced)
    assert list(read_strings(tmp_path / "strings.txt", language, spaced=spaced)) == strings
    negative = next(language.negatives(rng, strings[-1]))
    examples = label(language, [*strings, negative])
    write_flare(tmp_path / "flare", examples)
    assert read_flare(tmp_path / "flare", language) == examples
    if not spaced:
        write_bliss(tmp_path / "bliss", language, strings, strings[:2])
        assert read_bliss(tmp_path / "bliss" / "test.txt", language) == strings
        assert read_bliss(tmp_path / "bliss" / "train_2_p_0_3_seed_100.txt", language) == strings[:2]


@pytest.mark.parametrize("symbol", ["a b", "", "a\n", "\u2028"])
def test_symbol_that_would_not_be_read_back_is_refused(symbol, tmp_path):
    with pytest.raises(ValueError, match="could not be read back"):
        write_strings(tmp_path / "strings.txt", [[symbol]], spaced=True)
    with pytest.raises(ValueError, match="use spaced=True"):
        write_strings(tmp_path / "strings.txt", [["ab"]], spaced=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab\naab\n", "line 2: 'aab' is not in anbn; a^n b^n"),
        ("ab\n\nab\n", "line 2: '' is not in anbn"),
        ("ab\nacb\n", "line 2: 'acb' is not in anbn; 'c' is not in its alphabet"),
        ("ab\n" + 99 * "a" + "\n", "line 2: 'aaaaaaaaaaaaaaaaaaaa...aaaaaaaaaa' is not"),
    ],
)
def test_string_outside_the_language_is_named_by_its_line(text, message, tmp_path):
    path = tmp_path / "strings.txt"
    path.write_text(text)
    with pytest.raises(CorpusError) as caught:
        list(read_strings(path, get("anbn")))
    assert f"{path}: {message}" in str(caught.value)


def test_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "strings.txt"
    path.write_bytes(b"ab\n\xff\n")
    with pytest.raises(CorpusError, match=r"strings.txt: byte 3 \(line 2\)"):
        list(read_strings(path))
    with pytest.raises(CorpusError, match="No such file"):
        list(read_strings(tmp_path / "none.txt"))


def test_bliss_masks_are_those_of_its_readme(tmp_path):
    assert forced_mask(get("anbn"), ["aaabbb"]).astype(int).tolist() == [[0, 0, 0, 0, 1, 1, 1]]
    valid = valid_mask(get("dyck-1"), ["(())()"]).astype(int)[0]
    assert valid[:-1].tolist() == [[1, 1, 0], [0, 1, 1], [0, 1, 1], [0, 1, 1], [1, 1, 0], [0, 1, 1], [1, 1, 0]]
    write_bliss(tmp_path, get("anbn"), ["ab", "aabb"])
    assert (tmp_path / "test.txt").read_text() == "#ab#\n#aabb#\n"
    assert np.load(tmp_path / "test_deterministic_mask.npz")["data"].tolist() == [
        [False, False, True, False, False],
        [False, False, False, True, True],
    ]
    write_bliss(tmp_path / "dyck", get("dyck-1"), ["()"])
    assert np.load(tmp_path / "dyck" / "test_valid_next_symbols.npz")["data"].shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("aabb", "line 2 is 'aabb', expected one string between two #"),
        ("#ab", "line 2 is '#ab', expected"),
        ("#a#b#", "line 2 is '#a#b#', expected"),
        ("#", "line 2 is '#', expected"),
        ("#ba#", "line 2: 'ba' is not in anbn"),
    ],
)
def test_damaged_bliss_line_is_named(line, message, tmp_path):
    path = tmp_path / "test.txt"
    path.write_text(f"#ab#\n{line}\n")
    with pytest.raises(CorpusError, match=r"test\.txt") as caught:
        read_bliss(path, get("anbn"))
    assert message in str(caught.value)


def test_bliss_zip_is_read_and_a_damaged_one_refused(tmp_path):
    path = tmp_path / "test.txt.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test.txt", "#ab#\n#aabb#")
    assert read_bliss(path, get("anbn")) == [tuple("ab"), tuple("aabb")]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CorpusError, match=r"test.txt.zip: cannot be unpacked"):
        read_bliss(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "")
        archive.writestr("b", "")
    with pytest.raises(CorpusError, match="holds 2 files, expected 1"):
        read_bliss(path)


def test_flare_files_are_laid_out_as_published(tmp_path):
    examples = [*label(get("dyck-1"), ["()", ")("]), Labelled(("(",), False, None, 2)]
    write_flare(tmp_path, examples)
    assert (tmp_path / "main.tok").read_text() == "( )\n) (\n(\n"
    assert (tmp_path / "labels.txt").read_text() == "1\n0\n0\n"
    assert (tmp_path / "num-edits.txt").read_text() == "\n2\n"
    steps = [json.loads(line) for line in (tmp_path / "next-symbols.jsonl").read_text().splitlines()]
    assert steps == [[{"s": "(", "e": True}, {"s": "( )", "e": False}, {"s": "(", "e": True}]]
    (tmp_path / "next-symbols.jsonl").unlink()
    (tmp_path / "num-edits.txt").unlink()
    assert [example.edits for example in read_flare(tmp_path)] == [None] * 3


def test_flare_symbols_are_renamed(tmp_path):
    write_strings(tmp_path / "main.tok", [["(0", ")0"]], spaced=True)
    (tmp_path / "labels.txt").write_text("1\n")
    (tmp_path / "next-symbols.jsonl").write_text('[{"s":"(0","e":true},{"s":"(0 )0","e":false},{"s":"(0","e":true}]\n')
    (example,) = read_flare(tmp_path, get("dyck-1"), rename={"(0": "(", ")0": ")"})
    assert example == label(get("dyck-1"), ["()"])[0]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("labels.txt", "1\n2\n0\n", "labels.txt: line 2 is '2', expected 0 or 1"),
        ("labels.txt", "1\n0\n", "labels.txt: has 2 lines, expected 3: one for each of the strings of main.tok"),
        ("labels.txt", "1\n1\n0\n", "next-symbols.jsonl: has 1 line, expected 2"),
        ("main.tok", "a b\na a\nb\n", ""),
        ("main.tok", "a a\na b\nb\n", "main.tok: line 1: labelled as in anbn, but it is not in it"),
        ("main.tok", "a b\na b\nb\n", "main.tok: line 2: labelled as not in anbn, but it is in it"),
        ("num-edits.txt", "1\n", "num-edits.txt: has 1 line, expected 2: one for each of the strings with label 0"),
        ("num-edits.txt", "1\nx\n", "num-edits.txt: line 2 is 'x', expected a whole number or an empty line"),
        ("next-symbols.jsonl", "[\n", "next-symbols.jsonl: line 1 is not a list of steps"),
        ("next-symbols.jsonl", '[{"s":"a","e":1}]\n', "next-symbols.jsonl: line 1 is not a list of steps"),
        ("next-symbols.jsonl", '[{"s":"a","e":false}]\n', "line 1 has 1 step, expected 3"),
        (
            "next-symbols.jsonl",
            '[{"s":"a","e":false},{"s":"a","e":false},{"s":"","e":true}]\n',
            "line 1: the next symbols in next-symbols.jsonl are not those of anbn",
        ),
    ],
)
def test_damaged_flare_folder_is_named_by_file_and_line(file, text, message, tmp_path):
    write_flare(tmp_path, label(get("anbn"), ["ab", "aa", "b"]))
    (tmp_path / file).write_text(text)
    if not message:
        assert len(read_flare(tmp_path, get("anbn"))) == 3
        return
    with pytest.raises(CorpusError) as caught:
        read_flare(tmp_path, get("anbn"))
    assert message in str(caught.value)
