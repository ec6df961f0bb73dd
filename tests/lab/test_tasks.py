"""Tasks are learned through the three heads."""

import json

import pytest

from unrolled.config.lab import LabConfig
from unrolled.lab.heads import Recogniser, Tagger, Transducer
from unrolled.lab.tasks import task_experiment
from unrolled.languages.registry import task
from unrolled.languages.tasks import EachStep


@pytest.mark.parametrize("name", ["parity", "parity-each", "reverse"])
def test_tasks_are_learned_through_their_heads(name):
    asked = EachStep(task("parity")) if name.endswith("-each") else task(name)
    config = LabConfig(
        cell="gru", units=9, seeds=2, steps=400, batch_size=8, samples=100, gain=1.0, learning_rate=0.02,
        lengths="uniform:1-3",
    )  # fmt: skip
    result, models = task_experiment(asked, config, limit=4)
    assert {type(model) for model in models} == {{"end": Recogniser, "each": Tagger, "after": Transducer}[asked.kind]}
    at_three = result.sizes.index(3)
    assert max(row[at_three] for row in result.symbols) > 0.95
    assert json.loads(json.dumps(result.to_dict()))["task"] == asked.name
