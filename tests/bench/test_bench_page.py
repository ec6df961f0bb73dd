"""The tables say what was measured, and land between their marks."""

import json

import marks
import page
import picture
import pytest
import tables
import tables_layers
import tables_runtime

MACHINE = {"threads": 2, "cpu": "Some CPU", "instruction_set": "avx2"}
MACHINE |= {"torch": "2.13.0", "commit": "abc1234", "date": "2026-01-31"}
ABOUT = {"machine": MACHINE, "command": "python bench/layers.py", "seconds": 42, "load": [0.3, 1.9], "missing": {}}
LIMITS = {
    "multiply_add_gflops": {"1": 100.0, "2": 200.0},
    "tile_gflops": {"H64": {"1": 90.0, "2": 180.0}},
    "read_gb_s": {level: {"1": 50.0, "2": 100.0} for level in ("L1", "L2", "L3", "memory")},
}


def phase(ratio):
    found = {"own_ms": 1.5, "torch_ms": 1.5 * ratio, "ratio": ratio, "quartiles": [ratio - 0.1, ratio + 0.1]}
    return {**found, "gflops": 90.0, "share_of_mm": 0.83, "threads_gain": 1.91}


def row(name, cell, inference, training, **more):
    sizes = {"set": name, "cell": cell, "B": 1, "T": 64, "I": 33, "H": 33, "rounds": 20, "load": 0.5}
    rates = {"mm_step_gflops": 12.3, "mm_best_gflops": 108.0, "weights_gb_s": 71.0}
    return {**sizes, **rates, "inference": phase(inference), "training": phase(training), **more}


def layers(*rows):
    return {**ABOUT, "limits": LIMITS, "rows": list(rows)}


def test_common_table_holds_every_row_and_the_geometric_means():
    lines = tables_layers.common(
        layers(row("common", "GRU", 2, 1), row("common", "GRU", 8, 4), row("cover", "GRU", 99, 99))
    )
    assert "| GRU | 1 | 64 | 33 | 1.5 | 2.00 | 1.5 | 1.00 |" in lines
    assert lines.splitlines()[-1] == "| **GRU, geometric mean of 2** |  |  |  |  | 4.00 |  | 2.00 |"
    assert "99" not in lines


def test_readme_shows_a_few_rows_and_the_means_of_all():
    rows = [row("common", "GRU", 2, 1, B=1, H=64), row("common", "GRU", 8, 4, B=7, H=64)]
    *_, last, mean = tables_layers.readme(layers(*rows)).splitlines()
    assert last == "| GRU | 1 | 64 | 64 | 1.5 | 2.00 | 1.5 | 1.00 |"
    assert mean == "| **GRU, geometric mean of 2** |  |  |  |  | 4.00 |  | 2.00 |"


def test_summary_counts_the_points_that_are_slower():
    found = layers(row("cover", "LSTM", 0.5, 2), row("cover", "LSTM", 2, 0.8), row("cover", "LSTM", 1, 0.9))
    assert tables_layers.summary(found).splitlines()[-1] == (
        "| every pair of values | LSTM | 3 | 1.00 | 0.50 | 1 | 1.13 | 0.80 | 2 | 2 |"
    )


def test_every_slower_point_is_named():
    text = tables_layers.slower(layers(row("cover", "LSTM", 0.5, 2), row("float64", "RNN", 2, 0.8)))
    assert text.splitlines()[2:] == [
        "| cover | LSTM | 1 | 64 | 33 | 33 | inference | 0.50 | 0.40 to 0.60 | 83% |",
        "| float64 | RNN | 1 | 64 | 33 | 33 | training | 0.80 | 0.70 to 0.90 | 83% |",
    ]
    assert tables_layers.slower(layers(row("cover", "LSTM", 1, 2))) == "No point of 1 is slower than torch."


def test_ceiling_is_how_far_torch_is_above_the_floor():
    found = layers(row("cover", "RNN", 2, 3), row("cover", "RNN", 2, 3, B=32, H=128, I=128))
    (every, large) = tables_layers.ceilings(found).splitlines()[2:]
    operations = 2 * 64 * 32 * 128 * (128 + 128)
    floor_ms = operations / 200 * 1e-6
    assert large == f"| RNN | B >= 32, H >= 128 | 1 | {3 / floor_ms:.2f} | {1.5 / floor_ms:.2f} | " + (
        f"{4.5 / (3 * floor_ms):.2f} | {1.5 / (3 * floor_ms):.2f} |"
    )
    assert every.startswith("| RNN | all | 2 |")


