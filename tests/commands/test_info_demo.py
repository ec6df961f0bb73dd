"""`unrolled info` and `unrolled demo`."""

import json
import os
import re

import pytest

from tests.commands.command_line import unrolled
from unrolled import lm
from unrolled.commands.demo import SHORT
from unrolled.corpus.sonnets import sonnets


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
    assert "The model predicts worse than the best of them, the mixture: " in shown
    made = re.findall(r"made (\S+)", shown)
    assert len(made) == 6
    for path in made:
        assert os.path.exists(path), path
    assert shown.count("  unrolled ") == 5


def test_demo_trains_the_same_few_steps_everywhere():
    """45 passes, three times as many, were ten minutes on two busy cores."""
    recipe = lm.recipe_for(lm.Corpus.from_text(sonnets()), precision="float32", **SHORT)
    assert (recipe.steps, recipe.training.max_minutes) == (2524, 0)


def test_info_as_json_says_the_same():
    found = json.loads(unrolled("info", "--json").stdout)
    assert {"unrolled", "python", "instruction set", "threads", "[torch]", "[web]"} <= found.keys()
