"""Results and their tables."""

from unrolled.config.lab import LabConfig
from unrolled.lab.cache import cached_result
from unrolled.lab.experiment import experiment
from unrolled.lab.results import LabResult
from unrolled.lab.tables import ResultTable, headline, summary
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
