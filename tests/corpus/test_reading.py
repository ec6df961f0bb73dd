"""Reading files: line ends, marks, encodings, and every way in which a file can be wrong."""

import errno
import gzip
import io
import os
import re
import sys
import tarfile
import unicodedata
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.corpus import finding, reading
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.reading import CorpusError, CorpusWarning, Source
from unrolled.saved.tokenizers import tokenizer


@pytest.fixture(params=[1, 2, 7, 1 << 20])
def block(request, monkeypatch):
    """Read in blocks of this many bytes, so that every boundary is crossed."""
    monkeypatch.setattr(reading, "BLOCK", request.param)


def read(source: Source) -> str:
    return "".join(reading.text_blocks(source))


def test_reading_gives_lf_and_no_mark(source, block):
    assert read(source(b"\xef\xbb\xbfa\r\nb\r\r\nc\n\xc3\xa9\r")) == "a\nb\n\nc\n\u00e9\n"


def test_reading_keeps_a_mark_that_is_not_at_the_start(source, block):
    assert read(source("a\ufeffb".encode())) == "a\ufeffb"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"ab\ncd\n\xff", r"byte 6 \(line 3\) is 0xff"),
        (b"ab\n\xc3\xa9\xc3", r"byte 5 \(line 2\) is 0xc3"),
        (b"\n\xe2\x82(", r"byte 1 \(line 2\) is 0xe2"),
        (b"a\n\n\0", r"byte 3 \(line 3\) is NUL"),
        (b"\xef\xbb\xbfab\n\x80", r"byte 6 \(line 2\) is 0x80"),
    ],
)
def test_reading_names_byte_and_line_of_what_is_no_text(source, block, data, says):
    with pytest.raises(CorpusError, match=says):
        read(source(data))


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("text", ["text\n", "Привет, мир\n" * 500])
def test_reading_names_an_encoding_of_wide_units_with_or_without_a_mark(encoding, mark, text, source):
    with pytest.raises(CorpusError, match=rf"byte 0 starts {encoding} text, .* .iconv -f {encoding} -t UTF-8 "):
        read(source((mark + text).encode(encoding)))


def test_reading_refuses_an_archive_and_names_the_program_that_unpacks_it(source):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packing:
        packing.writestr("a.txt", "text")
    with pytest.raises(CorpusError, match=r"data\.txt: a zip archive, expected text; unpack it \(unzip FILE\)"):
        read(source(archive.getvalue()))


def test_reading_takes_text_that_begins_as_a_packed_file_might(source):
    assert read(source(b"BZh is no bzip2, PK no zip")) == "BZh is no bzip2, PK no zip"


@settings(max_examples=300)
@given(st.lists(st.text(st.sampled_from("ae\u0301\u0327\u1100\u1161\u11a8\u09c7\u09be\u0f71\u0344 \n"))))
def test_normalised_is_the_same_however_the_text_is_cut(blocks):
    assert "".join(reading.normalised(iter(blocks))) == unicodedata.normalize("NFC", "".join(blocks))


def test_normalised_cuts_before_every_code_point_that_stays_alone():
    """The rule of the cut holds every code point that Unicode lets join the one before it."""
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.category(char)[0] == "M" or "\u1160" <= char <= "\u11ff" or 0xD800 <= code <= 0xDFFF:
            continue
        first = unicodedata.normalize("NFD", char)[0]
        assert unicodedata.combining(first) == 0
        assert unicodedata.category(first)[0] != "M", hex(code)


@given(st.lists(st.text("a- \n\t")))
def test_whole_symbols_divides_no_word(blocks):
    pieces = list(reading.whole_symbols(iter(blocks), tokenizer("words").cut, Source(None)))
    assert "".join(pieces) == "".join(blocks)
    assert [word for piece in pieces for word in piece.split()] == "".join(blocks).split()


def test_whole_symbols_refuses_a_word_without_end(monkeypatch):
    monkeypatch.setattr(reading, "RECORD_LIMIT", 10)
    with pytest.raises(CorpusError, match="standard input: a word has more than 10 characters"):
        list(reading.whole_symbols(iter(["aaaa"] * 3), tokenizer("words").cut, Source(None)))


def test_text_lines_are_cut_at_line_feeds_only(source, block):
    assert list(reading.text_lines(source("a\u2028b\x0bc\n\nd".encode()))) == ["a\u2028b\x0bc", "", "d"]


def test_text_lines_refuses_a_record_without_end(source, monkeypatch):
    monkeypatch.setattr(reading, "RECORD_LIMIT", 10)
    monkeypatch.setattr(reading, "BLOCK", 4)
    with pytest.raises(CorpusError, match="more than 10 characters"):
        list(reading.text_lines(source(b"a" * 20)))


