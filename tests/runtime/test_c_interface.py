"""The C interface: a program in C99 has the bits of the runtime in Python, and a bad folder is an error."""

import os
import re
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

import unrolled.nn
from tests import campaign
from tests.runtime.c_library import INCLUDE, LIBRARY, CLibrary
from tests.saved import seal
from tests.saved.networks import layer, networks
from unrolled import runtime
from unrolled.notation import CELLS
from unrolled.saved.atomic_files import CheckpointError, beside, sha256
from unrolled.saved.narrow import narrowed
from unrolled.saved.network import Head, Network
from unrolled.saved.network_folder import save_network

HERE = Path(__file__).parent
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.skipif(LIBRARY is None, reason="needs libunrolled, which the build of a wheel makes"),
]
STEPPABLE = {
    name: network for name, network in networks() if network.is_steppable and network.dtype == np.float32
}  # fmt: skip


def compiled(source, to, *options):
    library = ["-Wl,-rpath," + str(LIBRARY.parent), str(LIBRARY)]
    subprocess.run(["gcc", *STRICT, "-I", INCLUDE, HERE / source, "-o", to, *options, *library], check=True)
    return to


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return compiled("c_driver.c", tmp_path_factory.mktemp("c") / "driver")


@pytest.fixture(scope="module")
def library():
    return CLibrary()


def softmax(network):
    return network.head is not None and network.head.softmax


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("name", STEPPABLE)
def test_program_in_c_gives_the_bits_of_the_runtime(name, weights, driver, tmp_path):
    network = STEPPABLE[name] if weights == "float32" else narrowed(STEPPABLE[name], weights)
    save_network(tmp_path / "model", network)
    T, B, rng = 7, 3, np.random.default_rng(0)
    x = rng.integers(0, network.I, (T, B)) if network.reads_symbols else rng.normal(size=(T, B, network.I)).astype("f4")
    (tmp_path / "x").write_bytes(x.tobytes())
    subprocess.run([driver, tmp_path / "model", str(B), str(T), tmp_path / "x", tmp_path / "y"], check=True)
    y = np.frombuffer((tmp_path / "y").read_bytes(), np.float32).reshape(T, B, network.width)
    streams = runtime.load(tmp_path / "model").streams(B)
    want = np.stack([streams.step(x_t) for x_t in x])
    if softmax(network):
        np.testing.assert_allclose(y, want, rtol=1e-6)
    else:
        np.testing.assert_array_equal(y, want)
    assert y.any() or network.width == 1  # a ReLU


def test_header_is_one_of_c99_and_of_cpp(tmp_path):
    source = tmp_path / "alone.c"
    source.write_text('#include "unrolled.h"\nint main(void) { return 0; }\n')
    subprocess.run(["gcc", *STRICT, "-I", INCLUDE, "-fsyntax-only", source], check=True)
    subprocess.run(["g++", "-x", "c++", "-Wall", "-Werror", "-I", INCLUDE, "-fsyntax-only", source], check=True)


def test_library_shows_nothing_but_its_interface():
    listing = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].split("@")[0] for line in listing.splitlines()}
    assert {name for name in names if not name.startswith("unrolled_")} == set()
    needed = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True).stdout
    assert "python" not in needed
    assert "nanobind" not in needed


def test_python_module_takes_the_kernels_of_steps_from_this_library():
    core = unrolled._core.__file__
    listing = subprocess.run(["nm", "-D", "--undefined-only", core], capture_output=True, text=True, check=True).stdout
    assert "unrolled_instruction_sets" in listing
    needed = subprocess.run(["readelf", "-d", core], capture_output=True, text=True, check=True).stdout
    assert re.search(r"NEEDED.*\[libunrolled", needed)
    assert re.search(r"RPATH.*\[\$ORIGIN", needed)


