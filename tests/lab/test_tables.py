"""Results and their tables."""

import pytest

from unrolled.config.lab import LabConfig
from unrolled.lab.cache import cached_result
from unrolled.lab.experiment import experiment
from unrolled.lab.results import LabResult, SeedResult
from unrolled.lab.tables import ResultTable, headline, in_words, summary
from unrolled.languages import get


def test_cached_result_is_read_back_and_shown(tmp_path):
    config = LabConfig(cell="gru", seeds=2, steps=5, lengths="uniform:1-5", samples=20)
    result, _ = experiment(get("dyck-1"), config, limit=9)
    assert LabResult.from_dict(cached_result(tmp_path, "one", {}, result.to_dict)) == result
    named = [("dyck-1, gru", result)]
    assert len(summary(named, ["mark"]).rows[0]) == len(summary(named, ["mark"]).headers)
    assert headline(named).rows[0][0] == "dyck-1, gru"


def test_table_is_csv_and_markdown():
    table = ResultTable(("a", "b|c"), (("1", 'say "x", y'),))
    assert table.csv() == 'a,b|c\n1,"say ""x"", y"\n'
    assert table.markdown().splitlines()[0] == "| a | b\\|c |"


def result_of(failing, limit=1000, sizes=(), ranges=((1, 50), (51, 1000))):
    """A result of models with these first failing sizes."""
    seeds = [SeedResult(k, n, [0.975, 0.5], 0.1, 0.9) for k, n in enumerate(failing)]
    return LabResult("anbn", {}, limit, [*ranges], [*sizes], [1.0] * len(sizes), 0.07, seeds, [], [], 0.0, 0.0)


@pytest.mark.parametrize(
    ("failing", "median"),
    [
        ([1, 1, None, None], "1 to >1000"),  # not 501: two of the four values are only known to be larger
        ([1, None, None, None], ">1000"),
        ([1, 2, None], "2"),
        ([3, 8, 9, None], "8.5"),
        ([7, None], "7 to >1000"),
        ([None, None], ">1000"),
    ],
)
def test_median_of_sizes_beyond_the_limit_is_no_number_that_nothing_measured(failing, median):
    result = result_of(failing)
    assert result.median == median
    assert f"median {median}, max" in in_words(result)
    assert headline([("anbn", result)]).rows[0][2] == median


def test_shares_of_sizes_say_of_how_many():
    result = result_of([2, 3], sizes=[*range(1, 51, 2), *range(51, 1001, 10)])
    assert "sizes tried       25 in 1-50, 95 in 51-1000" in in_words(result)
    assert "right on 1-50 (25 tried)" in summary([("anbn", result)]).headers
    whole = result_of([2, 3], sizes=[*range(1, 51), *range(51, 1001)])
    assert "sizes tried       every one in 1-50, every one in 51-1000" in in_words(whole)
