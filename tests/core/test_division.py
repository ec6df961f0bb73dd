"""How many threads a call uses, and how it is divided among them: a model, tabulated; and the quota of a container."""

import math
from itertools import product

import pytest

from unrolled import _core

#: (cell, B, T, I, H), forward with AVX-512.
SHAPES = [
    (gates, B, T, H)
    for gates in (1, 3, 4)
    for B, T, H in [
        (1, 100, 64),
        (1, 100, 256),
        (1, 100, 1024),
        (2, 90, 200),
        (8, 64, 64),
        (32, 64, 128),
        (32, 100, 256),
        (64, 100, 512),
        (64, 32, 1024),
        (256, 500, 100),
        (512, 20, 512),
    ]
]
COUNTS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]


def chosen(gates, B, T, H, allowed, recurrences=1):
    lanes, macs = 16, gates * H * H
    panels = -(-H // (lanes if gates > 1 else 4 * lanes))
    return _core.choose_team(T, B, recurrences, panels, macs, macs, 4 * macs, lanes, allowed)


@pytest.mark.parametrize("shape", SHAPES)
def test_more_threads_allowed_are_never_predicted_slower(shape):
    times = [chosen(*shape, allowed)[-1] for allowed in range(1, 65)]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("allowed", COUNTS)
@pytest.mark.parametrize("recurrences", [1, 2, 50])
def test_no_thread_is_without_work(shape, allowed, recurrences):
    gates, B, T, H = shape
    members, division, rows, panels, _ = chosen(gates, B, T, H, allowed, recurrences)
    assert 1 <= members <= allowed
    assert rows <= B
    assert panels <= -(-H // (16 if gates > 1 else 64))
    assert members <= recurrences * rows * panels
    assert division == "steps" or panels == 1


@pytest.mark.parametrize(
    ("shape", "allowed", "members", "division"),
    [
        ((4, 1, 100, 64), 64, 1, "rows"),  # a step is shorter than a meeting
        ((4, 1, 100, 1024), 2, 2, "steps"),  # one row: its units are divided
        ((4, 32, 100, 256), 2, 2, "rows"),  # enough rows for each to use the weights well
        ((4, 256, 500, 100), 16, 16, "rows"),
    ],
)
def test_division_is_the_one_expected(shape, allowed, members, division):
    assert chosen(*shape, allowed)[:2] == (members, division)


def test_a_large_layer_uses_many_threads_by_rows_and_panels():
    assert chosen(4, 64, 100, 512, 32)[0] == 32
    members, division, rows, panels, _ = chosen(4, 64, 100, 512, 64)
    assert (members, division) == (64, "steps")
    assert rows > 1
    assert panels > 1


@pytest.mark.parametrize(
    ("files", "groups", "quota"),
    [
        ({"cpu.max": "200000 100000"}, "0::/\n", 2),
        ({"cpu.max": "max 100000"}, "0::/\n", 0),
        ({"cpu.max": "50000 100000"}, "0::/\n", 1),  # half a processor
        ({"cpu.max": "350000 100000"}, "0::/\n", 3),
        ({"cpu.max": "max 100000", "a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"a/cpu.max": "300000 100000"}, "0::/elsewhere\n", 0),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/docker/x\n", 4),
        ({"cpu,cpuacct/x/cpu.cfs_quota_us": "150000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
         "3:cpu,cpuacct:/x\n", 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/\n", 0),
        ({"cpu/cpu.cfs_quota_us": "400000"}, "3:cpu:/\n", 0),
        ({"cpu.max": "\x00\xff garbage"}, "0::/\nnonsense\n:\n::\n0::\n", 0),
        ({"cpu.max": "0 100000"}, "0::/\n", 0),
        ({"cpu.max": "200000 0"}, "0::/\n", 0),
        ({}, "", 0),
    ],
)  # fmt: skip
def test_quota_of_a_container_is_read(tmp_path, files, groups, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="latin-1")
    (tmp_path / "groups").write_text(groups)
    assert _core.processor_quota(str(tmp_path), str(tmp_path / "groups")) == quota


def test_quota_is_none_where_nothing_can_be_read(tmp_path):
    assert _core.processor_quota(str(tmp_path / "missing"), str(tmp_path / "none")) == 0


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        *product(("recurrent", "rest", "bytes"), (math.nan, math.inf, -1.0), (0,)),
        *product(("panels", "lanes"), (0, -1), (1,)),
    ],
)
def test_team_for_work_that_is_no_number_is_refused(name, value, least):
    sizes = {"T": 1, "B": 1, "recurrences": 1, "panels": 1, "recurrent": 1.0, "rest": 1.0, "bytes": 1.0, "lanes": 8}
    with pytest.raises(ValueError, match=rf"{name} is {value:g}, expected a finite number of {least} or more"):
        _core.choose_team(**(sizes | {name: value}), allowed=2)
