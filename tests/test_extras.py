"""What a caller reads where an extra is missing, and what `import unrolled` alone gives."""

import subprocess
import sys

import pytest

from unrolled.extras import EXTRAS

#: Python without a module: the finder of installed modules does not find it.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == {hidden!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
try:
    {code}
except ImportError as error:
    print(type(error).__name__, error.name, error)
"""


def without(hidden, code):
    command = [sys.executable, "-c", WITHOUT.format(hidden=hidden, code=code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("hidden", "code", "extra"),
    [
        ("torch", "import unrolled.nn", "torch"),
        ("torch", "from unrolled import lm", "torch"),
        ("torch", "import unrolled; unrolled.nn", "torch"),
        ("torch", "import unrolled.lab.training", "torch"),
        ("torch", "import unrolled.views.traces", "torch"),
        ("matplotlib", "import unrolled.views.plots", "plot"),
        ("starlette", "import unrolled.views.page.app", "web"),
        ("anyio", "import unrolled.views.page.requests", "web"),
    ],
)
def test_import_that_misses_an_extra_says_which(hidden, code, extra):
    said = f"ModuleNotFoundError {hidden} {hidden} is not installed; pip install 'unrolled[{extra}]'"
    assert without(hidden, code) == said


def test_name_of_a_model_that_is_no_folder_says_what_the_hub_needs():
    said = without("huggingface_hub", "from unrolled.lm import SequenceModel; SequenceModel.from_pretrained('runs/x')")
    missing = "huggingface_hub is not installed; pip install 'unrolled[hub]'"
    assert said == f"ModuleNotFoundError huggingface_hub runs/x: is no folder here, and {missing}"


def test_imports_of_others_fail_as_ever():
    assert without("torch", "import unrolled, torch") == "ModuleNotFoundError torch No module named 'torch'"
    looks = "import unrolled, importlib.util; print(importlib.util.find_spec('torch'))"
    assert without("torch", looks) == "None"


@pytest.mark.parametrize("hidden", ["torch", "tensorboard"])
def test_info_without_an_extra_shows_the_whole_table(hidden):
    shown = without(hidden, "from unrolled.commands.info import info; info()")
    assert f"{hidden} is not installed" in shown
    assert all(f"[{extra}]" in shown for extra in EXTRAS), shown


def test_packages_are_attributes_and_load_when_asked_for():
    code = """
import sys, unrolled
print({"torch", "numpy"} & {*sys.modules}, "nn" in dir(unrolled))
print(unrolled.nn.GRU(4, 6), unrolled.runtime.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set() True\nGRU(4, 6) unrolled.runtime\n"


def test_attribute_that_is_not_there_is_named():
    import unrolled

    with pytest.raises(AttributeError, match="module 'unrolled' has no attribute 'np'"):
        unrolled.np
