"""Checkpoints: whole or not at all, exact, and a clear refusal of everything else."""

import errno
import json
import os
import random
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.lm.checkpoints import load_checkpoint, save_checkpoint
from unrolled.lm.metrics_log import MetricsLog
from unrolled.saved import files as files_module
from unrolled.saved.files import CheckpointError, new_folder
from unrolled.saved.model import load_model, save_model
from unrolled.saved.vocabulary import Vocabulary

TENSORS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "rng": np.arange(5, dtype=np.uint8), "n": np.array(7)}
VOCABULARY = Vocabulary("ab")


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def same(got, expected):
    assert list(got) == sorted(expected) or set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array, strict=True)


def test_checkpoint_comes_back_bit_for_bit(tmp_path):
    state = {"epoch": 3, "loss": 0.1 + 0.2, "order": [1, [2]], "name": "\u00e9"}
    save_checkpoint(tmp_path, 5, TENSORS, state)
    tensors, again = load_checkpoint(tmp_path)
    same(tensors, TENSORS)
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
    before = files(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_checkpoint(tmp_path, 2, TENSORS, {"best": float("inf")})
    assert files(tmp_path) == before


def test_checkpoint_keeps_only_the_latest(tmp_path):
    for step in (1, 2, 2, 3):
        save_checkpoint(tmp_path, step, TENSORS, {"step": step})
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["latest", "step-000000003"]
    assert load_checkpoint(tmp_path)[1] == {"step": 3}


def test_model_comes_back_bit_for_bit_and_stands_alone(tmp_path):
    config = {"model": {"cell": "gru", "dropout": 0.1}, "framed": True}
    save_model(tmp_path / "new" / "model", config, VOCABULARY, TENSORS)
    (tmp_path / "new" / "model").rename(tmp_path / "moved")
    again, vocabulary, tensors = load_model(tmp_path / "moved")
    assert (again, vocabulary) == (config, VOCABULARY)
    same(tensors, TENSORS)
    assert set(files(tmp_path / "moved")) == {"config.json", "vocabulary.json", "model.safetensors"}
    for name in ("config.json", "vocabulary.json"):
        assert next(iter(json.loads((tmp_path / "moved" / name).read_bytes()))) == "format_version"


def test_model_bytes_depend_on_nothing_but_the_model(tmp_path):
    for name in ("one", "two"):
        save_model(tmp_path / name, {"model": {}}, VOCABULARY, TENSORS)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_model_is_overwritten_only_on_purpose(tmp_path):
    save_model(tmp_path, {"model": 1}, VOCABULARY, TENSORS)
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match="a model is already there"):
        save_model(tmp_path, {"model": 2}, VOCABULARY, TENSORS)
    assert files(tmp_path) == before
    save_model(tmp_path, {"model": 2}, VOCABULARY, TENSORS, overwrite=True)
    assert load_model(tmp_path)[0] == {"model": 2}


def test_model_config_may_not_use_the_keys_of_the_file(tmp_path):
    with pytest.raises(ValueError, match="format_version, sha256"):
        save_model(tmp_path, {"sha256": {}}, VOCABULARY, TENSORS)
    assert not files(tmp_path)


def saved(folder):
    save_model(folder, {"model": {"cell": "gru"}}, VOCABULARY, TENSORS)
    save_checkpoint(folder, 5, TENSORS, {"step": 5})
    return sorted(p for p in folder.rglob("*") if p.is_file())