def test_find_sources_of_a_folder_are_sorted_and_not_hidden(tmp_path):
    for name in ("b.txt", "a/z.txt", ".hidden", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = finding.find_sources(tmp_path)
    assert [source.path.relative_to(tmp_path).as_posix() for source in found] == ["a/z.txt", "b.txt"]


@pytest.mark.parametrize("of", [["run.lock"], ["config.json", "model.safetensors"], ["checkpoints/latest"]])
def test_find_sources_leaves_out_the_folders_of_models_and_runs(tmp_path, of):
    for name in ("a.txt", "b/config.json", *(f"c/{name}" for name in of), "c/deep/metrics.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    with pytest.warns(CorpusWarning, match="of a model, a run or a prepared corpus, and so skipped: .*/c$"):
        found = finding.find_sources(tmp_path)
    assert [source.path.relative_to(tmp_path).as_posix() for source in found] == ["a.txt", "b/config.json"]


def test_find_sources_says_what_is_missing(tmp_path):
    with pytest.raises(CorpusError, match="none\\.txt: no such file"):
        finding.find_sources(tmp_path / "none.txt")
    with pytest.raises(CorpusError, match="holds no file"):
        finding.find_sources(tmp_path)
    with pytest.raises(CorpusError, match="no data was named"):
        finding.find_sources([])
    with pytest.raises(CorpusError, match="twice"):
        finding.find_sources(["-", "-"])


def test_source_reads_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\r\nb")))
    assert read(Source(None)) == "a\nb"


def test_source_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match="Is a directory"), Source(tmp_path).open():
        pass


def test_source_says_that_standard_input_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CorpusError, match="standard input is closed; name a file"):
        read(Source(None))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has a file that opens and cannot be read")
def test_source_that_cannot_be_read_is_an_error_that_names_it():
    with pytest.raises(CorpusError, match="/proc/self/mem: Input/output error"):
        read(Source(Path("/proc/self/mem")))


def test_find_sources_refuses_an_empty_name():
    with pytest.raises(CorpusError, match="the name of a file is empty; give its path"):
        finding.find_sources(["-", ""])


@pytest.mark.parametrize("include", ["/etc/*", "a**b"])
def test_find_sources_names_a_pattern_that_is_none(include, tmp_path):
    with pytest.raises(CorpusError, match=re.escape(f"include is {include!r}: ")):
        finding.find_sources(tmp_path, include)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "UTF-8", "shift_jis"])
def test_text_of_any_encoding_is_read_as_named(encoding, block, tmp_path):
    text = "a\nb\u3042\n" * 9 if encoding == "shift_jis" else "gr\u00fc\u00dfe\r\nan alle\n" * 9
    (tmp_path / "text").write_bytes(text.encode(encoding))
    [named] = finding.find_sources(tmp_path / "text", encoding=encoding)
    assert read(named) == text.replace("\r\n", "\n")


def test_byte_outside_the_encoding_is_named(tmp_path):
    (tmp_path / "text").write_bytes(b"ab\ncd\x81")
    [named] = finding.find_sources(tmp_path / "text", encoding="cp1252")
    with pytest.raises(CorpusError, match=r"byte 5 .line 2. is 0x81, which is not CP1252 .*name its encoding"):
        read(named)


def test_folder_of_another_encoding_is_read_whole(tmp_path):
    (tmp_path / "a.txt").write_bytes("abc".encode("utf-16"))
    sources = finding.find_sources(tmp_path, encoding="utf-16")
    assert finding.text_only(sources) == sources


@pytest.mark.parametrize("encoding", ["utf-16", "punycode"])
def test_error_of_a_decoder_that_knows_no_place_names_the_file_and_the_option(encoding, tmp_path):
    (tmp_path / "text").write_bytes(b"no mark - here")
    [named] = finding.find_sources(tmp_path / "text", encoding=encoding)
    with pytest.raises(CorpusError, match=rf"text: not {encoding.upper()} \(.*\); name its encoding \(encoding\)"):
        read(named)