def test_symbol_that_the_model_does_not_know_is_an_error(driver, tmp_path):
    network = STEPPABLE["GRU-one-hot"]
    save_network(tmp_path / "model", network)
    (tmp_path / "x").write_bytes(np.array([1, 6, 2], np.int64).tobytes())
    ran = subprocess.run(
        [driver, tmp_path / "model", "1", "3", tmp_path / "x", tmp_path / "y"], capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "symbol 6 to step on, expected 0 to V - 1 = 5" in ran.stderr


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Network((layer("GRU", 3, 5, 2),)), "directions is not 1: a layer that also runs backward has no next step"),
        (Network((layer("GRU", 3, 5, dtype=np.float64),)), "this interface computes float32 networks"),
    ],
)
def test_network_that_c_cannot_step_is_an_error(network, said, library, tmp_path):
    save_network(tmp_path, network)
    assert said in library.run(tmp_path)


def test_folder_that_is_none_is_an_error(library, tmp_path):
    assert "no config.json that can be read" in library.run(tmp_path / "nowhere")
    assert library.run(tmp_path / "nowhere").startswith(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").mkdir()
    assert "no config.json that can be read" in library.run(tmp_path)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"config": lambda c: c | {"format_version": 1, "weights": "int4"}}, "weights is not bfloat16 or int8"),
        ({"config": lambda c: c["network"].update(input_size=4) or c}, "'rnn.weight_ih_l0' is not F32 (20, 4)"),
        ({"config": lambda c: c["network"].update(input_size=2**40) or c}, "[network] input_size is out of range"),
        ({"config": lambda c: c["network"].update(layers=[]) or c}, "[network] layers is no list of layers"),
        ({"config": lambda c: c["network"].update(layers=7) or c}, "[network] layers is no list of layers"),
        ({"config": lambda c: c["network"]["layers"][0].update(kind="MGU") or c}, "kind is 'MGU', which this release"),
        ({"config": lambda c: c["network"]["layers"][0].update(hidden_size=True) or c}, "expected a whole number"),
        ({"config": lambda c: {}}, "[model] is missing or no object"),
        ({"tensors": lambda data: data[:7]}, "shorter than its header"),
        ({"tensors": lambda data: data[:-1]}, "does not lie where its header says"),
        ({"tensors": lambda data: struct.pack("<Q", 2**63) + data[8:]}, "its header is longer than the file"),
        ({"tensors": lambda data: data.replace(b"[20,5]", b"[20,6]")}, "'rnn.weight_hh_l0' is not F32 (20, 5)"),
        ({"tensors": lambda data: data.replace(b"bias_ih_l0", b"bias_jh_l0")}, "'rnn.bias_ih_l0' is missing"),
        ({"tensors": lambda data: data[:-4] + b"\x00\x00\xc0\x7f"}, "holds a number that is not finite"),
        ({"tensors": lambda data: struct.pack("<Q", 100_000) + b"[" * 100_000}, "values inside each other"),
        ({"tensors": lambda data: struct.pack("<Q", 12) + b'{"a":-1e999}'}, "a number out of range"),
        ({"tensors": lambda data: struct.pack("<Q", 11) + b'{"a":1.e99}'}, "no value"),
    ],
)
def test_folder_that_somebody_spoiled_is_an_error(parts, said, library, tmp_path):
    save_network(tmp_path, Network((layer("LSTM", 3, 5),)))
    seal.change(tmp_path, **parts)
    assert said in library.run(tmp_path)


def test_numbers_of_every_form_are_read(library, tmp_path):
    save_network(tmp_path, Network((layer("LSTM", 3, 5),)))
    seal.change(tmp_path, config=lambda c: c | {"seen": [0.5, -1.5e-3, 2e300, 5e-324, 10**40, -0.0]})
    assert library.run(tmp_path) is None


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (1.1, "has a scale with which q * scale is not exact, expected 17 significant bits"),
        (1e-40, "has a scale with which q * scale is not exact, expected 17 significant bits"),
        (2.0**127, "has a scale that is too large for float32"),
        (-1.0, "has a scale that is negative"),
    ],
)
def test_scale_that_python_refuses_is_an_error(scale, said, library, tmp_path):
    save_network(tmp_path, narrowed(Network((layer("RNN_TANH", 4, 3),)), "int8"))
    scales = {"rnn.weight_hh_l0.scale": ("F32", [3], np.array([1, scale, 1], np.float32).tobytes())}
    seal.change(tmp_path, tensors=lambda data: seal.spoiled(data, lambda tensors: tensors.update(scales)))
    assert f"'rnn.weight_hh_l0' {said}" in library.run(tmp_path)
    with pytest.raises(CheckpointError, match="has a scale"):
        runtime.load(tmp_path)


