"""metrics.jsonl is as exact as the weights: a run that resumes writes no line twice and leaves none out."""

import json
import os

import pytest

from unrolled.lm.metrics_log import MetricsLog, length_up_to, read_metrics
from unrolled.saved.atomic_files import CheckpointError


@pytest.fixture
def log(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (10, 20, 20, 30):
        log.append({"step": step, "symbols": step, "bits": step / 7})
    return log


def steps(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_metrics_log_on_resume_drops_what_came_after_the_checkpoint(tmp_path):
    log = MetricsLog(tmp_path)
    log.append({"symbols": 20, "bits": 0.5})
    length = log.length
    log.append({"symbols": 20, "validation_bits": 0.4})  # of the same step, and not in the checkpoint
    with log.path.open("ab") as file:
        file.write(b'{"step": 30, "na')
    MetricsLog(tmp_path, length).append({"symbols": 20, "validation_bits": 0.4})
    assert read_metrics(tmp_path) == [{"symbols": 20, "bits": 0.5}, {"symbols": 20, "validation_bits": 0.4}]


def test_metrics_of_a_folder_without_any_are_none_and_damaged_ones_are_named(tmp_path):
    assert read_metrics(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"symbols": 20, "bits": 1}\n[20]\n')
    with pytest.raises(
        CheckpointError, match=r"metrics\.jsonl: line 2 is damaged, or written by something else: Expected `object`"
    ):
        read_metrics(tmp_path)


@pytest.mark.parametrize("length", [-1, +1])
def test_metrics_log_refuses_a_file_in_which_no_line_ends_there_and_keeps_it(log, length, tmp_path):
    before = log.path.read_bytes()
    with pytest.raises(CheckpointError, match=f"no line ends after {len(before) + length:,} bytes; restore the file"):
        MetricsLog(tmp_path, len(before) + length)
    assert log.path.read_bytes() == before


def test_metrics_log_that_was_removed_begins_anew(log, tmp_path):
    length = log.length
    log.path.unlink()
    MetricsLog(tmp_path, length).append({"step": 31})
    assert steps(tmp_path) == [31]


def test_length_for_a_checkpoint_of_version_0_1_is_that_of_the_lines_up_to_its_step(log, tmp_path):
    with log.path.open("ab") as file:
        file.write(b'{"step": 40, "na')
    MetricsLog(tmp_path, length_up_to(tmp_path, 20))
    assert steps(tmp_path) == [10, 20, 20]
    assert length_up_to(tmp_path / "none", 20) == 0


def test_length_refuses_a_foreign_file(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnotes\n')
    with pytest.raises(CheckpointError, match="line 2 is not a JSON object with a step"):
        length_up_to(tmp_path, 5)


def test_link_in_the_place_of_the_log_is_refused_and_what_it_names_unchanged(log, tmp_path):
    length, target = log.length, tmp_path / "target"
    log.path.rename(target)
    target.write_text(target.read_text() + "kept\n")
    before = target.read_bytes()
    log.path.symlink_to(target)
    for write in (lambda: MetricsLog(tmp_path, length), lambda: log.append({"step": 40})):
        with pytest.raises(CheckpointError, match=r"metrics\.jsonl: is a link, expected a file; remove it"):
            write()
    assert target.read_bytes() == before


def test_pipe_in_the_place_of_the_log_is_refused_and_not_waited_for(log, tmp_path):
    log.path.unlink()
    os.mkfifo(log.path)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: is a pipe or a device, expected a file; remove it"):
        MetricsLog(tmp_path)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: cannot write"):
        log.append({"step": 40})
