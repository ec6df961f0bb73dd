"""A sample of the calls of fuzz.py: none ends the process."""

import json
import subprocess
import sys

from tests.core import fuzz


def test_wrong_calls_of_every_entry_are_right_or_raise():
    """In a process of its own, which a read out of bounds may end."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.core.fuzz", "1500", "7"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    refused = json.loads(done.stdout)
    assert set(refused) == {entry.__name__ for entry in fuzz.ENTRIES}
    assert all(refused.values()), refused