def load_all(folder):
    load_model(folder)
    load_checkpoint(folder)


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign", "missing"])
def test_loading_names_the_file_that_is_damaged(tmp_path, which, damage):
    """Flipped bits in the two heads of a chain of sums, config.json and latest, are found where they break the JSON."""
    path = saved(tmp_path)[which]
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 0x80]) + data[-2:])
    else:
        path.write_bytes({"empty": b"", "truncated": data[: len(data) // 2], "foreign": b"\x80\x04K\x01."}[damage])
    with pytest.raises(CheckpointError) as caught:
        load_all(tmp_path)
    assert str(path.name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loading_finds_every_flipped_byte_of_a_sum_checked_file(tmp_path):
    checked = [p for p in saved(tmp_path) if p.name not in ("config.json", "latest")]
    assert len(checked) == 4
    for path in checked:
        data = path.read_bytes()
        for at in range(0, len(data), 7):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(CheckpointError, match=path.name):
                load_all(tmp_path)
        path.write_bytes(data)
    load_all(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "latest", "training.json"])
def test_loading_refuses_an_unknown_version_by_number(tmp_path, name):
    [path] = [p for p in saved(tmp_path) if p.name == name]
    path.write_text(json.dumps({"format_version": 99, "other": 1}))
    with pytest.raises(CheckpointError, match=f"{name}: format version 99; this release reads 1"):
        load_all(tmp_path)


def test_loading_refuses_parts_of_two_saves(tmp_path):
    for name, cell in (("one", "gru"), ("two", "lstm")):
        save_model(tmp_path / name, {"cell": cell}, VOCABULARY, {"w": np.full(3, len(cell))})
    (tmp_path / "one" / "model.safetensors").replace(tmp_path / "two" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged, or of another save"):
        load_model(tmp_path / "two")


def test_loading_says_that_there_is_nothing(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json, so there is no model"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="no run to resume"):
        load_checkpoint(tmp_path)


def test_new_folder_refuses_one_that_holds_anything(tmp_path):
    assert new_folder(tmp_path / "a" / "b").is_dir()
    assert new_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "a" / "b" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not empty"):
        new_folder(tmp_path / "a" / "b")
    with pytest.raises(CheckpointError, match="cannot write: File exists; name a folder"):
        new_folder(tmp_path / "a" / "b" / "notes.txt")


def save_state(folder):
    save_checkpoint(folder, 6, TENSORS, {"step": 6})


def save_over(folder):
    save_model(folder, {"model": 2}, VOCABULARY, TENSORS, overwrite=True)


@pytest.mark.parametrize(
    ("save", "call"),
    [
        (save_state, "mkdir"),
        (save_state, "fsync"),
        (save_state, "rename"),
        (save_over, "fsync"),
        (save_over, "replace"),
    ],
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_saving_leaves_all_as_it_was_when_the_disk_refuses(tmp_path, monkeypatch, save, call, number):
    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    saved(tmp_path)
    before = files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(CheckpointError, match=f"cannot write: {os.strerror(number)}; ") as caught:
            save(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert files(tmp_path) == before


def test_saving_reports_a_limit_on_file_sizes_and_keeps_the_state_before(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, {"step": 1})
    before = files(tmp_path)
    code = """
        import resource, sys
        import numpy as np
        from unrolled.saved.files import CheckpointError
        from unrolled.lm.checkpoints import save_checkpoint
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
    assert {name: data for name, data in files(tmp_path).items() if name != "metrics.jsonl"} == before
    lines = (tmp_path / "metrics.jsonl").read_bytes()
    assert lines.endswith(b"\n")
    assert all(json.loads(line)["step"] == 0 for line in lines.splitlines())


def run(code, *args):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)], capture_output=True, text=True
    )


SAVER = """
    import sys
    import numpy as np
    from unrolled.lm.checkpoints import save_checkpoint
    from unrolled.lm.metrics_log import MetricsLog
    from unrolled.saved.model import save_model
    from unrolled.saved.vocabulary import Vocabulary
    folder, step = sys.argv[1], int(sys.argv[2])
    log = MetricsLog(folder, step=step)
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
        MetricsLog(tmp_path, step=step)
        lines = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert lines == list(range(1, step + 1))


def test_saves_survive_a_crash_before_every_system_call(tmp_path):
    """The process ends without a word before the k-th call that changes the disk, for every k."""
    code = """
        import os, sys, warnings
        from pathlib import Path
        import numpy as np
        from unrolled.saved.files import CheckpointError
        from unrolled.saved.model import load_model, save_model
        from unrolled.lm.checkpoints import load_checkpoint, save_checkpoint
        from unrolled.saved.vocabulary import Vocabulary
        warnings.simplefilter("ignore")

        def save(folder, step):
            tensors = {"w": np.full(5, step)}
            save_checkpoint(folder, step, tensors, {"step": step})
            save_model(folder, {"step": step}, Vocabulary(map(str, range(step))), tensors, overwrite=True)

        def crash_before(k):
            left = [k]
            def wrap(call):
                def counted(*args, **kwargs):
                    left[0] -= 1
                    if left[0] < 0:
                        os._exit(7)
                    return call(*args, **kwargs)
                return counted
            for name in ("mkdir", "fsync", "rename", "replace", "unlink", "rmdir"):
                setattr(os, name, wrap(getattr(os, name)))

        folder, k, refused = Path(sys.argv[1]), 0, 0
        while True:
            run = folder / str(k)
            save(run, 1)
            child = os.fork()
            if child == 0:
                crash_before(k)
                save(run, 2)
                os._exit(0)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            tensors, state = load_checkpoint(run)
            assert (tensors["w"] == state["step"]).all()
            try:
                config, vocabulary, tensors = load_model(run)
                assert (tensors["w"] == config["step"]).all() and len(vocabulary) == config["step"] + 2
            except CheckpointError as error:
                assert "of another save" in str(error)
                refused += 1
            save(run, 3)
            assert load_checkpoint(run)[1] == load_model(run)[0] == {"step": 3}
            left = sorted(p.name for p in (run / "checkpoints").iterdir())
            assert left == ["latest", "step-000000003"], left
            if ended == 0:
                break
            k += 1
        print(k, refused)
    """
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    crashes, refused = map(int, done.stdout.split())
    assert crashes > 15
    assert refused == 2  # between the first and the last rename of a model's three files


def test_metrics_log_on_resume_drops_what_came_after_the_step(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (10, 20, 20, 30):
        log.append({"step": step, "nats": step / 7})
    with log.path.open("ab") as file:
        file.write(b'{"step": 40, "na')
    MetricsLog(tmp_path, step=20).append({"step": 21, "nats": 0.5})
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 20, 21]
    assert lines[0]["nats"] == 10 / 7


def test_metrics_log_refuses_a_foreign_file_and_keeps_it(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnotes\n')
    with pytest.raises(CheckpointError, match="line 2 is not a JSON object with a step"):
        MetricsLog(tmp_path, step=5)
    assert path.read_text() == '{"step": 1}\nnotes\n'


def test_checkpoint_imports_neither_torch_nor_pickle():
    code = "import sys; import unrolled.saved.model; print('torch' in sys.modules)"
    assert run(code).stdout == "False\n"
    assert "pickle" not in vars(files_module)
