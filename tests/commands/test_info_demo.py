"""`unrolled info` and `unrolled demo`."""

import json
import os
import re

import pytest

from tests.commands.command_line import unrolled


def test_info_names_core_and_extras():
    shown = unrolled("info").stdout.decode()
    for expected in ("unrolled", "python", "threads", "[torch]", "[plot]"):
        assert expected in shown


def test_quick_demo_shows_all_parts_and_makes_what_it_names(tmp_path):
    pytest.importorskip("matplotlib", reason="the demo draws; the extra [plot] is not installed")
    done = unrolled("demo", "--quick", "--out", tmp_path / "demo")
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    for part in ("vocabulary", "rnn.weight_ih_l0", "loss before", "bits/symbol", "bigram", "Try next:"):
        assert part in shown, part
    made = re.findall(r"made (\S+)", shown)
    assert len(made) == 6
    for path in made:
        assert os.path.exists(path), path
    assert shown.count("  unrolled ") == 5


def test_info_as_json_says_the_same():
    found = json.loads(unrolled("info", "--json").stdout)
    assert {"unrolled", "python", "instruction set", "threads", "[torch]", "[web]"} <= found.keys()
