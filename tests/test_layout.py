"""The one-way order of the house: no import and no #include points upward."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC, PACKAGE = ROOT / "csrc", ROOT / "src" / "unrolled"

#: The packages from the lowest to the highest: a part imports only what stands in an earlier row.
ORDER = [
    ["extras"],
    ["__init__"],
    ["notation", "words", "textbook"],
    ["config"],
    ["core"],
    ["saved"],
    ["corpus", "runtime", "nn", "webpage"],
    ["formats"],
    ["export", "imports"],
    ["lm"],
    ["languages", "views"],
    ["lab"],
    ["commands"],
    ["cli"],
    ["__main__"],
]
HEIGHT = {part: height for height, parts in enumerate(ORDER) for part in parts}

#: Formats that are torch's own, or what its exporter calls.
TORCH_FORMATS = ("formats/torch.py", "formats/pt2.py", "formats/onnx_translation.py")

#: Modules that only some files may import: the core, and what an extra brings.
KEPT_TO = {
    "rich.console": ("commands/console.py", "lm/display.py"),
    "torch": (
        "nn/",
        "lm/",
        "views/",
        "lab/",
        "commands/",
        "formats/torch.py",
        "formats/pt2.py",
        "formats/onnx_translation.py",
    ),
    "onnx": ("formats/onnx",),
    "onnxscript": ("formats/onnx_translation.py",),
    "unrolled._core": ("core/__init__.py", "__init__.py"),
    "unrolled.core._core": ("core/", "nn/fused.py"),
    "matplotlib": ("views/plots",),
    "starlette": ("views/page/",),
    "uvicorn": ("commands/serve.py", "views/page/connections.py"),
    "anyio": ("views/page/",),
    "torch.utils.tensorboard": ("lm/callbacks.py",),
    "pandas": ("views/traces.py",),
    "h5py": ("formats/hdf5.py",),
    "huggingface_hub": ("formats/hub.py",),
    "optuna": ("lm/sweep.py",),
    "pyarrow": ("corpus/parquet.py",),
}

#: The order of csrc: a file includes only files of a lower rank.
RANKS = [
    ["simd/partial.h", "simd/partial_bfloat16.h", "bfloat16.h", "team.h", "division.h", "denormals.h"],
    ["simd/vector.h", "simd/baseline.h", "simd/neon.h", "simd/avx2.h", "simd/avx512.h", "kernels.h"],
    [
        "simd/bfloat16.h",
        "simd/avx512_bf16.h",
        "simd/neon_bf16.h",
        "simd/int8.h",
        "simd/int8_avx2.h",
        "simd/int8_vnni.h",
        "simd/int8_neon.h",
    ],
    ["simd/lanes.h"],
    ["math-inl.h", "simd/storage.h", "simd/transpose.h"],
    ["gemm-inl.h"],
    ["panels-inl.h"],
    ["row-sums-inl.h"],
    ["cell-inl.h"],
    ["rnn-inl.h", "lstm-inl.h", "gru-inl.h"],
    ["arena-inl.h", "division-inl.h"],
    ["timeline-inl.h"],
    ["plan-inl.h"],
    ["forward-inl.h", "backward-plan-inl.h"],
    ["backward-inl.h"],
    ["gradient-inl.h", "head-inl.h"],
    ["step-inl.h", "int8-inl.h", "elementwise-inl.h"],
    ["target-inl.h"],
    [
        "target_baseline.cpp",
        "target_neon.cpp",
        "target_neon_bf16.cpp",
        "target_avx2.cpp",
        "target_avx2_vnni.cpp",
        "target_avx512.cpp",
        "target_avx512_vnni.cpp",
        "target_avx512_bf16.cpp",
    ],
    [
        "dispatch.h",
        "instruction_sets.h",
        "sampler.h",
        "threads.h",
        "places.h",
        "waiting.h",
        "fields.h",
        "workspace.h",
        "numbers.h",
        "dlpack/dlpack.h",
    ],
    ["openmp.h", "arrays.h", "leased_array.h", "stack.h"],
    ["array_view.h"],
    ["crew.h", "barrier.h"],
    [
        "dispatch.cpp",
        "instruction_sets.cpp",
        "kernel_set.cpp",
        "threads.cpp",
        "quota.cpp",
        "division.cpp",
        "workspace.cpp",
        "sampler.cpp",
        "request.h",
        "tensors.h",
    ],
    ["layer_call.h", "step.h", "number_types.h", "numpy_array.h"],
    ["stepper.h", "elementwise.h", "json.h", "sha256.h"],
    ["stepper_arrays.h", "saved_network.h", "whole_file.h", "json.cpp", "sha256.cpp"],
    ["saved_network.cpp"],
    ["c_interface.cpp"],
    ["bindings.cpp"],
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
TARGETS = RANK["target_baseline.cpp"]
#: All that a kernel unit may have of the system: no inline function of the standard library (docs/kernels.md, "ODR").
PLAIN_HEADERS = {"cstddef", "cstdint", "cpuid.h", "immintrin.h", "arm_neon.h", "sys/auxv.h", "sys/sysctl.h"}
BORDER_HEADERS = re.compile(r"nanobind/.*")
BORDER = ("bindings.cpp", "arrays.h", "array_view.h")


def imported(source):
    """Names of the modules that a file imports, at the top or inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write absolute imports: unrolled.nn.dispatch, not .ops"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def upward_imports(files):
    """Sentences on what is wrong in {path inside the package: source}."""
    for path, source in files.items():
        part = path.split("/")[0].removesuffix(".py")
        if part not in HEIGHT:
            yield f"{path}: a new part of the package; give it a row in ORDER"
            continue
        for module in dict.fromkeys(imported(source)):
            for kept, homes in KEPT_TO.items():
                if (module == kept or module.startswith(kept + ".")) and not path.startswith(homes):
                    yield f"{path} imports {module}, which is kept to {', '.join(homes)}"
            top, *rest = module.split(".")
            target = rest[0] if rest else "__init__"
            if top == "unrolled" and target != part and HEIGHT.get(target, -1) >= HEIGHT[part]:
                yield f"{path} imports unrolled.{target}, which is not below it"


