"""Formal languages: draw their strings, recognise them, know every legal next symbol, and measure a net against that.

>>> from unrolled.languages import Lengths, get
>>> import numpy as np
>>> language = get("anbn")
>>> "".join(language.sample(np.random.default_rng(0), Lengths("uniform:1-5")))
'aaaabbbb'
>>> sorted(language.legal(language.read("aab"))), language.recognises("aab")
(['b'], False)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.lazy import attributes

if TYPE_CHECKING:
    from unrolled.languages.checks import self_check
    from unrolled.languages.judging import ModelPredictor, Predictor, judge
    from unrolled.languages.language import Language
    from unrolled.languages.lengths import Lengths
    from unrolled.languages.metrics import evaluate, first_failing, kth_failing, scan
    from unrolled.languages.registry import get, names, register, register_task, task, task_names
    from unrolled.languages.tasks import Task

__all__ = [
    "Language",
    "Lengths",
    "ModelPredictor",
    "Predictor",
    "Task",
    "evaluate",
    "first_failing",
    "get",
    "judge",
    "kth_failing",
    "names",
    "register",
    "register_task",
    "scan",
    "self_check",
    "task",
    "task_names",
]

#: Where each public name lives.
_HOMES = {
    "Language": "language",
    "Lengths": "lengths",
    "ModelPredictor": "judging",
    "Predictor": "judging",
    "Task": "tasks",
    "evaluate": "metrics",
    "first_failing": "metrics",
    "get": "registry",
    "judge": "judging",
    "kth_failing": "metrics",
    "names": "registry",
    "register": "registry",
    "register_task": "registry",
    "scan": "metrics",
    "self_check": "checks",
    "task": "registry",
    "task_names": "registry",
}

__getattr__ = attributes(__name__, _HOMES)