def test_grid_says_where_rounds_are_few():
    text = tables_layers.grid(layers(row("cover", "LSTM", 3, 2, rounds=5), row("cover", "GRU", 3, 2)))
    assert "3.00 (5)" in text
    assert "71%" in text
    assert text.count("(5)") == 2


def test_mixed_precision_shows_means_over_the_seeds():
    bits, ms = {"float32_bits": [2.0, 3.0], "bfloat16_bits": [2.0, 3.1]}, {"float32_ms": 20.0, "bfloat16_ms": 10.0}
    row = {"data": "works", "cell": "gru", "H": 256, "steps": 400, **bits, **ms, "x": 2.0, "quartiles": [1.9, 2.1]}
    (line,) = tables.mixed_precision({"rows": [row | {"difference": 0.02}]}).splitlines()[2:]
    assert line == "| works | gru | 256 | 400 | 2.500 | 2.550 | +2.0% | 50.0 | 100.0 | 2.00 (1.90 to 2.10) |"


def test_missing_peer_is_named_in_its_column():
    found = {**ABOUT, "versions": {"torch": "2"}, "missing": {"JAX": "not installed"}}
    ratios = {"ms": {"unrolled": 1.0}, "ratio": {"torch": 2.0}}
    found["rows"] = [{"cell": "GRU", "B": 1, "T": 2, "H": 3, "inference": ratios, "training": ratios}]
    text = tables.peers(found)
    assert "| cell | B | T | H | unrolled, ms | torch | JAX |" in text
    assert text.count("| GRU | 1 | 2 | 3 | 1 | 2.00 | missing |") == 2
    assert "Missing: JAX (not installed)." in tables.provenance(found)


def test_table_comes_with_its_command_machine_and_load(tmp_path):
    (tmp_path / "layers.json").write_text(json.dumps(layers(row("common", "GRU", 2, 1))))
    said = set()
    text = page.table("common", said, tmp_path)
    assert "`python bench/layers.py`: 42 s on 2 threads of one Some CPU (avx2), torch 2.13.0, commit abc1234" in text
    assert "load 0.3 before, 1.9 after." in text
    assert "load" not in page.table("summary", said, tmp_path)  # once a document


def test_bench_that_was_not_run_leaves_its_command(tmp_path):
    assert page.table("ragged", set(), tmp_path) == "Not measured yet: `python bench/ragged.py`."


def runtime():
    """What bench/runtime.py writes, a row of each part."""
    both = {"unrolled": 2.0, "torch cell": 30.0}
    rows = [
        {"what": "step", "cell": "GRU", "H": 16, "us": both, "us_after_pause": {**both, "torch cell": 100.0}},
        {"what": "weights", "cell": "GRU", "H": 512, "us": {"float32": 60.0, "bfloat16": 40.0, "int8": 20.0},
         "ratio": {"bfloat16": 1.5, "int8": 3.0}},
        {"what": "streams", "cell": "LSTM", "H": 128, "B": 64, "us": {"together": 100.0, "alone": 300.0}, "ratio": 3.0,
         "multiply_adds": 1_000_000},
        {"what": "threads", "where": "C", "cell": "LSTM", "H": 16, "B": 1, "us": {"one": 1.0, "two": 0.5}, "ratio": 2},
        {"what": "feed", "cell": "LSTM", "H": 256, "T": 1_000_000, "s": {"feed": 2.0, "layer": 3.0}, "ratio": 1.5},
        {"what": "score", "H": 16, "lines": 10_000, "s": {"batch": 0.1, "each": 2.0, "steps": 8.0},
         "multiply_adds": 1_000_000_000, "ratio": {"each": 20.0, "steps": 80.0}},
        {"what": "load", "H": 768, "MB": 10.3, "ms": {"load": 9.0, "load and step": 12.0}},
    ]  # fmt: skip
    return {"rows": rows}


