"""Checkpoints of a run: written completely or not at all, read back exactly, refused when damaged."""

import errno
import json
import random
import stat
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.saved.disk import (
    DAMAGES,
    TENSORS,
    assert_same,
    contents,
    refused_at_every_flipped_byte,
    refused_when_damaged,
    run,
    unchanged_when_refused,
)
from unrolled.lm.metrics_log import MetricsLog, length_up_to
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.checkpoints import load_checkpoint, new_folder, save_checkpoint

FILES = (
    "checkpoints/latest",
    "checkpoints/step-000000005/training.json",
    "checkpoints/step-000000005/training.safetensors",
)


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path, 5, TENSORS, {"step": 5})
    return tmp_path


def test_checkpoint_comes_back_bit_for_bit(tmp_path):
    state = {"epoch": 3, "loss": 0.1 + 0.2, "order": [1, [2]], "name": "\u00e9"}
    save_checkpoint(tmp_path, 5, TENSORS, state)
    tensors, again = load_checkpoint(tmp_path)
    assert_same(tensors, TENSORS)
    assert again == state
    assert tensors["w"].flags.writeable


@settings(max_examples=30, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_checkpoint_keeps_every_finite_float(tmp_path_factory, number):
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(folder, 0, {"x": np.array(number)}, {"x": number})
    tensors, state = load_checkpoint(folder)
    assert tensors["x"].tobytes() == np.array(number).tobytes()
    assert np.array(state["x"]).tobytes() == np.array(number).tobytes()


def test_checkpoint_refuses_what_json_cannot_hold(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, {"best": 1.0})
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_checkpoint(tmp_path, 2, TENSORS, {"best": float("inf")})
    assert contents(tmp_path) == before


def test_checkpoint_keeps_only_the_latest(tmp_path):
    for step in (1, 2, 2, 3):
        save_checkpoint(tmp_path, step, TENSORS, {"step": step})
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["latest", "step-000000003"]
    assert load_checkpoint(tmp_path)[1] == {"step": 3}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", DAMAGES)
def test_loading_names_the_file_that_is_damaged(folder, name, how):
    """No checksum covers `latest`: a flipped bit in it is found where it breaks the JSON."""
    refused_when_damaged(folder / name, how, lambda: load_checkpoint(folder))


@pytest.mark.parametrize("name", FILES[1:])
def test_loading_finds_every_flipped_byte_of_a_file_with_a_checksum(folder, name):
    refused_at_every_flipped_byte(folder / name, lambda: load_checkpoint(folder))


@pytest.mark.parametrize("name", FILES[:2])
def test_loading_refuses_an_unknown_version_by_number(folder, name):
    (folder / name).write_text(json.dumps({"format_version": 99, "other": 1}))
    with pytest.raises(CheckpointError, match=f"{name}: format version 99; this release reads 1"):
        load_checkpoint(folder)


def test_loading_says_that_there_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="no run to resume"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_failed_save_leaves_everything_as_it_was(folder, call, number):
    unchanged_when_refused(folder, call, number, lambda: save_checkpoint(folder, 6, TENSORS, {"step": 6}))


def test_save_reports_a_limit_on_file_sizes_and_keeps_the_checkpoint_before(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, {"step": 1})
    before = contents(tmp_path)
    code = """
        import resource, sys
        import numpy as np
        from unrolled.saved.atomic_files import CheckpointError
        from unrolled.saved.checkpoints import save_checkpoint
        from unrolled.lm.metrics_log import MetricsLog
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        log = MetricsLog(sys.argv[1])
        try:
            save_checkpoint(sys.argv[1], 2, {"w": np.zeros(50_000)}, {"step": 2})
        except CheckpointError as error:
            print(error)
        try:
            while True:
                log.append({"step": 0, "pad": "x" * 999})
        except CheckpointError as error:
            print(error)
    """
    done = run(code, tmp_path)
    assert done.stdout.count("File too large; raise the limit on file sizes") == 2, done.stderr
    assert {name: data for name, data in contents(tmp_path).items() if name != "metrics.jsonl"} == before
    lines = (tmp_path / "metrics.jsonl").read_bytes()
    assert lines.endswith(b"\n")
    assert all(json.loads(line)["step"] == 0 for line in lines.splitlines())


SAVER = """
    import sys
    from pathlib import Path
    import numpy as np
    from unrolled.saved.checkpoints import save_checkpoint
    from unrolled.lm.metrics_log import MetricsLog, length_up_to
    folder, step = sys.argv[1], int(sys.argv[2])
    log = MetricsLog(folder, length_up_to(Path(folder), step))
    while True:
        step += 1
        log.append({"step": step})
        save_checkpoint(folder, step, {"w": np.full(20_000, step), "v": np.full(3, step)}, {"step": step})
        print("saved", flush=True)
"""


def test_checkpoint_survives_kill_at_random_moments(tmp_path):
    moments = random.Random(0)
    step = 0
    save_checkpoint(tmp_path, 0, {"w": np.zeros(1), "v": np.zeros(1)}, {"step": 0})
    for _ in range(6):
        command = [sys.executable, "-c", textwrap.dedent(SAVER), str(tmp_path), str(step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == process.stdout.readline() == b"saved\n"
            time.sleep(moments.uniform(0, 0.05))
            process.kill()
        tensors, state = load_checkpoint(tmp_path)
        assert state["step"] >= step + 2
        step = state["step"]
        assert all((array == step).all() for array in tensors.values())
        MetricsLog(tmp_path, length_up_to(tmp_path, step))
        lines = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert lines == list(range(1, step + 1))


def test_checkpoint_survives_a_crash_before_every_system_call(tmp_path):
    code = """
        import sys
        import numpy as np
        from tests.saved.disk import crash_before_every_call
        from unrolled.saved.checkpoints import load_checkpoint, save_checkpoint

        def save(folder, step):
            save_checkpoint(folder, step, {"w": np.full(5, step)}, {"step": step})

        def check(folder):
            tensors, state = load_checkpoint(folder)
            assert (tensors["w"] == state["step"]).all()
            save(folder, 3)
            assert load_checkpoint(folder)[1] == {"step": 3}
            left = sorted(p.name for p in (folder / "checkpoints").iterdir())
            assert left == ["latest", "step-000000003"], left

        print(crash_before_every_call(sys.argv[1], save, check))
    """
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8


def test_new_folder_refuses_one_that_holds_anything(tmp_path):
    new_folder(tmp_path)
    for name in ("notes.txt", "checkpoints/step-000000500/weights.pt", "checkpoints/latest", "config.json"):
        folder = tmp_path / name.replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
        with pytest.raises(CheckpointError, match="not empty"):
            new_folder(folder)
        assert contents(folder) == {name: b"mine"}


def test_folder_of_a_first_save_that_was_interrupted_is_new(tmp_path):
    code = """
        import sys
        from tests.saved.disk import crash_before_every_call
        from unrolled.saved.atomic_files import CheckpointError
        from unrolled.saved.checkpoints import load_checkpoint, new_folder, save_checkpoint

        def save(folder, step):
            folder.mkdir(parents=True, exist_ok=True)
            if step == 2:
                save_checkpoint(folder, step, {}, {"step": step})

        def check(folder):
            try:
                assert load_checkpoint(folder)[1] == {"step": 2}
            except CheckpointError as error:
                assert "no run to resume" in str(error), error
                new_folder(folder)
                assert not list(folder.iterdir())

        print(crash_before_every_call(sys.argv[1], save, check))
    """
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 8


def test_folder_that_is_cleared_can_be_resumed_or_is_new(tmp_path):
    code = """
        import sys
        from tests.saved.disk import crash_before_every_call
        from unrolled.saved.atomic_files import CheckpointError, write_file
        from unrolled.saved.checkpoints import clear_folder, load_checkpoint, new_folder, save_checkpoint

        def save(folder, step):
            if step == 1:
                save_checkpoint(folder, step, {}, {"step": step})
                write_file(folder / "config.json", b"x")
            else:
                clear_folder(folder)

        def check(folder):
            try:
                assert load_checkpoint(folder)[1] == {"step": 1}
            except CheckpointError as error:
                assert "no run to resume" in str(error), error
                new_folder(folder)

        print(crash_before_every_call(sys.argv[1], save, check))
    """
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5


def test_save_deletes_no_folder_that_it_did_not_make(folder):
    kept = folder / "checkpoints" / "step-000000005 of Monday"
    kept.mkdir()
    (kept / "notes.txt").write_text("kept")
    (folder / "checkpoints" / ".unfinished-abc").mkdir()
    save_checkpoint(folder, 6, TENSORS, {"step": 6})
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"latest", "step-000000006", kept.name}
    assert (kept / "notes.txt").read_text() == "kept"


def test_checkpoint_is_as_open_as_the_folder_it_lies_in(tmp_path):
    """Its own folder could be entered by its owner alone, so nobody else could resume from a copy of the run."""
    folder = tmp_path / "run"
    save_checkpoint(folder, 5, TENSORS, {})
    modes = {stat.S_IMODE(each.stat().st_mode) for each in folder.rglob("*") if each.is_dir()}
    assert modes == {stat.S_IMODE(folder.stat().st_mode)}
