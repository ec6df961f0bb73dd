"""Records: JSON lines, JSON arrays, CSV columns, and every way in which a record can be invalid."""

import pytest

from unrolled.corpus import records
from unrolled.corpus.reading import CorpusError


def test_json_records_are_texts_or_symbol_lists(source):
    found = records.json_lines(source(b'["a", "b"]\n\n"ab c"\r\n[1, 20]\n[]'))
    assert [record for _, record in found] == [["a", "b"], "ab c", ["1", "20"], []]


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("line", [b'["a"', b"{}", b"[[1]]", b"[1.5]", b"null", DEEP])
def test_json_records_names_the_line_that_is_none(source, line):
    with pytest.raises(CorpusError, match=r"line 2: .*expected a string or a list of symbols"):
        list(records.json_lines(source(b'["a"]\n' + line)))


def test_csv_cells_are_one_column_quotes_and_all(source):
    data = b'id,text\r\n1,"a, ""b""\r\nc"\r\n2,d\r\n\r\n'
    assert [cell for _, cell in records.csv_cells(source(data), "text")] == ['a, "b"\nc', "d"]
    assert [cell for _, cell in records.csv_cells(source(b"id\ttext\n1\ta,b\n", "data.tsv"), "text")] == ["a,b"]


def test_json_array_names_the_file_that_is_nested_too_deeply(source):
    with pytest.raises(CorpusError, match=r"data\.txt: its brackets are nested too deeply; expected an array"):
        list(records.json_array(source(DEEP)))


def test_csv_cells_repeats_the_beginning_of_a_long_header_only(source):
    for header in ("x" * 9_000, ",".join(map(str, range(9_000)))):
        with pytest.raises(CorpusError) as refused:
            list(records.csv_cells(source(header.encode()), "text"))
        assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"id,words\n", "no column 'text'; name the one that holds the sequences .column., of 'id', 'words'"),
        (b"", "no column 'text'; .* of none"),
        (b"id,text\n1\n", "line 2: the row has 1 cell, expected 2"),
        (
            b"id,text\n1,so long\n2,I came, I saw\n",
            "line 3: the row has 3 cells, expected 2; a cell that holds the del",
        ),
        (b'id,text\n1,"a" b\n', "line 2: .*check the quotes"),
        (b"text,id,text\na,1,b\n", "'text' names 2 columns; name the one by its number from 1 .column.$"),
    ],
)
def test_csv_cells_names_what_is_wrong(source, data, says):
    with pytest.raises(CorpusError, match=says):
        list(records.csv_cells(source(data), "text"))


def test_json_array_holds_texts_or_symbol_lists(source):
    found = list(records.json_array(source(b'\xef\xbb\xbf[["a", 7],\r\n "ab c", []]')))
    assert [record for _, record in found] == [["a", "7"], "ab c", []]
    assert found[1][0].endswith("record 2")


@pytest.mark.parametrize("data", [b'["a"', b"{}", b"[[[1]]]", b"[1]", b"null", b"", b'["a"]\n["b"]'])
def test_json_array_refuses_what_is_none(source, data):
    with pytest.raises(CorpusError, match=r"expected an array of sequences|record 1: found .*; expected a string"):
        list(records.json_array(source(data)))


@pytest.mark.parametrize("half", [r"\ud800", r"\uDFFF", r"\udc00\ud800", r"\ud800\ud800\udc00", r"\\\ud800"])
@pytest.mark.parametrize("field", ["", "text"])
def test_half_of_a_character_is_named(source, half, field):
    """Python's json.dumps writes one for an emoji that was cut."""
    line = f'"a{half}b"' if not field else f'{{"text": "a{half}b"}}'
    with pytest.raises(CorpusError, match=r"line 1: holds \\u[dD]\w{3}, half of a character that JSON writes as two"):
        list(records.json_lines(source(line.encode()), field))
    with pytest.raises(CorpusError, match="half of a character that JSON writes as two"):
        list(records.json_array(source(f"[{line}]".encode()), field))