def circles(files):
    """Groups of files that import each other, directly or around, from {path inside the package: source}."""
    modules = {"unrolled." + path.removesuffix(".py").replace("/", "."): path for path in files}
    modules |= {name.removesuffix(".__init__"): path for name, path in modules.items()}
    edges = {
        path: {modules.get(m, modules.get(m.rpartition(".")[0])) for m in imported(source)} - {None, path}
        for path, source in files.items()
    }
    reached = {path: reachable(edges, path) for path in edges}
    return sorted({tuple(sorted(p for p in reached[path] if path in reached[p])) for path in edges} - {()})


def reachable(edges, start):
    """Every file that a file imports, directly or through others."""
    found, waiting = set(), [start]
    while waiting:
        for path in edges[waiting.pop()] - found:
            found.add(path)
            waiting.append(path)
    return found


def included(source):
    """(quoted, name) of every #include; UNROLLED_SIMD and UNROLLED_BFLOAT16 stand where target-inl.h has them."""
    for line in re.findall(r'^\s*#\s*include\s+([<"].+?[>"])', source, re.MULTILINE):
        yield line[0] == '"', line[1:-1]


def upward_includes(files):
    """Sentences on what is wrong in {path inside csrc: source}."""
    for path, source in files.items():
        if path not in RANK:
            yield f"{path}: a new file; give it a rank"
            continue
        before = -1
        for quoted, name in included(source):
            if not quoted:
                if BORDER_HEADERS.fullmatch(name) and path not in BORDER:
                    yield f"{path} includes <{name}>: only {' and '.join(BORDER)} know nanobind"
                elif RANK[path] <= TARGETS and name not in PLAIN_HEADERS:
                    yield f"{path} includes <{name}>: kernel units have no standard library"
                continue
            rank = RANK.get(name, RANK.get(f"{path.rpartition('/')[0]}/{name}"))
            if rank is None:
                yield f"{path} includes {name}, which is not in csrc"
            elif rank >= RANK[path]:
                yield f"{path} includes {name}, which is not below it"
            elif path == "target-inl.h" and rank < before:
                yield f"{path} includes {name} after a file that is above it"
            else:
                before = rank


def python_files():
    return {str(p.relative_to(PACKAGE)): p.read_text() for p in sorted(PACKAGE.rglob("*.py"))}


def cpp_files():
    return {str(p.relative_to(CSRC)): p.read_text() for p in sorted(CSRC.rglob("*")) if p.suffix in (".h", ".cpp")}


def test_python_imports_point_one_way():
    assert list(upward_imports(python_files())) == []


def test_no_files_import_each_other():
    assert circles(python_files()) == []


def defined_twice(files):
    """Names of classes that stand in more than one file, from {path inside the package: source}."""
    homes = {}
    for path, source in files.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(path)
    return {name: paths for name, paths in homes.items() if len(paths) > 1}


