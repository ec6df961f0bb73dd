"""Preparing a corpus that is killed, runs out of disk, or finds its data changed, and goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.corpus.corpora import TEXT, written
from tests.saved.disk import small_disk
from unrolled.corpus import finding, stretches
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.preparing import prepare
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.saved.atomic_files import CheckpointError


def begun(folder, times, stretch, done, processes=1):
    """Begin to prepare TEXT so many times, in a process; return it and its scratch once some stretches are done."""
    (folder / "big.txt").write_text(TEXT * times)
    code = (
        f"from unrolled.corpus import stretches; stretches.STRETCH = {stretch}\n"
        f"from unrolled.corpus.preparing import prepare; prepare('big.txt', 'corpus', processes={processes})"
    )
    running = subprocess.Popen([sys.executable, "-c", code], cwd=folder)
    scratch = folder / "corpus" / "unfinished"
    while len(list(scratch.glob("0*.json"))) < done and running.poll() is None:
        time.sleep(0.01)
    return running, scratch


def test_preparing_goes_on_where_it_was_killed(tmp_path):
    running, scratch = begun(tmp_path, times=2000, stretch=1 << 20, done=3)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    done = {file: file.stat().st_mtime_ns for file in scratch.glob("0*.json")}
    for include in ("", "*.txt"):
        with pytest.raises(CorpusError, match=r"corpus: a corpus that is not finished; prepare it again"):
            Corpus.read(tmp_path / "corpus", include=include)
    with pytest.warns(CorpusWarning, match="a run or a prepared corpus, and so skipped: .*/corpus$"):
        assert Corpus.read(tmp_path).fingerprint == Corpus.read(tmp_path / "big.txt").fingerprint
    seen = []
    before = stretches.STRETCH
    stretches.STRETCH = 1 << 20
    try:
        prepare(tmp_path / "big.txt", tmp_path / "corpus", progress=lambda n, total: seen.append((n, total)))
    finally:
        stretches.STRETCH = before
    assert seen[0][0] > 0  # what was done is not done again
    assert len(done) >= 3
    assert Corpus.read(tmp_path / "corpus").fingerprint == Corpus.read(tmp_path / "big.txt").fingerprint


@pytest.mark.parametrize(("processes", "room"), [(1, 6), (2, 6), (1, 18)])
def test_full_disk_is_named_and_the_same_call_goes_on_once_there_is_room(processes, room, tmp_path, monkeypatch):
    """Of a text that takes twelve stretches: the disk fills while these are written, or what is made of them."""
    monkeypatch.setattr(stretches, "STRETCH", 1 << 16)
    (tmp_path / "a.txt").write_text((TEXT * 100)[: 12 << 16])
    seen = []
    with small_disk(tmp_path / "disk", room << 16) as enlarge:
        folder = tmp_path / "disk" / "corpus"
        with pytest.raises(CheckpointError, match=r"corpus.*: No space left on device; free some space, or"):
            prepare(tmp_path / "a.txt", folder, processes=processes)
        enlarge(100 << 16)
        prepare(tmp_path / "a.txt", folder, processes=processes, progress=lambda *each: seen.append(each))
        assert seen[0][0] > 2 << 16  # what was written is not done again
        assert Corpus.read(folder).fingerprint == Corpus.read(tmp_path / "a.txt").fingerprint


def test_preparing_begins_anew_when_a_source_has_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(stretches, "STRETCH", 1000)
    data = written(tmp_path / "data", {"a.txt": TEXT})
    sources = finding.find_sources(data)
    config = stretches.DataConfig()
    plan, _ = stretches.plan_of(sources, "text", config, tmp_path / "scratch")
    stretches.encode(plan, set(), sources, "text", config, tmp_path / "scratch", 1, lambda *_: None)
    assert len(stretches.plan_of(sources, "text", config, tmp_path / "scratch")[1]) == len(plan.stretches)
    os.utime(data / "a.txt", ns=(1, 1))
    assert stretches.plan_of(sources, "text", config, tmp_path / "scratch")[1] == set()


@pytest.mark.parametrize(
    "damage",
    [
        lambda ids, described: ids.write_bytes(ids.read_bytes()[:-7]),
        lambda ids, described: ids.write_bytes(bytes(ids.stat().st_size)),
        lambda ids, described: ids.unlink(),
        lambda ids, described: described.write_text(described.read_text()[:50]),
        lambda ids, described: described.write_text(described.read_text().replace('"length": 9', '"length": 8')),
        lambda ids, described: described.with_stem("000999").write_text("{}"),
    ],
)
def test_stretch_that_is_damaged_is_encoded_anew(damage, tmp_path, monkeypatch):
    """Ids that were cut off made a shorter corpus."""
    monkeypatch.setattr(stretches, "STRETCH", 1000)
    (tmp_path / "a.txt").write_text((TEXT * 20)[:10_000])

    def stop(done, of):
        if done > of / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "a.txt", tmp_path / "corpus", progress=stop)
    ids = tmp_path / "corpus" / "unfinished" / "000001.ids"
    damage(ids, ids.with_suffix(".json"))
    prepare(tmp_path / "a.txt", tmp_path / "corpus")
    assert Corpus.read(tmp_path / "corpus").fingerprint == Corpus.read(tmp_path / "a.txt").fingerprint


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_that_encodes_stays_when_its_parent_is_ended(ended_by, tmp_path):
    running, _ = begun(tmp_path, times=20_000, stretch=1 << 14, done=1, processes=2)
    assert running.poll() is None, "ended before it could be killed"
    own = [Path(f"/proc/{pid}") for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
    encoding = [each for each in own if b"spawn_main" in (each / "cmdline").read_bytes()]
    assert len(encoding) == 2
    running.send_signal(ended_by)
    running.wait()
    patience = time.monotonic() + 20
    while any(each.exists() for each in encoding) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not any(each.exists() for each in encoding)
