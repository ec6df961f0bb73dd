import pytest

from unrolled.config.options import named_as_flags
from unrolled.lm.parallel.comparison import difference

NAMES = ["rank 0 (pid 1 on a)", "rank 1 (pid 2 on b)"]


@pytest.mark.parametrize(
    ("kind", "first", "second", "said"),
    [
        (
            "options",
            {"batch_size": 8},
            {"batch_size": 4},
            "rank 1 (pid 2 on b) has --batch-size 4, rank 0",
        ),
        ("options", {"minutes": 1.0}, {"minutes": None}, "has no --minutes, rank 0 (pid 1 on a) has --minutes 1.0"),
        ("options", {"minutes": None}, {"minutes": 2.0}, "has --minutes 2.0, rank 0 (pid 1 on a) has no --minutes"),
        ("options", {}, {"new": 1}, "has --new 1, rank 0 (pid 1 on a) has no --new; start all processes"),
        (
            "version",
            {"unrolled": "0.1"},
            {"unrolled": "0.2"},
            "has unrolled 0.2, rank 0 (pid 1 on a) has unrolled 0.1",
        ),
        ("data", {"data with the fingerprint": "abc"}, {"data with the fingerprint": "abd"}, "fingerprint abd, rank 0"),
        ("model", {"head.weight": [3, 4]}, {"head.weight": [3, 5]}, "has head.weight [3, 5], rank 0"),
    ],
)
def test_difference_names_the_process_and_what_it_has(kind, first, second, said):
    with named_as_flags():
        found = difference([{kind: first}, {kind: second}], NAMES)
    assert said in found
    assert "; " in found  # what to do


def test_processes_that_are_alike_have_no_difference():
    assert difference([{"options": {"a": 1, "b": None}}] * 3, [*NAMES, "rank 2"]) is None