#: Functions of torch that make a tensor on the caller's default device, unless they are told where.
MAKERS = {
    "arange",
    "empty",
    "eye",
    "full",
    "linspace",
    "ones",
    "rand",
    "randint",
    "randn",
    "randperm",
    "tensor",
    "zeros",
}
#: Where parameters and buffers are made, which that device is for.
OF_MODULES = {"lm/model.py"}


def on_the_default_device(source):
    """The lines of calls that make a tensor wherever the caller's default device is."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) == "torch"
        and call.func.attr in MAKERS
        and "device" not in {keyword.arg for keyword in call.keywords}
    ]


def test_no_tensor_is_made_where_the_default_device_of_the_caller_decides():
    files = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
    found = {name: on_the_default_device(path.read_text(encoding="utf-8")) for name, path in files.items()}
    assert {name: lines for name, lines in found.items() if lines and name not in OF_MODULES} == {}
    assert on_the_default_device("x = torch.zeros(3)\ny = torch.zeros(3, device=x.device)") == [1]


def test_no_class_name_is_defined_twice():
    same_equations = {cell: ["nn/layers.py", "textbook.py"] for cell in ("RNN", "LSTM", "GRU")}
    assert defined_twice(python_files()) == same_equations


def test_class_name_that_is_defined_twice_is_seen():
    files = {
        "nn/layout.py": "class Layout: ...",
        "nn/fused.py": "class Layout: ...\nclass _Own: ...",
        "lm/run.py": "class _Own: ...",
    }
    assert defined_twice(files) == {"Layout": ["nn/layout.py", "nn/fused.py"]}


def test_circle_is_seen():
    files = {
        "lm/model.py": "from unrolled.lm.run import Run",
        "lm/run.py": "def f():\n    from unrolled.lm import training",
        "lm/training.py": "from unrolled.lm.model import SequenceModel",
        "lm/display.py": "from unrolled.lm import model",
    }
    assert circles(files) == [("lm/model.py", "lm/run.py", "lm/training.py")]


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import unrolled.config.run, unrolled.config.lab, unrolled.config.server", {"torch", "numpy"}),
        ("import unrolled.runtime.model", {"torch", "unrolled.nn"}),
        ("from unrolled.cli import app; app.resolved_commands()", {"torch", "numpy"}),  # what --help imports
    ],
    ids=["config", "runtime", "commands"],
)
def test_import_leaves_heavy_modules_out(code, unwanted):
    code = f"{code}; import sys; print({unwanted} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_cpp_includes_point_one_way():
    assert list(upward_includes(cpp_files())) == []


@pytest.mark.parametrize(
    ("path", "source", "said"),
    [
        ("notation.py", "from unrolled.nn import dispatch", "not below"),
        ("config/lab.py", "from unrolled.lab import nets", "not below"),
        ("nn/dispatch.py", "def f():\n    import unrolled.lm.model", "not below"),
        ("nn/stepper.py", "from unrolled.runtime import model", "not below"),
        ("runtime/model.py", "from unrolled import nn", "not below"),
        ("runtime/model.py", "from unrolled.lm import model", "not below"),
        ("corpus/batching.py", "from unrolled.runtime.generation import Ids", "not below"),
        ("lm/model.py", "from unrolled.views.trace import x", "not below"),
        ("languages/judging.py", "from unrolled.lab.training import train", "not below"),
        ("views/plots.py", "import unrolled.languages", "not below"),
        ("nn/layers.py", "from unrolled import _core", "kept to"),
        ("nn/layers.py", "from unrolled.core import _core", "kept to"),
        ("views/report.py", "import matplotlib.pyplot as plt", "kept to"),
        ("runtime/model.py", "import torch", "kept to"),
        ("cli.py", "from torch import nn", "kept to"),
        ("commands/train.py", "from rich.console import Console", "kept to"),
        ("views/report.py", "import anyio", "kept to"),
        ("extra.py", "", "new part"),
    ],
)
def test_upward_import_is_seen(path, source, said):
    assert said in " ".join(upward_imports({path: source}))


@pytest.mark.parametrize(
    ("path", "source", "said"),
    [
        ("math-inl.h", '#include "gemm-inl.h"', "not below"),
        ("kernels.h", '#include "dispatch.h"', "not below"),
        ("gemm-inl.h", "#include <vector>", "no standard library"),
        ("target_avx2.cpp", "  #  include <algorithm>", "no standard library"),
        ("dispatch.cpp", "#include <nanobind/nanobind.h>", "only bindings.cpp and arrays.h"),
        ("target-inl.h", '#include "gemm-inl.h"\n#include "math-inl.h"', "after a file"),
        ("new-inl.h", "", "new file"),
    ],
)
def test_upward_include_is_seen(path, source, said):
    assert said in " ".join(upward_includes({path: source}))