def tarred(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_archive_is_read_as_the_files_in_it(tmp_path):
    files = {
        "b/1.txt": b"so long\n",
        "a.txt": "löng\r\n".encode(),
        "c.txt.gz": gzip.compress(b"lives"),
        ".hidden": b"x",
    }
    path = tarred(tmp_path / "books.tar", files | {"picture.bin": b"\0\1\2"})
    sources = finding.find_sources(path)
    assert [str(source) for source in sources] == [
        f"{path}/{name}" for name in ("b/1.txt", "a.txt", "c.txt.gz", "picture.bin")
    ]
    assert [source.size for source in sources[:2]] == [8, 7]
    with pytest.warns(CorpusWarning, match=r"not text, and so skipped: .*picture\.bin"):
        kept = finding.text_only(sources)
    assert ["".join(reading.text_blocks(source)) for source in kept] == ["so long\n", "löng\n", "lives"]
    with pytest.warns(CorpusWarning):
        corpus = Corpus.read(path, validation=0, test=0)
    (tmp_path / "folder").mkdir()
    for name, data in {"1.txt": files["b/1.txt"], "2.txt": files["a.txt"], "3.txt": b"lives"}.items():
        (tmp_path / "folder" / name).write_bytes(data)
    assert corpus.fingerprint == Corpus.read(tmp_path / "folder", validation=0, test=0).fingerprint


def test_archive_that_cannot_be_read_is_named_with_what_to_do(tmp_path):
    good = tarred(tmp_path / "good.tar", {"a.txt": b"x" * 5000}).read_bytes()
    for name, data, said in (
        (
            "a.tar.gz",
            gzip.compress(good),
            r"a\.tar\.gz: a packed archive can be read from its beginning only; unpack it",
        ),
        ("a.tar", b"no archive at all" * 99, r"a\.tar: not a tar archive, or damaged"),
        ("b.tar", good[:3000], r"b\.tar: (a\.txt ends early|not a tar archive, or damaged)"),
        ("c.tar", tarred(tmp_path / "none.tar", {".x": b""}).read_bytes(), r"c\.tar: the archive holds no file"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CorpusError, match=said):
            finding.find_sources(tmp_path / name)


def test_hard_link_in_an_archive_is_the_file_that_it_names(tmp_path):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text("so long lives this")
    (tmp_path / "books" / "b.txt").hardlink_to(tmp_path / "books" / "a.txt")
    with tarfile.open(tmp_path / "books.tar", "w") as archive:
        for name in ("a.txt", "b.txt"):
            archive.add(tmp_path / "books" / name, name)
    with pytest.warns(CorpusWarning, match="read twice, for it is named twice, or by a link: .*b.txt; what"):
        read = [Corpus.read(tmp_path / name, validation=0, test=0).fingerprint for name in ("books", "books.tar")]
    assert read[0] == read[1]


@pytest.mark.parametrize("size", [-1, -512, -1024, -(1 << 40)])
@pytest.mark.parametrize("pax", [False, True])
def test_archive_that_would_be_read_backward_is_refused_at_once(size, pax, tmp_path):
    header = bytearray(tarfile.TarInfo("b.txt").tobuf())
    if pax:
        said = f" size={size}\n"
        length = next(n for n in range(30) if len(f"{n}{said}") == n)
        extended = tarfile.TarInfo("pax")
        extended.type, extended.size = tarfile.XHDTYPE, length
        header[:0] = extended.tobuf() + f"{length}{said}".encode().ljust(512, b"\0")
    else:
        header[124:136] = b"\xff" + (256**11 + size).to_bytes(11, "big")
        header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])
    good = tarred(tmp_path / "good.tar", {"a.txt": b"x" * 5000}).read_bytes()[:5632]
    (tmp_path / "b.tar").write_bytes(good + header + bytes(1024))
    with pytest.raises(CorpusError, match=r"b\.tar: (damaged: b\.txt has the size -|not a tar archive, or damaged)"):
        finding.find_sources(tmp_path / "b.tar")


def test_pattern_stands_for_the_files_that_match_it_sorted(tmp_path):
    for name in ("b.txt", "a.txt", "c.md", "sub/d.txt", "[odd].txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = [source.path.name for source in finding.find_sources(str(tmp_path / "*.txt"))]
    assert found == ["[odd].txt", "a.txt", "b.txt"]
    assert len(finding.find_sources(str(tmp_path / "**" / "*.txt"))) == 4
    assert [s.path.name for s in finding.find_sources(str(tmp_path / "[odd].txt"))] == [
        "[odd].txt"
    ]  # a name is a name first
    with pytest.raises(CorpusError, match=r"\*\.none: no file matches; check the pattern"):
        finding.find_sources(str(tmp_path / "*.none"))


@pytest.mark.parametrize("names", [["a.txt", "a.txt"], [".", "a.txt"], ["a.txt", "b.lnk"], ["*.txt", "a.txt"]])
def test_file_that_is_read_twice_is_named(names, tmp_path, monkeypatch):
    """What is held out of one of the two is trained on with the other."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("x")
    Path("b.lnk").symlink_to("a.txt")
    (tmp_path / "b.lnk").unlink() if names[0] == "." else None
    with pytest.warns(CorpusWarning, match="read twice, for it is named twice, or by a link: (a.txt|b.lnk); what is"):
        assert len(finding.find_sources(names)) == 2


def test_members_of_one_archive_are_not_taken_for_one_file(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("y")
    with tarfile.open(tmp_path / "both.tar", "w") as archive:
        for name in "ab":
            archive.add(tmp_path / name, name)
    assert len(finding.find_sources(tmp_path / "both.tar")) == 2


def test_what_a_folder_does_not_give_is_named(tmp_path, monkeypatch):
    """A folder or file that may not be read, a link to a folder, a link to nothing: all were left out in silence."""
    for name in ("a/x.txt", "closed/x.txt", "private.txt", ".git/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c.txt").symlink_to("nothing")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / ".hidden").symlink_to("nothing")
    scandir, access = os.scandir, os.access

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    monkeypatch.setattr(os, "access", lambda path, mode: "private" not in str(path) and access(path, mode))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = [str(each.path.relative_to(tmp_path)) for each in finding.find_sources(tmp_path)]
    assert found == ["a/x.txt"]
    assert [str(each.message).replace(str(tmp_path), "") for each in heard] == [
        "may not be read, and so skipped: /closed and 1 more",
        "links to folders or to nothing, and so skipped: /b and 2 more",
    ]
