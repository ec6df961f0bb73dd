"""Pages of mapped files: a pass through a large file holds a little of it at a time."""

from pathlib import Path

import numpy as np
import pytest

from unrolled.corpus import pages
from unrolled.corpus.batching import SequenceBatches, StreamBatches
from unrolled.corpus.splitting import Sequences

SIZE, MOST = 1 << 26, 1 << 22


def of_files():
    """The bytes of mapped files that count as this process's own."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssFile"].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("stream", [True, False])
def test_pass_through_a_mapped_file_holds_little_of_it(stream, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MOST", MOST)
    np.zeros(SIZE, np.uint8).tofile(tmp_path / "ids")
    ids = np.memmap(tmp_path / "ids", np.uint8, "r")
    length = 1 << 14
    batches = (
        StreamBatches(ids, 4, length) if stream else SequenceBatches(Sequences(ids, np.arange(0, SIZE + 1, length)), 4)
    )
    before = of_files()
    held = [of_files() - before for batch in batches if not batch.inputs.any()]
    assert len(held) == len(batches)
    assert max(held) < 4 * MOST < SIZE / 2
