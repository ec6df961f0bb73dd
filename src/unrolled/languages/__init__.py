"""Formal languages: generators, recognisers, next-symbol oracles, and metrics for models that learned them.

No torch here: :mod:`unrolled.lab.predictors` wraps torch models for the metrics.

>>> from unrolled.languages import Lengths, get
>>> import numpy as np
>>> language = get("anbn")
>>> "".join(language.sample(np.random.default_rng(0), Lengths("uniform:1-5")))
'aaaabbbb'
>>> sorted(language.legal(language.read("aab"))), language.recognises("aab")
(['b'], False)
"""

from unrolled.languages.judging import Predictor, judge
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.languages.metrics import blind_criteria, evaluate, first_failing, kth_failing, scan
from unrolled.languages.registry import get, names, register, register_task, task, task_names
from unrolled.languages.self_check import self_check
from unrolled.languages.tasks import Task

__all__ = [
    "Language",
    "Lengths",
    "Predictor",
    "Task",
    "blind_criteria",
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
