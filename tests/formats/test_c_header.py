"""The C header: compiled by each compiler that is found, in each of its forms, it gives what the runtime gives."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.formats.stepping import inputs, outputs
from tests.saved.networks import layer, networks
from unrolled.core.int8 import quantised, widened
from unrolled.export import to_c
from unrolled.nn.network import network_of
from unrolled.notation import Weights
from unrolled.saved.narrow import narrowed
from unrolled.saved.network import Head, Layer, Network, TextPart
from unrolled.saved.network_folder import save_network
from unrolled.saved.vocabulary import Vocabulary

HERE = Path(__file__).parent
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
C99, CPP = ["-std=c99", *STRICT], ["-x", "c++", "-std=c++17", *STRICT]
#: A report says its lines; to say its variables too takes as long again.
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1", "-O1"]
#: Most of the time of these tests is compiling.  Builds that differ little take turns: one has the headers of even
#: numbers, the other those of odd ones.
ALL, EVEN, ODD = slice(None), slice(0, None, 2), slice(1, None, 2)
#: By name: compiler, flags, steps of each network, and which headers.
BUILDS = {
    "gcc": ("gcc", ["-O2", "-march=native", *C99], 10_000, ALL),
    "gcc-any-processor": ("gcc", ["-O2", *C99], 10_000, EVEN),
    "gcc-plain": ("gcc", ["-O2", "-DPLAIN", *C99], 10_000, ALL),
    "gcc-contracted": ("gcc", ["-O3", "-march=native", *STRICT], 10_000, ODD),
    "gcc-sanitizers": ("gcc", [*SANITIZERS, "-march=native", *C99], 500, EVEN),
    "gcc-plain-sanitizers": ("gcc", [*SANITIZERS, "-DPLAIN", *C99], 500, ODD),
    "g++": ("g++", ["-O1", "-march=native", *CPP], 500, EVEN),
    "clang": ("clang", ["-O2", "-march=native", *C99], 10_000, EVEN),
    "clang-plain": ("clang", ["-O2", "-DPLAIN", *C99], 10_000, ODD),
    "clang++": ("clang++", ["-O1", "-march=native", *CPP], 500, ODD),
    "arm": ("aarch64-linux-gnu-gcc", ["-O2", "-static", *C99], 500, EVEN),
}
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}


def random_head(V, P, dtype=np.float32, **options):
    rng = np.random.default_rng(5)
    return Head(rng.normal(size=(V, P)).astype(dtype), rng.normal(size=V).astype(dtype), **options)


def steppable():
    """Every network that a header can hold, by a name in C, with weights so small that states forget rounding."""
    double = {"dtype": np.float64}
    found = {re.sub(r"\W", "_", name): net for name, net in networks()}
    found |= {
        "projected": Network((layer("LSTM", 3, 17, P=11), layer("LSTM", 11, 6, P=3, seed=1, initial=True))),
        "sixteen": Network((layer("LSTM", 3, 16), layer("GRU", 16, 32)), head=random_head(5, 32)),
        "wide": Network((layer("LSTM", 37, 48), layer("GRU", 48, 64)), head=random_head(5, 64)),
        "peepholes_initial": Network((layer("LSTM_PEEPHOLE", 2, 33, initial=True),)),
        "many_rows": Network((layer("GRU", 40, 21),), head=random_head(133, 21)),
        "double_stack": Network(
            (layer("LSTM", 3, 9, **double), layer("GRU", 9, 16, **double)), head=random_head(3, 16, np.float64)
        ),
        "double_softmax": Network(
            (layer("RNN_TANH", 3, 7, **double),), head=random_head(3, 7, np.float64, softmax=True)
        ),
    }
    found = {n: net for n, net in found.items() if net.is_steppable and not (net.head and net.head.when == "last")}
    for net in found.values():
        for name, w in net.tensors().items():
            w *= 0.5 if name.startswith("rnn") else 1
    return found


def widened_from_int8(network):
    """The network that a header in int8 holds."""

    def matrix(w):
        return None if w is None else widened(quantised(w)).astype(w.dtype)

    layers = []
    for number, each in enumerate(network.layers):
        (weights,) = each.directions
        W_ih = weights.W_ih if network.one_hot and number == 0 else matrix(weights.W_ih)
        weights = weights._replace(W_ih=W_ih, W_hh=matrix(weights.W_hh), W_hr=matrix(weights.W_hr))
        layers.append(replace(each, directions=(weights,)))
    head = network.head and replace(network.head, W=matrix(network.head.W))
    return replace(network, layers=tuple(layers), head=head)


#: By name of the header: the network, how its weights are written, and the network that the header then holds.
HEADERS = {name: (net, "float32", net) for name, net in steppable().items()}
HEADERS |= {
    f"{name}_int8": (net, "int8", widened_from_int8(net))
    for name, (net, _, _) in HEADERS.items()
    if net.dtype == np.float32
}


@pytest.fixture(scope="module")
def expected():
    """Of each header, what goes in and what must come out in 10,000 steps."""
    given = {name: inputs(net, 10_000) for name, (net, _, _) in HEADERS.items()}
    return {name: (given[name], outputs(held, given[name])) for name, (_, _, held) in HEADERS.items()}


@pytest.mark.parametrize("name", BUILDS)
def test_header_gives_what_the_runtime_gives(name, expected, tmp_path):
    compiler, flags, T, which = BUILDS[name]
    headers = dict([*HEADERS.items()][which])
    expected = {header: expected[header] for header in headers}
    for header, (net, weights, _) in headers.items():
        to_c(net, tmp_path / f"{header}.h", weights=weights)
    build(tmp_path, {header: net for header, (net, _, _) in headers.items()}, compiler, flags)
    for header, (x, _) in expected.items():
        (tmp_path / f"{header}.x").write_bytes(x[:T].astype(np.int32 if x.dtype == np.int64 else x.dtype).tobytes())
    run([*emulator(compiler), tmp_path / "program"], tmp_path)
    errors = {header: error(tmp_path / f"{header}.y", y[:T]) for header, (_, y) in expected.items()}
    limits = {header: TOLERANCE[y.dtype] for header, (_, y) in expected.items()}
    assert {header: e for header, e in errors.items() if not e <= limits[header]} == {}


@pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang")
@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("H", [16, 32, 33, 64])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN_TANH"])
def test_clang_makes_vectors_of_the_plain_loop_over_units(kind, H, weights, tmp_path):
    to_c(Network((layer(kind, H, H),)), tmp_path / "net.h", weights=weights)
    source = HERE.parents[1] / "bench" / "c_header.c"
    flags = ["-O3", "-march=native", "-DNET_PLAIN", "-D_POSIX_C_SOURCE=199309L", "-Rpass=loop-vectorize", "-I."]
    command = ["clang", *flags, "-c", source, "-o", "net.o"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    lines = (tmp_path / "net.h").read_text().splitlines()
    made = {lines[int(number) - 1].strip() for number in re.findall(r"net\.h:(\d+):\d+: remark: vectorized", said)}
    assert any("j = " in line and "net_U0" in line for line in made), made


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_number_that_is_none_is_none_in_int8_too(number, tmp_path):
    net = Network((layer("GRU", 48, 64),))
    to_c(net, tmp_path / "net.h", weights="int8")
    build(tmp_path, {"net": net}, "gcc", ["-O2", "-march=native"])
    x = np.ones((3, 48), np.float32)
    x[1, 40] = number
    (tmp_path / "net.x").write_bytes(x.tobytes())
    run([tmp_path / "program"], tmp_path)
    y = np.fromfile(tmp_path / "net.y", np.float32).reshape(3, 64)
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1:]).any()


@pytest.mark.parametrize("flags", [["-march=native"], ["-DNET_PLAIN"], ["-march=native", "-ffp-contract=off"]], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_and_tanh_are_exact_to_the_stated_error(dtype, flags, tmp_path):
    to_c(Network((layer("LSTM", 1, 16, dtype=dtype),)), tmp_path / "net.h")
    x = np.concatenate(
        [np.linspace(-100, 100, 200_001), np.geomspace(1e-30, 700, 99_999), [0, np.inf, -np.inf, np.nan]]
    )
    x = np.pad(x, (0, -len(x) % 64)).astype(dtype)
    (tmp_path / "x").write_bytes(x.tobytes())
    run(["gcc", "-O2", *flags, "-I", ".", HERE / "functions.c", "-o", "program"], tmp_path)
    run([tmp_path / "program"], tmp_path)
    found = np.fromfile(tmp_path / "y", dtype).reshape(2, -1)
    wide = x.astype(np.longdouble)
    tail = np.exp(-np.abs(wide))
    for y, want in zip(found, (np.where(wide > 0, 1, tail) / (1 + tail), np.tanh(wide)), strict=True):
        normal = np.abs(want) > np.finfo(dtype).tiny
        ulp = np.spacing(np.abs(want[normal]).astype(dtype)).astype(np.longdouble)
        assert np.max(np.abs(y[normal] - want[normal]) / ulp) < 3
        assert np.array_equal(np.isnan(y), np.isnan(x))
        assert not np.any(y[~normal & ~np.isnan(x)] > 2 * np.finfo(dtype).tiny)


@pytest.mark.parametrize("flags", [["-march=native"], [], ["-DPLAIN"]], ids=str)
def test_long_sums_stay_near_those_of_float64(flags, tmp_path):
    """Of equal numbers, which are rounded alike: the error of one chain would grow with its length."""
    I, V, zeros = 30_001, 40_003, np.zeros((1, 1), np.float32)
    weights = Weights(np.full((1, I), 0.1 / I, np.float32), zeros, zeros[0], zeros[0])
    long = Network((Layer("RNN_RELU", (weights,)),))
    b = np.full(V, -2.3026, np.float32)
    b[0] = 0
    head = Head(np.zeros((V, 1), np.float32), b, softmax=True)
    nets = {"long": long, "soft": Network((Layer("RNN_RELU", (weights._replace(W_ih=zeros),)),), head=head)}
    for name, net in (nets | {"int8": long}).items():
        to_c(net, tmp_path / f"{name}.h", weights="int8" if name == "int8" else "float32")
        (tmp_path / f"{name}.x").write_bytes(np.full(net.I, 0.7, np.float32).tobytes())
    build(tmp_path, nets | {"int8": long}, "gcc", ["-O2", *flags, *C99])
    run([tmp_path / "program"], tmp_path)
    product = float(weights.W_ih[0, 0]) * float(np.float32(0.7)) * I
    p = np.exp(b.astype(np.float64))
    for name, want in {"long": [product], "int8": [product], "soft": p / p.sum()}.items():
        np.testing.assert_allclose(np.fromfile(tmp_path / f"{name}.y", np.float32), want, rtol=6e-6, err_msg=name)


def test_step_calls_nothing_but_memcpy_and_memset(tmp_path):
    net = Network((layer("LSTM", 3, 16, initial=True), layer("GRU", 16, 9)), head=random_head(5, 9, softmax=True))
    to_c(net, tmp_path / "net.h")
    (tmp_path / "unit.c").write_text(
        '#include "net.h"\nvoid step(net_state *s, float *x, float *y) { net_reset(s); net_step(s, x, y); }\n'
    )
    run(["gcc", *C99, "-O2", "-march=native", "-c", "unit.c"], tmp_path)
    called = subprocess.run(["nm", "-u", "unit.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert {*called.split()} <= {"U", "memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}


@pytest.mark.parametrize(
    ("symbols", "kind", "written"),
    [
        (["a", "é", '"', "\\", "?", "\n", "7"], "characters", None),
        (["net_step", "x" * 50, "??/", "日本"], "symbols", ["net_step", "x" * 50, "??/", "日本", "EOS", "UNK"]),
        (["c3", "a9", "41"], "bytes", [b"\xc3", b"\xa9", b"A", b"", "\N{REPLACEMENT CHARACTER}".encode()]),
        (["Ġso", "Ã"], "bpe", [b" so", b"\xc3", b"", "\N{REPLACEMENT CHARACTER}".encode()]),
        (["rose", "\n"], "words", ["rose", "\n", "", "\N{REPLACEMENT CHARACTER}"]),
        (["so", "￭,", "(￭"], "words-and-marks", ["so", "￭,", "(￭", "", "\N{REPLACEMENT CHARACTER}"]),
        (["\0", "0", "a"], "characters", None),
        (["00", "30"], "bytes", [b"\0", b"0", b"", "\N{REPLACEMENT CHARACTER}".encode()]),
    ],
)
def test_table_says_what_each_symbol_writes(symbols, kind, written, tmp_path):
    written = written or [*symbols, "", "\N{REPLACEMENT CHARACTER}"]
    vocabulary = Vocabulary(symbols, kind)
    V = len(vocabulary)
    start = np.log(np.full(V, 1 / V, np.float32))
    net = Network((layer("GRU", V, 4),), one_hot=True, head=random_head(V, 4), text=TextPart(vocabulary, False, start))
    to_c(net, tmp_path / "poet.h")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "poet.h"\nint main(void) {\n  int k;\n'
        '  for (k = 0; k < poet_inputs; k++) {\n    printf("%.9g %d ", poet_start[k], poet_symbol_bytes[k]);\n'
        "    fwrite(poet_symbols[k], 1, poet_symbol_bytes[k], stdout);\n  }\n  return 0;\n}\n"
    )
    run(["gcc", *C99, "main.c", "-o", "main"], tmp_path)
    said = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout
    for each, log_probability in zip(written, start, strict=True):
        number, size, said = said.split(b" ", 2)
        assert np.isclose(float(number), log_probability)
        assert said[: int(size)] == (each if isinstance(each, bytes) else each.encode())
        said = said[int(size) :]
    assert said == b""


def nan_in_head():
    head = random_head(3, 5)
    head.W[1, 2] = np.nan
    return Network((layer("LSTM", 3, 5),), head=head)


@pytest.mark.parametrize(
    ("net", "options", "said"),
    [
        (Network((layer("GRU", 3, 5, 2),)), {}, "reverse direction of layer 0: it reads from the end"),
        (Network((layer("GRU", 3, 5),), head=random_head(3, 5, when="last")), {}, "no step knows that it is the last"),
        (nan_in_head(), {}, "head.weight: a number in it is not finite"),
        (Network((layer("GRU", 3, 5, dtype=np.float64),)), {"weights": "int8"}, "float64 weights in int8"),
        (Network((layer("GRU", 3, 5),)), {"name": "2nd"}, "'2nd' is no name in C"),
        (Network((layer("GRU", 3, 5),)), {"name": "ampère"}, "is no name in C"),
        (Network((layer("GRU", 3, 5),)), {"name": "a\n"}, "is no name in C"),
        (Network((layer("GRU", 3, 5),)), {"weights": "int4"}, "must be one of float32, int8"),
    ],
)
def test_what_no_header_holds_is_refused_before_anything_is_written(net, options, said, tmp_path):
    with pytest.raises(ValueError, match=re.escape(said)):
        to_c(net, tmp_path / "net.h", **options)
    assert list(tmp_path.iterdir()) == []


def test_names_in_a_header_begin_with_that_of_its_file(tmp_path):
    to_c(Network((layer("GRU", 3, 5),)), tmp_path / "my-amp.h")
    assert "my_amp_step(my_amp_state *s, const float *x, float *y)" in (tmp_path / "my-amp.h").read_text()
    assert "net_" not in (tmp_path / "my-amp.h").read_text().replace("my_amp_", "")


def test_headers_whose_names_differ_in_case_alone_stand_in_one_file(tmp_path):
    names = ["mix", "Mix", "MIX"]
    for n, name in enumerate(names, 1):
        to_c(Network((layer("GRU", 3, n),)), tmp_path / name / f"{name}.h")
    text = "".join(f'#include "{name}/{name}.h"\n' for name in names)
    widths = " ".join(f"char {name}_has[sizeof({name}_state) ? 1 : -1];" for name in names)
    (tmp_path / "all.c").write_text(text + widths)
    done = subprocess.run(["gcc", "-std=c99", "-fsyntax-only", "all.c"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_folder_and_module_give_the_header_of_their_network(tmp_path):
    module = torch.nn.Sequential(torch.nn.Embedding(7, 4), torch.nn.GRU(4, 6), torch.nn.Linear(6, 7))
    save_network(tmp_path / "model", network_of(module))
    for name, source in {"a": module, "b": tmp_path / "model", "c": network_of(module)}.items():
        to_c(source, tmp_path / f"{name}.h", name="net")
    assert (tmp_path / "a.h").read_text() == (tmp_path / "b.h").read_text() == (tmp_path / "c.h").read_text()


def test_weights_are_kept_as_the_network_is_saved(tmp_path):
    net = Network((layer("LSTM", 3, 16),), head=random_head(2, 16))
    for saved, written in {"float32": "float32", "bfloat16": "float32", "int8": "int8"}.items():
        save_network(tmp_path / saved, narrowed(net, saved))
        to_c(tmp_path / saved, tmp_path / "saved.h", name="net")
        to_c(narrowed(net, saved), tmp_path / "told.h", name="net", weights=written)
        assert (tmp_path / "saved.h").read_text() == (tmp_path / "told.h").read_text()
    to_c(tmp_path / "int8", tmp_path / "wide.h", weights="float32")
    assert "int8" not in (tmp_path / "wide.h").read_text()


def error(file, y):
    return np.abs(np.fromfile(file, y.dtype).reshape(y.shape) - y).max()


def build(folder, headers, compiler, flags):
    """Compile a program that steps the network of each header, {name: network}."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} to compile the header with")
    real = {name: "double" if net.dtype == np.float64 else "float" for name, net in headers.items()}
    source = [f"#define {name.upper()}_PLAIN" for name in headers if "-DPLAIN" in flags]
    source += [f'#include "{name}.h"' for name in headers] + ['#include "drive_headers.h"']
    source += [f"{'SYMBOLS' if net.reads_symbols else 'VECTORS'}({n}, {real[n]})" for n, net in headers.items()]
    source += ["int main(void) {", *(f"  drive_{name}();" for name in headers), "  return 0;", "}", ""]
    (folder / "main.c").write_text("\n".join(source))
    run([compiler, *flags, "-I", HERE, "main.c", "-o", "program"], folder)


def emulator(compiler):
    if not compiler.startswith("aarch64"):
        return []
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    return [found] if found else pytest.skip("the header compiles for ARM; there is no qemu-aarch64 to run it")


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[:5000]


@pytest.mark.parametrize("name", ["2026-11-27", "_x", "\u00e9"])
def test_file_may_be_called_as_nothing_in_c_is(name, tmp_path):
    to_c(Network((layer("GRU", 3, 5),)), tmp_path / f"{name}.h")
    assert re.search(r"\bmodel_\w+_step\(", (tmp_path / f"{name}.h").read_text())
