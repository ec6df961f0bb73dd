"""Packed data reads as what it holds, and is refused where it is damaged, ends early or grows without bound."""

import bz2
import gzip
import io
import lzma
from functools import partial

import pytest
import zstandard

from unrolled.corpus import packed
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.reading import CorpusError

PACK = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
TEXT = "".join(f"line {k}, so long lives this\n" for k in range(2000))


@pytest.mark.parametrize("name", PACK)
def test_packed_text_is_the_corpus_of_the_text(name, tmp_path):
    (tmp_path / "plain.txt").write_text(TEXT)
    (tmp_path / "data").write_bytes(PACK[name](TEXT.encode()))
    plain, unpacked = (Corpus.read(tmp_path / each) for each in ("plain.txt", "data"))
    assert plain.fingerprint == unpacked.fingerprint


@pytest.mark.parametrize("name", PACK)
def test_packed_members_end_to_end_are_all_read(name, tmp_path):
    (tmp_path / "data").write_bytes(PACK[name](b"so long ") + PACK[name](b"lives this"))
    read = packed.unpacked(io.BytesIO((tmp_path / "data").read_bytes()))
    assert b"".join(iter(lambda: read.read(5), b"")) == b"so long lives this"


@pytest.mark.parametrize("gap", [1, 4, packed.PACKED_BLOCK + 4])
def test_padding_between_and_behind_streams_of_xz_is_no_end(gap):
    one, other, zeros = lzma.compress(b"so long "), lzma.compress(b"lives this"), bytes(gap)
    read = packed.unpacked(io.BytesIO(one + zeros + other + zeros))
    assert b"".join(iter(lambda: read.read(5), b"")) == b"so long lives this"


@pytest.mark.parametrize("name", ["bzip2", "xz", "gzip"])
def test_what_follows_a_stream_and_is_none_is_refused(name):
    second = bytearray(PACK[name](b"lives this"))
    second[1] ^= 255
    for more in (bytes(second), b"and more"):
        read = packed.unpacked(io.BytesIO(PACK[name](b"so long ") + more)).read
        with pytest.raises(packed.PackedError, match=f"the {name} data is damaged"):
            list(iter(partial(read, 64), b""))


@pytest.mark.parametrize(("ending", "suffix"), [(".jsonl.gz", ".jsonl"), (".TXT", ".txt"), (".csv.ZST", ".csv")])
def test_format_of_packed_records_goes_by_the_name_inside(ending, suffix, tmp_path):
    from unrolled.corpus.reading import Source

    assert Source(tmp_path / f"a.b{ending}").suffix == suffix


def test_packed_records_are_read(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'["a", "b"]\n["b"]\n'))
    assert len(Corpus.read(tmp_path / "a.jsonl.gz", validation=0, test=0).train) == 2


@pytest.mark.parametrize("name", PACK)
def test_packed_data_that_ends_early_is_refused(name, tmp_path):
    whole = PACK[name](TEXT.encode())
    (tmp_path / "data").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=rf"data: the {name} data (ends early|is damaged)"):
        Corpus.read(tmp_path / "data")


@pytest.mark.parametrize("name", PACK)
def test_packed_data_that_is_damaged_is_refused(name, tmp_path):
    whole = bytearray(PACK[name](TEXT.encode()))
    whole[len(whole) // 2] ^= 255
    whole[-6] ^= 255
    (tmp_path / "data").write_bytes(whole)
    try:
        assert Corpus.read(tmp_path / "data").fingerprint != Corpus.from_text(TEXT).fingerprint  # zstd has no checksum
        assert name == "zstd"
    except CorpusError as error:
        assert f"{name} data" in str(error) or "UTF-8" in str(error) or "NUL" in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", PACK)
def test_packed_data_without_bound_is_refused(name, monkeypatch):
    monkeypatch.setattr(packed, "FREE", 1 << 16)
    read = packed.unpacked(io.BytesIO(PACK[name](bytes(1 << 24))))
    with pytest.raises(packed.PackedError, match="more than 100 times as large as its file"):
        list(iter(lambda: read.read(1 << 14), b""))