def test_whole_characters_and_escaped_backslashes_are_read(source):
    lines = [r'"\ud83d\ude00"', r'"\\ud83d"']
    assert [record for _, record in records.json_lines(source("\n".join(lines).encode()))] == ["😀", "\\ud83d"]


def test_json_array_that_is_too_long_to_hold_is_refused(source, monkeypatch):
    monkeypatch.setattr(records, "ARRAY_LIMIT", 8)
    with pytest.raises(CorpusError, match="more than 8 characters; write it as JSON lines"):
        list(records.json_array(source(b'["abcdefgh"]')))


def test_csv_cells_may_be_as_long_as_any_record(source):
    long = "a" * 200_000
    assert [cell for _, cell in records.csv_cells(source(f"text\n{long}\n".encode()), "text")] == [long]


def test_json_objects_hold_the_record_in_a_field(source):
    lines = b'{"id": 1, "text": "ab"}\n{"text": ["c", 4], "more": {"deep": [1.5]}}\n'
    assert [record for _, record in records.json_lines(source(lines), "text")] == ["ab", ["c", "4"]]
    array = b'[{"text": "ab"}, {"text": []}]'
    assert [record for _, record in records.json_array(source(array), "text")] == ["ab", []]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            b'{"words": "a", "id": 1}',
            "no field 'text'; name the one that holds the sequences .column., of 'words', 'id'",
        ),
        (b'{"text": 3}', "found a number; expected an object whose field 'text' is the sequence"),
        (b'["a"]', "found a list; expected an object whose field 'text' is the sequence"),
        (b'{"text": ', "expected an object whose field 'text'"),
    ],
)
def test_json_objects_name_the_field_that_is_wrong(source, line, says):
    with pytest.raises(CorpusError, match=f"line 2: .*{says}"):
        list(records.json_lines(source(b'{"text": "a"}\n' + line), "text"))


def test_json_objects_without_a_field_named_say_what_to_name(source):
    with pytest.raises(CorpusError, match=r"found an object; .* or name the field that holds it .column."):
        list(records.json_lines(source(b'{"text": "a"}')))


def test_csv_column_by_number_delimiter_and_no_header(source):
    data = b"1;a,b\n2;c\n"
    assert [cell for _, cell in records.csv_cells(source(data), "2", ";", header=False)] == ["a,b", "c"]
    assert [cell for _, cell in records.csv_cells(source(data), "2", ";")] == ["c"]
    assert [cell for _, cell in records.csv_cells(source(b"2\tx\n7\t8\n"), "2", "tab")] == ["7"]  # the name comes first
    for column in ("0", "3", "x"):
        with pytest.raises(CorpusError, match=rf"no column '{column}'.*by its number from 1 to 2"):
            list(records.csv_cells(source(data), column, ";", header=False))


@pytest.mark.parametrize("block", [1, 3, 1 << 20])
def test_separated_texts_are_those_between_separators_without_line_ends_around(source, block, monkeypatch):
    monkeypatch.setattr("unrolled.corpus.reading.BLOCK", block)
    data = source(b"\r\nX:1\r\nabc\r\n\r\n\r\n\r\nX:2\nd\n\n")
    found = list(records.separated(data, "\n\n"))
    assert [text for _, text in found] == ["X:1\nabc", "X:2\nd"]
    assert found[1][0].endswith("sequence 2")
    assert [text for _, text in records.separated(source(b"a b<end>\nc<end>"), "<end>")] == ["a b", "c"]
    for end in ("\n", "\r\n", "\r"):  # every line end is read as \n, that of the separator too
        assert [text for _, text in records.separated(source(b"a\r\n\r\nb\n\nc"), 2 * end)] == ["a", "b", "c"]


def test_separated_text_that_is_too_long_is_named(source, monkeypatch):
    monkeypatch.setattr(records, "RECORD_LIMIT", 10)
    with pytest.raises(CorpusError, match="sequence 2 has more than 10 characters; is separator='#' right"):
        list(records.separated(source(b"abc#" + b"x" * 20), "#"))
