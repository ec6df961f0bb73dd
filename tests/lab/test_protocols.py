"""Every row of every published experiment can be run: its language or task has strings of its sizes."""

import pytest

from unrolled.lab.protocols import PROTOCOLS
from unrolled.languages import Lengths, get
from unrolled.languages.registry import task

ROWS = [
    pytest.param(row, id=f"{name}-{'quick' if quick else 'full'}-{row.name}")
    for name, protocol in PROTOCOLS.items()
    for quick in (False, True)
    for row in protocol.experiments(quick=quick)
]


@pytest.mark.parametrize("row", ROWS)
def test_language_of_a_row_has_its_sizes(row):
    if row.task:
        assert task(row.language) is not None
        return
    language, lengths = get(row.language), Lengths(row.config.lengths)
    language.check(lengths)
    assert lengths.longest <= row.limit