def test_tables_of_the_runtime_stand_beside_what_was_there():
    header = {"cell": "GRU", "H": 64, "weights": "float32", "ns": {"gcc native": 43.0, "clang native": 40.0}}
    step = {"rows": [runtime()["rows"][0] | {"H": 64}]}
    assert "| GRU | 64 | 2 | missing | 30 | 40 | missing |" in tables_runtime.ways(step, {"rows": [header]})
    assert "| GRU | 64 | 2 | missing | 30 | missing | missing |" in tables_runtime.ways(step, None)
    step = {"rows": [runtime()["rows"][0] | {"weights": "int8", "bytes": 500_000}]}
    times = "2 | missing | 15.0 | 2 | missing | 50.0 |"
    rates = {"limits": {"read_gb_s": {"L1": {"1": 500}, "L2": {"1": 250}, "L3": {"1": 100}}}}
    assert f"| GRU | 16 | int8 | 2 | {times}" in tables_runtime.runtime_steps(step, rates)
    assert f"| GRU | 16 | int8 | missing | {times}" in tables_runtime.runtime_steps(step, None)
    assert "| GRU | 512 | 60 | 40 | 20 | 1.50 | 3.00 | 2 |" in tables_runtime.runtime_weights(runtime())
    streams = "| 64 streams of LSTM 128, a step of each | 300 us | 100 us | 3.0 | 8 |"
    assert f"{streams} missing |" in tables_runtime.runtime_many(runtime(), None)
    many = tables_runtime.runtime_many(runtime(), {"limits": {"multiply_add_gflops": {"1": 200}}})
    assert f"{streams} 30.0 |" in many
    assert "LSTM 16, 1 row each, C; a step served | 1 us | 0.5 us | 2.00 | 2 |  |" in many
    assert "a call each, and `score_each` | 2 s | 0.1 s | 20.0 |  | 200.0 |" in many
    assert "by steps from Python, and `score_each` | 8 s | 0.1 s | 80.0 | 20 | 800.0 |" in many
    assert "| loading 10.3 MB, and a first step | 9 ms | 12 ms |  | 20 ms |  |" in many


def test_table_of_the_campaign_has_the_sum():
    row = {"cases": 1000, "works": 400, "refused": 600, "seconds": 2.4, "sanitized": 0}
    made = tables.campaign({"command": "python -m x", "rows": {"a": row, "b": row | {"sanitized": 1000}}})
    assert "| all | 2,000 | 800 | 1,200 | 1,000 | 5 |" in made


def test_table_of_smaller_weights():
    row = {"cell": "gru", "H": 256, "steps": 400, "bits": {"float32": 2.0, "int8": 2.001}, "more": {"int8": 0.0005}}
    assert "| GRU | 256 | 400 | 2.0000 | 2.0010 | +0.05% | +0.5% |" in tables_runtime.small_weights({"rows": [row]})


def test_table_of_the_page_in_one_file():
    speeds, times = {"reads": 5200.0, "writes": 3100.4}, {"median": 41.0, "worst": 60.0}
    row = {
        "cell": "gru",
        "H": 128,
        "weights_kB": 260.0,
        "file_kB": 480.2,
        "symbols_per_s": speeds,
        "keystroke_ms": times,
    }
    assert "| GRU | 128 | 260 | 480 | 5,200 | 3,100 | 1,000 | 41 |" in tables_runtime.one_file({"rows": [row]})


def test_table_of_the_header_leaves_gaps():
    ns = {"RTNeural": 67.0, "gcc native": 43.0, "clang native": 40.0}
    rows = [
        {"cell": "LSTM", "H": 8, "weights": "float32", "ns": ns, "aim": 60},
        {"cell": "LSTM", "H": 8, "weights": "int8", "ns": {"gcc native": 46.0}, "aim": 60},
    ]
    last = tables_runtime.c_header({"rows": rows}).splitlines()
    assert last[2:] == ["| LSTM | 8 | float32 | 67 | 43 | 40 | 60 |", "| LSTM | 8 | int8 |  | 46 |  |  |"]


