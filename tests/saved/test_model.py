"""The folder of a model: whole or as it was, exact, and a clear refusal of everything else."""

import errno
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tests.saved.disk import (
    DAMAGES,
    ROOT,
    TENSORS,
    assert_same,
    contents,
    refused_at_every_flipped_byte,
    refused_when_damaged,
    run,
    unchanged_when_refused,
)
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.lock import only_writer
from unrolled.saved.model import load_model, save_model
from unrolled.saved.vocabulary import Vocabulary

VOCABULARY = Vocabulary("ab")
FILES = ("config.json", "vocabulary.json", "model.safetensors")


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path, {"model": {"cell": "gru"}}, VOCABULARY, TENSORS)
    return tmp_path


def test_model_comes_back_bit_for_bit_and_stands_alone(tmp_path):
    config = {"model": {"cell": "gru", "dropout": 0.1}, "framed": True}
    save_model(tmp_path / "new" / "model", config, VOCABULARY, TENSORS)
    (tmp_path / "new" / "model").rename(tmp_path / "moved")
    again, vocabulary, tensors = load_model(tmp_path / "moved")
    assert (again, vocabulary) == (config, VOCABULARY)
    assert_same(tensors, TENSORS)
    assert set(contents(tmp_path / "moved")) == set(FILES)
    for name in FILES[:2]:
        assert next(iter(json.loads((tmp_path / "moved" / name).read_bytes()))) == "format_version"


def test_model_bytes_depend_on_nothing_but_the_model(tmp_path):
    for name in ("one", "two"):
        save_model(tmp_path / name, {"model": {}}, VOCABULARY, TENSORS)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_model_is_overwritten_only_on_purpose(folder):
    before = contents(folder)
    with pytest.raises(CheckpointError, match="a model is already there"):
        save_model(folder, {"model": 2}, VOCABULARY, TENSORS)
    assert contents(folder) == before
    save_model(folder, {"model": 2}, VOCABULARY, TENSORS, overwrite=True)
    assert load_model(folder)[0] == {"model": 2}


def test_model_config_may_not_use_the_keys_of_the_file(tmp_path):
    with pytest.raises(ValueError, match="reserved keys format_version, sha256"):
        save_model(tmp_path, {"sha256": {}}, VOCABULARY, TENSORS)
    assert not contents(tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", DAMAGES)
def test_loading_names_the_file_that_is_damaged(folder, name, how):
    """A flipped bit in config.json, which no sum covers, is found where it breaks the JSON."""
    refused_when_damaged(folder / name, how, lambda: load_model(folder))


@pytest.mark.parametrize("name", FILES[1:])
def test_loading_finds_every_flipped_byte_of_a_file_with_a_sum(folder, name):
    refused_at_every_flipped_byte(folder / name, lambda: load_model(folder))


def test_loading_refuses_an_unknown_version_by_number(folder):
    (folder / "config.json").write_text(json.dumps({"format_version": 99, "other": 1}))
    with pytest.raises(CheckpointError, match=r"config\.json: format version 99; this release reads 1"):
        load_model(folder)


def test_loading_refuses_parts_of_two_saves(tmp_path):
    for name, cell in (("one", "gru"), ("two", "lstm")):
        save_model(tmp_path / name, {"cell": cell}, VOCABULARY, {"w": np.full(3, len(cell))})
    (tmp_path / "one" / "model.safetensors").replace(tmp_path / "two" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged, or of another save"):
        load_model(tmp_path / "two")


def test_loading_says_that_there_is_no_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json, so there is no model"):
        load_model(tmp_path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_saving_leaves_all_as_it_was_when_the_disk_refuses(folder, call, number):
    save = lambda: save_model(folder, {"model": 2}, VOCABULARY, TENSORS, overwrite=True)  # noqa: E731
    unchanged_when_refused(folder, call, number, save)


def test_model_survives_a_crash_before_every_system_call(tmp_path):
    code = """
        import sys
        import numpy as np
        from tests.saved.disk import crash_before_every_call
        from unrolled.saved.model import load_model, save_model
        from unrolled.saved.vocabulary import Vocabulary

        def save(folder, step):
            vocabulary = Vocabulary(map(str, range(step)))
            save_model(folder, {"step": step}, vocabulary, {"w": np.full(5, step)}, overwrite=True)

        def check(folder):
            config, vocabulary, tensors = load_model(folder)
            assert (tensors["w"] == config["step"]).all() and len(vocabulary) == config["step"] + 2
            for step in (3, config["step"]):
                save(folder, step)
                assert load_model(folder)[0] == {"step": step}
            left = sorted(path.name for path in folder.iterdir())
            assert left == ["config.json", "model.safetensors", "vocabulary.json"], left

        print(crash_before_every_call(sys.argv[1], save, check))
    """
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10


def test_model_is_read_whole_while_another_process_replaces_it(folder):
    code = """
        import sys
        import numpy as np
        from unrolled.saved.model import save_model
        from unrolled.saved.vocabulary import Vocabulary
        for step in range(1, 301):
            save_model(sys.argv[1], {"step": step}, Vocabulary("ab"), {"w": np.full(5, step)}, overwrite=True)
    """
    save_model(folder, {"step": 0}, VOCABULARY, {"w": np.full(5, 0)}, overwrite=True)
    steps = []
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(folder)], cwd=ROOT) as process:
        while process.poll() is None:
            config, _, tensors = load_model(folder)
            assert (tensors["w"] == config["step"]).all()
            steps.append(config["step"])
    assert process.returncode == 0
    assert steps == sorted(steps)


def test_second_writer_is_refused_while_a_model_is_saved(folder):
    with only_writer(folder), pytest.raises(CheckpointError, match=f"pid {os.getpid()} on .* is writing"):
        save_model(folder, {"model": 2}, VOCABULARY, TENSORS, overwrite=True)


def test_sum_that_is_a_path_leads_nowhere(folder):
    config = json.loads((folder / "config.json").read_text())
    config["sha256"]["model.safetensors"] = "/../../../etc/x"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        load_model(folder)


def test_model_is_loaded_without_torch():
    assert run("import sys; import unrolled.saved.model; print('torch' in sys.modules)").stdout == "False\n"
