"""`unrolled info` and `unrolled demo`."""

import json
import os
import re

import pytest

from tests.commands.command_line import unrolled
from unrolled import lm
from unrolled.commands.demo import SHORT, begin
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


@pytest.mark.parametrize("name", ["sonnets/config.json", "anbn-lstm/notes.txt", "gates.png"])
def test_demo_leaves_what_is_not_of_an_earlier_one(tmp_path, name):
    """`demo --out runs` deleted the run that `train sonnets --out runs/sonnets` had made."""
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("mine")
    done = unrolled("demo", "--quick", "--out", tmp_path)
    assert (done.returncode, own.read_text()) == (2, "mine")
    assert name.partition("/")[0] in done.stderr.decode()


def test_demo_replaces_an_earlier_one_and_nothing_else(tmp_path):
    begin(tmp_path / "demo")
    for name in ("sonnets/config.json", "gates.png", "notes.txt"):
        made = tmp_path / "demo" / name
        made.parent.mkdir(exist_ok=True)
        made.write_text("mine")
    begin(tmp_path / "demo")
    assert sorted(each.name for each in (tmp_path / "demo").iterdir()) == ["made-by-unrolled-demo.txt", "notes.txt"]


def test_demo_trains_the_same_few_steps_everywhere():
    """45 passes, three times as many, were ten minutes on two busy cores."""
    recipe = lm.recipe_for(lm.Corpus.from_text(sonnets()), precision="float32", **SHORT)
    assert (recipe.steps, recipe.training.max_minutes) == (2524, 0)


def test_info_as_json_says_the_same():
    found = json.loads(unrolled("info", "--json").stdout)
    assert {"unrolled", "python", "instruction set", "threads", "[torch]", "[web]"} <= found.keys()