def test_tables_land_between_their_marks_and_nothing_else_changes():
    text = "before\n<!-- table a -->\nold\n<!-- end a -->\nbetween\n<!-- table b -->\n<!-- end b -->\nafter\n"
    assert page.filled(text, str.upper) == (
        "before\n<!-- table a -->\n\nA\n\n<!-- end a -->\nbetween\n<!-- table b -->\n\nB\n\n<!-- end b -->\nafter\n"
    )
    assert page.filled(page.filled(text, str.upper), str.upper) == page.filled(text, str.upper)


def test_place_without_an_end_is_an_error():
    with pytest.raises(ValueError, match="table 'a' does not end"):
        page.filled("<!-- table a -->\n<!-- end b -->\n", str.upper)


def test_picture_shows_every_point_in_its_panel():
    rows = [
        row("cover", "LSTM", 0.5, 2, T=20, H=16),
        row("cover", "GRU", 20, 3, T=500, H=64),
        row("common", "GRU", 9, 9),
    ]
    figure = picture.draw({"rows": rows})
    panels = [axes for axes in figure.axes if axes.get_visible()]
    drawn = [[line.get_ydata()[0] for line in axes.lines if line.get_marker() not in (None, "None")] for axes in panels]
    assert drawn == [[0.5], [20], [2], [3]]
    low, high = panels[0].get_ylim()
    assert low < 0.5
    assert high > 20


def test_mark_counts_what_is_within_it_and_names_the_farthest():
    rows = [row("cover", "LSTM", 2, 0.9), row("cover", "GRU", 3, 1)]
    above = marks.Mark("x torch", 1, "layers", marks.phases(lambda found: found["ratio"]))
    assert above.row(layers(*rows)) == [
        "x torch", "≥ 1", "3 of 4", "0.9", "LSTM B 1 T 64 H 33 training", "layers"
    ]  # fmt: skip
    below = marks.Mark("own ms", 1, "layers", marks.phases(lambda found: found["own_ms"]), most=True)
    assert below.row(layers(*rows))[1:4] == ["≤ 1", "0 of 4", "1.5"]


def test_mark_of_a_situation_compares_the_times_of_that_situation():
    steady, paused = ({"ours": 2.0, "one thread": one, "torch": 9.0} for one in (3.0, 1.0))
    found = {"pause 0 ms": steady, "pause 10 ms": paused, "busy neighbour": steady, "two processes": 1.9}
    one = {"rows": [{"cell": "GRU", "B": 1, "T": 2, "H": 3, "inference": found, "training": found}]}
    values = list(marks.as_slowdown(marks.in_situation("pause", "one"))(one))
    assert values == [(f"GRU B 1 T 2 H 3 {phase}, pause 10 ms", 2.0) for phase in ("inference", "training")]


def test_bench_of_a_mark_that_was_not_run_is_named():
    lines = marks.table(lambda bench: None)
    assert len(lines) == len(marks.MARKS)
    assert {line[2] for line in lines} == {"not measured"}
    assert marks.table(lambda bench: None, every=False) == []


def test_place_of_another_processor_shows_its_own_results(tmp_path, monkeypatch):
    monkeypatch.setattr(marks, "MARKS", [mark for mark in marks.MARKS if mark.what == "x torch, every point"])
    (tmp_path / "avx2").mkdir()
    (tmp_path / "avx2" / "layers.json").write_text(json.dumps(layers(row("common", "GRU", 2, 1))))
    said = set()
    assert "| GRU | 1 | 64 | 33 | 1.5 | 2.00 |" in page.table("avx2_common", said, tmp_path)
    assert page.table("common", said, tmp_path) == "Not measured yet: `python bench/layers.py`."
    assert "| x torch, every point | ≥ 1 | 2 of 2 |" in page.table("avx2_marks", said, tmp_path)


def test_every_place_of_the_documents_has_a_bench_and_every_bench_a_place():
    used = []
    for document in page.DOCUMENTS:
        page.filled(document.read_text(), lambda name: used.append(name) or "")
    own = [name for name in used if name.partition("_")[0] not in page.PROCESSORS]
    assert sorted(own) == sorted([*page.PLACES, "marks"])


@pytest.mark.parametrize("name", [*page.PLACES, "marks", *(f"{name}_marks" for name in page.PROCESSORS)])
def test_committed_results_still_make_their_tables(name):
    assert page.table(name, set())
