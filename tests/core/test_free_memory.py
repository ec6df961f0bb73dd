"""Memory that is no longer used goes back to the system when that is asked for."""

import platform

import pytest

from unrolled.core.free_memory import give_back, resident


@pytest.mark.whole_process  # memory that is freed is kept by a sanitizer, to see who still reads it
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives back what lies below memory in use")
def test_memory_below_what_is_in_use_goes_back():
    before = resident()
    freed, kept = [bytes(1000) for _ in range(100_000)], bytes(1000)
    taken = resident() - before
    del freed
    give_back()
    assert resident() - before < taken / 4
    assert len(kept) == 1000
