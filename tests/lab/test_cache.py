"""Results on disk: an interrupted sweep is resumed, a result of other settings is refused."""

import json

import pytest

from unrolled.lab.cache import cached_result
from unrolled.lab.results import LabResult, SeedResult, TaskResult


def test_interrupted_sweep_is_resumed(tmp_path):
    done = []

    def compute(name):
        if name == "c" and "again" not in done:
            raise KeyboardInterrupt
        done.append(name)
        return {"name": name}

    def all_of_it():
        return [cached_result(tmp_path, name, {"of": name}, lambda name=name: compute(name)) for name in "abc"]

    with pytest.raises(KeyboardInterrupt):
        all_of_it()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]
    done.append("again")
    assert [each["name"] for each in all_of_it()] == ["a", "b", "c"]
    assert done == ["a", "b", "again", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "damaged"),
        (b'{"version": 9, "settings": {}, "result": {}}', "version 9"),
        (b'{"version": 1, "settings": {"steps": 3, "cell": "gru"}, "result": {}}', r"other settings \(steps\)"),
    ],
)
def test_result_that_does_not_fit_is_refused(tmp_path, content, message):
    (tmp_path / "one.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        cached_result(tmp_path, "one", {"steps": 4, "cell": "gru"}, dict)


def test_models_of_other_settings_are_never_mixed_with_those_of_an_experiment(tmp_path):
    def interrupted(models):
        if models:
            (tmp_path / "models").mkdir(exist_ok=True)
        raise KeyboardInterrupt

    def begin(steps, models):
        with pytest.raises(KeyboardInterrupt):
            cached_result(tmp_path, "one", {"steps": steps}, lambda: interrupted(models), beside="models")

    begin(3, models=False)  # leaves nothing that another could mix with
    begin(4, models=True)
    with pytest.raises(ValueError, match=r"other settings \(steps\).* it and .*models"):
        cached_result(tmp_path, "one", {"steps": 3}, dict, beside="models")
    assert cached_result(tmp_path, "one", {"steps": 4}, lambda: {"found": 1}, beside="models") == {"found": 1}
    (tmp_path / "one.json").unlink()
    with pytest.raises(ValueError, match=r"models: left of an experiment without its one\.json"):
        cached_result(tmp_path, "one", {"steps": 4}, dict, beside="models")


SEED = SeedResult(0, 2, [0.5], 0.2, 0.9)
LAB = LabResult("anbn", {}, 9, [(1, 5)], [1, 2], [1.0, 0.5], 0.1, [SEED], [1], [[0.3]], 1.0, 1.0)
TASK = TaskResult("copy", 5, [4, 9], [[1.0, 0.5]], [[1.0, 0.0]], 0.5, [0.1], 1.0, 1.0)


@pytest.mark.parametrize(
    ("result", "change"),
    [
        (LAB, {"seeds": []}),
        (LAB, {"limit": "9"}),
        (LAB, {"sizes": [1]}),
        (LAB, {"ranges": [[1]]}),
        (LAB, {"config": {"cell": "x"}}),
        (LAB, {"seeds": [{"seed": 0, "first_failing": "x", "right": [0.5], "nats": 0.2, "symbols_right": 0.9}]}),
        (TASK, {"symbols": [[1.0]]}),
        (TASK, {"losses": None}),
    ],
)
def test_result_of_other_keys_or_types_is_named(result, change, tmp_path):
    """It ended in KeyError, TypeError or IndexError."""
    kind = type(result)
    values = cached_result(tmp_path, "one", {}, result.to_dict, kind=kind)
    assert cached_result(tmp_path, "one", {}, dict, kind=kind) == values
    assert kind.from_dict(values | {"of a later release": 1}) == result
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"version": 1, "settings": {}, "result": values | change}))
    with pytest.raises(ValueError, match=r"one\.json: damaged, or not a result; remove it"):
        cached_result(tmp_path, "one", {}, dict, kind=kind)
