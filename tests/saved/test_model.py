"""The folder of a model: whole or as it was, exact, and a clear refusal of everything else."""

import errno
import json
import os
import re
import struct
import subprocess
import sys
import textwrap
from dataclasses import asdict

import numpy as np
import pytest
import safetensors.numpy

from tests.saved import seal
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
from unrolled.config.model import ModelConfig
from unrolled.saved.atomic_files import CheckpointError, pack
from unrolled.saved.lock import only_writer
from unrolled.saved.model import SavedModel, load_model, save_model
from unrolled.saved.tensors import model_tensors
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


def test_model_of_a_run_that_can_be_resumed_is_not_overwritten(folder):
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "latest").write_text("{}")
    before = contents(folder)
    with pytest.raises(CheckpointError, match="a run is there, and resuming it would replace this model; name another"):
        save_model(folder, {"model": 2}, VOCABULARY, TENSORS, overwrite=True)
    assert contents(folder) == before


def test_model_config_may_not_use_the_keys_of_the_file(tmp_path):
    with pytest.raises(ValueError, match="reserved keys format_version, sha256"):
        save_model(tmp_path, {"sha256": {}}, VOCABULARY, TENSORS)
    assert not contents(tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", DAMAGES)
def test_loading_names_the_file_that_is_damaged(folder, name, how):
    refused_when_damaged(folder / name, how, lambda: load_model(folder))


@pytest.mark.parametrize("name", FILES)
def test_loading_finds_every_flipped_byte(folder, name):
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
    del config["sha256"]["config.json"]
    config["sha256"]["model.safetensors"] = "/../../../etc/x"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        load_model(folder)


def test_model_is_loaded_without_torch():
    assert run("import sys; import unrolled.saved.model; print('torch' in sys.modules)").stdout == "False\n"


def test_loading_finds_a_number_of_the_config_that_was_changed(tmp_path):
    save_model(tmp_path, {"model": {"num_layers": 1}}, VOCABULARY, TENSORS)
    path = tmp_path / "config.json"
    path.write_bytes(path.read_bytes().replace(b'"num_layers": 1', b'"num_layers": 3'))
    with pytest.raises(CheckpointError, match=r"config\.json: damaged, or of another save"):
        load_model(tmp_path)


def test_loading_accepts_a_config_without_a_sum_of_its_own(folder):
    """Version 0.1 wrote none."""
    path = folder / "config.json"
    config = json.loads(path.read_bytes())
    del config["sha256"]["config.json"]
    path.write_text(json.dumps(config))
    assert load_model(folder)[0] == {"model": {"cell": "gru"}}


@pytest.mark.parametrize("sums", [{}, None, 3, {"vocabulary.json": 1}, {"vocabulary.json": ""}, {"more": "0" * 64}])
def test_loading_refuses_a_config_without_the_sums_of_the_others(folder, sums):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"sha256": sums}))
    with pytest.raises(CheckpointError, match=r"config\.json: damaged"):
        load_model(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe{}", b'{"format_version": 1, "a": "\xff"}', b'{"a":' * 100_000, b"[" * 100_000, b"1" * 9999],
    ids=["UTF-16", "Latin-1", "deep objects", "deep arrays", "a long number"],
)
def test_loading_names_a_file_that_no_writer_of_json_wrote(folder, name, data):
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name}: "):
        load_model(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_loading_refuses_what_is_no_file(folder, name, way):
    (folder / name).unlink()
    way(folder / name)
    with pytest.raises(CheckpointError, match=f"{name}: cannot read: "):
        load_model(folder)


def header(**entry):
    text = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | entry}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (header(dtype="BF16", shape=[2]), "a tensor is of type BF16"),
        (header(shape=[1] * 100), "no safetensors file"),
        (header(shape=[0, 2**62], data_offsets=[0, 0])[:-4], "no safetensors file: array is too big"),
        (header(data_offsets=[4, 8]), "no safetensors file"),
    ],
)
def test_loading_names_a_tensor_that_numpy_cannot_hold(folder, data, said):
    seal.change(folder, tensors=lambda _: data)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{said}"):
        load_model(folder)


SMALL = ModelConfig(cell="rnn", hidden_size=3)


@pytest.fixture
def small(tmp_path):
    """The folder of a small model whose parts fit each other."""
    tensors = {name: np.ones(shape, np.float32) for name, _, _, shape in model_tensors(SMALL, len(VOCABULARY))}
    save_model(tmp_path, {"model": asdict(SMALL), "framed": True}, VOCABULARY, tensors)
    return tmp_path


def retold(change):
    """Return bytes of tensors as another safetensors file, changed by a function of the arrays by name."""

    def told(data):
        tensors = safetensors.numpy.load(data)
        change(tensors)
        return pack(tensors)

    return told


def tile(tensors):
    for name in ("head.weight", "head.bias", "start"):
        tensors[name] = np.concatenate([tensors[name]] * 3)


def spoil(tensors):
    tensors["head.bias"][1] = np.nan


def test_loading_leaves_out_what_a_later_release_wrote_beside_the_keys_known_here(small):
    later = {name: {"later": 1} for name in ("data", "training")}
    seal.change(small, config=lambda c: c | later | {"model": c["model"] | {"later": 1}})
    assert SavedModel.load(small).model == SMALL


@pytest.mark.parametrize(
    ("parts", "file", "said"),
    [
        ({"tensors": retold(tile)}, "model.safetensors", r"'start' is float32 \(12,\), expected float32 \(V\)"),
        ({"tensors": retold(spoil)}, "model.safetensors", "'head.bias' has 1 non-finite number"),
        ({"tensors": retold(dict.clear)}, "model.safetensors", "'start' is missing"),
        ({"vocabulary": lambda v: v | {"symbols": ["a"]}}, "model.safetensors", r"expected float32 \(V\) = \(3,\)"),
        ({"config": lambda c: c | {"model": {**c["model"], "num_layers": 3}}}, "model.safetensors", "l1' is missing"),
        ({"config": lambda c: c | {"model": {**c["model"], "hidden_size": 0}}}, "config.json", "hidden_size is 0"),
        ({"config": lambda c: c | {"model": []}}, "config.json", "not the config of a model"),
        ({"config": lambda c: c | {"framed": 1}}, "config.json", r"Expected `bool`, got `int` - at `\$\.framed`"),
        ({"config": lambda c: c | {"sources": 5}}, "config.json", r"got `int` - at `\$\.sources`"),
        ({"config": lambda c: {"model": c["model"]}}, "config.json", "missing required field `framed`"),
        ({"config": lambda c: c | {"training": {"bptt": "x"}}}, "config.json", r"\[training\] bptt is 'x'"),
        ({"config": lambda c: c | {"training": {"max_epochs": 0}}}, "config.json", r"\[training\] max_steps, .* all 0"),
        ({"config": lambda c: c | {"data": {"min_count": 0}}}, "config.json", r"\[data\] min_count is 0"),
        ({"config": lambda c: c | {"data": {"kind": "words"}}}, "config.json", r"\[data\] kind is 'words', but vocab"),
        (
            {"config": lambda c: c | {"data": {"lines": True}, "framed": False}},
            "config.json",
            r"\[data\] lines is true, but framed is false",
        ),
    ],
)
def test_loading_refuses_parts_that_do_not_fit_each_other(small, parts, file, said):
    assert SavedModel.load(small).model == SMALL
    seal.change(small, **parts)
    with pytest.raises(CheckpointError, match=rf"{re.escape(file)}: .*{said}"):
        SavedModel.load(small)