def test_file_of_another_save_is_an_error(library, tmp_path):
    save_network(tmp_path, STEPPABLE["LSTM-3-5"])
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(data)
    assert "no file has the sha256 that config.json names" in library.run(tmp_path)
    save_network(tmp_path, STEPPABLE["LSTM-3-5"], overwrite=True)
    text = (tmp_path / "config.json").read_bytes()
    (tmp_path / "config.json").write_bytes(text.replace(b'"bias": true', b'"bias": trUe'))
    assert "config.json" in library.run(tmp_path)


def test_save_that_was_interrupted_is_read_where_it_lies(library, tmp_path):
    save_network(tmp_path, STEPPABLE["LSTM-3-5"])
    file = tmp_path / "model.safetensors"
    file.rename(beside(file, sha256(file.read_bytes())))
    assert library.run(tmp_path) is None


def test_hostile_folders_load_and_step_or_are_errors():
    found = campaign.c_interface(range(300))
    assert found["refused"] > 150
    assert found["works"] > 30


@pytest.mark.whole_process  # its own allocator stands before every other
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize(("H", "rows"), [(16, 1), (256, 1), (256, 3)])
def test_step_takes_no_memory_lock_or_system_call(H, rows, weights, tmp_path):
    head = Head(np.ones((9, H), np.float32), np.ones(9, np.float32), softmax=True)
    network = Network((layer("LSTM", 5, H), layer("GRU", H, H, seed=1)), head=head)
    save_network(tmp_path / "model", network if weights == "float32" else narrowed(network, weights))
    program = compiled("c_steps.c", tmp_path / "steps", "-D_GNU_SOURCE", "-Wno-address")
    counter = tmp_path / "counter.so"
    source = HERE / "c_counter.c"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", source, "-o", counter, "-ldl"], check=True)
    arguments = [str(program), str(tmp_path / "model"), str(rows)]
    environment = {**os.environ, "LD_PRELOAD": str(counter)}
    ran = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    during, before = map(int, ran.stdout.split())
    assert during == 0
    assert before > 10  # the counter counts: loading took memory
    if strace := shutil.which("strace"):
        traced = subprocess.run([strace, "-f", *arguments], capture_output=True, text=True)
        if "Operation not permitted" not in traced.stderr:
            between = traced.stderr.split("<steps>")[-1].split("</steps>")[0]
            calls = [line for line in between.splitlines() if "(" in line and "write(" not in line]
            assert calls == []
            assert "openat(" in traced.stderr


def test_folder_that_is_saved_anew_is_loaded_whole(library, tmp_path):
    """Read between the two renames of a save, a folder has weights and a checksum of different models."""
    layers = [unrolled.nn.GRU(3, 4), unrolled.nn.GRU(3, 5)]
    unrolled.nn.save(layers[0], tmp_path / "m")
    over, said = threading.Event(), []

    def load():
        while not over.is_set():
            model = library.load(os.fsencode(tmp_path / "m"))
            said.append(library.error() if model is None else library.width(model))
            library.free(model)

    loaders = [threading.Thread(target=load) for _ in range(3)]
    for each in loaders:
        each.start()
    for k in range(40):
        unrolled.nn.save(layers[k % 2], tmp_path / "m", overwrite=True)
    over.set()
    for each in loaders:
        each.join()
    assert {*said} <= {4, 5}


def test_thread_steps_while_another_is_inside_a_call(tmp_path):
    save_network(tmp_path / "model", Network((layer("LSTM", 5, 64),)))
    program = compiled("c_threads.c", tmp_path / "threads", "-pthread")
    counts = []
    while sum(counts) < 100 and len(counts) < 50:  # on a busy machine the call may be over before the other thread runs
        ran = subprocess.run([program, tmp_path / "model", "50000"], capture_output=True, text=True, check=True)
        counts.append(int(ran.stdout))
    assert sum(counts) >= 100


def test_every_cell_is_stepped():
    assert {each.kind for network in STEPPABLE.values() for each in network.layers} == set(CELLS)
