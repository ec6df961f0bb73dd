"""Numbers and names that documented functions take: each is checked, and the error says which argument is wrong.

The functions are those of docs/reference; each has a call here whose arguments are replaced one by one, or a reason.
An error must come from a `raise` of this package, not from what the value met further in.
"""

import fnmatch
import importlib
import inspect
import math
import re
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from unrolled import corpus as corpora
from unrolled import languages, nn, runtime
from unrolled.corpus import baselines
from unrolled.export import to_c, to_equinox, to_flax, to_html, to_hub, to_keras, to_nam
from unrolled.imports import from_equinox, from_flax, from_keras, from_torch
from unrolled.lab import golden
from unrolled.lab.predictors import ModelPredictor
from unrolled.languages import metrics
from unrolled.lm import Corpus, ModelConfig, SequenceModel, TrainingConfig, Vocabulary, evaluate, recipe_for
from unrolled.saved import narrow
from unrolled.views import explain, gradients, jacobians, plots_diagrams, saturation, states, training_gradients
from unrolled.views.traces import trace
from unrolled.views.units import ranked

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\b(int|float)\b")
NAME = re.compile(r"(str|'?Literal\[.*\]|StoredWeights|RuntimeWeights|When|Kind)( \| None)?")

#: What is neither of the two kinds, whatever it is asked for; what is no whole number; and what is too large for one.
NO_NUMBERS = ["x", math.nan, [1], object(), -(2**70)]
NO_WHOLE = [1.5, 2**70]
NO_NAMES = [5, b"x", [], ["x"], object()]

#: Documented, and not called below: patterns of names, and why.
LEFT = {
    "unrolled.nn.*STM": "torch's constructor, with its messages (tests/nn/test_published.py)",
    "unrolled.nn.GRU": "torch's constructor, with its messages (tests/nn/test_published.py)",
    "unrolled.nn.RNN": "torch's constructor, with its messages (tests/nn/test_published.py)",
    "unrolled.nn.*Cell*": "torch's constructor, with its messages (tests/nn/test_published.py)",
    "unrolled.nn.RecurrentLayer.dropout_function": "torch's own",
    "unrolled.nn.Recurrent": "a result",
    "unrolled.nn.Backend": "a result",
    "unrolled.languages.Language.*": "asked for every symbol; sample, scan and evaluate check what they ask it for",
    "unrolled.languages.Lengths.probability": "0 for what it does not hold",
    "unrolled.languages.Task.answer_length": "asked for every string",
    "unrolled.languages.metrics.FirstFailing": "a result",
    "unrolled.languages.metrics.StringEvaluation": "a result",
    "unrolled.lab.predictors.ModelPredictor.start": "called by the laboratory",
    "unrolled.lm.SequenceModel.loss": "torch names the reductions",
    "unrolled.lm.SequenceModel.warn_of_more": "called by what reads a model's weights",
    "unrolled.lm.SequenceModel.from_pretrained": "options of huggingface_hub",
    "unrolled.lm.SequenceModel.push_to_hub": "options of huggingface_hub",
    "unrolled.export.push_to_hub": "options of huggingface_hub",
    "unrolled.lm.evaluation.Evaluation": "a result",
    "unrolled.runtime.scoring.Score": "a result",
    "unrolled.corpus.Corpus": "a result",
    "unrolled.runtime.TextModel.write": "called by the loop of generation",
    "unrolled.lm.Vocabulary.pieces": "ids, checked one by one (below)",
    "unrolled.lm.Vocabulary.from_json": "the text of a file",
    "unrolled.textbook.*": "to be read beside the chapter: equations in NumPy, and nothing around them",
    "unrolled.views.traces.TextTrace": "a result",
    "unrolled.views.traces.LayerTrace": "a result",
    "unrolled.views.traces.TextTrace.expect_all_steps": "a word for a message",
    "unrolled.views.traces.TextTrace.columns": "names, checked by values",
    "unrolled.views.traces.TextTrace.table": "names, checked by values",
    "unrolled.views.plots*.*": "titles, and arrays of other functions",
}


@cache
def model() -> SequenceModel:
    return SequenceModel(ModelConfig(cell="lstm", hidden_size=4), Vocabulary("ab", "characters"))


@cache
def stream() -> Corpus:
    return Corpus.from_text("abab" * 400)


class Call(NamedTuple):
    """A function, and arguments that it takes."""

    function: Callable[..., Any]
    given: dict[str, Any]


def calls(folder: Path) -> dict[str, Call]:
    """Return a call of each documented function that takes a number or a name."""
    network, text = model().network(), "abab"
    read, rows, random = trace(model(), text), np.eye(3), np.random.default_rng(0)
    anbn, lengths = languages.get("anbn"), languages.Lengths("uniform:1-3")
    predictor = ModelPredictor(SequenceModel(ModelConfig(cell="lstm", hidden_size=4), Vocabulary("ab")))
    lstm = nn.LSTM(3, 4)
    plugin = torch.nn.Sequential(nn.LSTM(1, 4), torch.nn.Linear(4, 1))
    told = {"kind": "LSTM", "embedding": None, "head": None, "when": "each"}
    arrays = {
        write: folder / f"model.{end}"
        for write, end in ((to_flax, "npz"), (to_equinox, "eqx"), (to_keras, "weights.h5"))
    }
    for write, path in arrays.items():
        write(nn.LSTM(3, 4), path)
    weights = folder / "weights.pt"
    torch.save(torch.nn.LSTM(3, 4).state_dict(), weights)
    loaded, saved = runtime.load(network), folder / "saved"
    model().save_pretrained(saved)
    short = TrainingConfig(max_steps=1, batch_size=2, bptt=4)

    def on(function: Callable[..., Any], *first: Any, **fixed: Any) -> Callable[..., Any]:
        return lambda **given: function(*first, **fixed, **given)

    views, lm, lang = "unrolled.views.", "unrolled.lm.", "unrolled.languages."
    return {
        "unrolled.export.to_c": Call(on(to_c, network, folder / "m.h"), {"weights": "float32", "name": "m"}),
        "unrolled.export.to_html": Call(on(to_html, network, folder / "m.html"), {"weights": "int8", "name": "m"}),
        "unrolled.export.to_hub": Call(on(to_hub, network, folder / "hub", overwrite=True), {"license": "mit"}),
        "unrolled.export.to_nam": Call(on(to_nam, plugin, folder / "m.nam"), {"sample_rate": 48_000.0}),
        "unrolled.imports.from_equinox": Call(
            on(from_equinox, arrays[to_equinox]), {name: value for name, value in told.items() if name != "kind"}
        ),
        "unrolled.imports.from_flax": Call(on(from_flax, arrays[to_flax]), told),
        "unrolled.imports.from_keras": Call(on(from_keras, arrays[to_keras]), told),
        "unrolled.imports.from_torch": Call(on(from_torch, weights), told),
        "unrolled.saved.narrow.narrowed": Call(on(narrow.narrowed, network), {"weights": "int8"}),
        "unrolled.corpus.prepare": Call(
            lambda **given: corpora.prepare(iter([["a", "b"]] * 99), folder / "prepared", **given), {"processes": 1}
        ),
        "unrolled.corpus.Corpus.unk_rate": Call(stream().unk_rate, {"split": "test"}),
        "unrolled.corpus.baselines.table": Call(on(baselines.table, stream()), {"split": "test"}),
        "unrolled.release_memory": Call(lambda: None, {}),
        lang + "get": Call(languages.get, {"name": "anbn"}),
        lang + "task": Call(languages.task, {"name": "copy"}),
        lang + "Lengths": Call(languages.Lengths, {"text": "uniform:1-5"}),
        lang + "Task.sample": Call(on(languages.task("copy").sample, random), {"size": 3}),
        lang + "self_check": Call(on(languages.self_check, anbn), {"up_to": 4, "most": 9, "seed": 0}),
        lang + "metrics.evaluate": Call(on(metrics.evaluate, predictor, anbn, lengths), {"strings": 9, "seed": 0}),
        lang + "metrics.first_failing": Call(
            on(metrics.first_failing, predictor, anbn),
            {"limit": 9, "criterion": "sets", "scan_to": 5, "strings": 1, "seed": 0},
        ),
        lang + "metrics.kth_failing": Call(on(metrics.kth_failing, np.ones((1, 3)), [1, 2, 3]), {"k": 1}),
        lang + "metrics.scan": Call(
            on(metrics.scan, predictor, anbn, [1, 2]), {"criterion": "sets", "strings": 1, "seed": 0}
        ),
        "unrolled.lab.golden.golden": Call(golden.golden, {"language": "anbn", "cell": "lstm"}),
        lm + "SequenceModel.initial_state": Call(model().initial_state, {"B": 2}),
        lm + "SequenceModel.generate": Call(on(model().generate, "a", max_length=2), {"count": 2}),
        lm + "evaluate": Call(on(evaluate, SequenceModel(ModelConfig(hidden_size=3), stream().vocabulary), stream()),
                              {"split": "test", "max_symbols": 10, "max_seconds": 1.0}),
        lm + "recipe_for": Call(on(recipe_for, stream(), max_steps=1), {"memory": "2GB"}),
        lm + "Vocabulary": Call(on(Vocabulary, "ab"), {"kind": "symbols"}),
        lm + "Vocabulary.build": Call(on(Vocabulary.build, text), {"kind": "characters", "min_count": 1, "size": 9}),
        "unrolled.nn.RecurrentLayer.gate": Call(lstm.gate, {"name": "W_if", "layer": 0}),
        "unrolled.nn.RecurrentLayer.gate_grad": Call(lstm.gate_grad, {"name": "W_if", "layer": 0}),
        "unrolled.nn.Stepper": Call(on(nn.Stepper, lstm), {"batch_size": 1}),
        "unrolled.nn.explain_swap": Call(on(nn.explain_swap, torch.nn.LSTM(2, 3)), {"to": "unrolled"}),
        "unrolled.nn.swap": Call(on(nn.swap, torch.nn.Sequential(torch.nn.LSTM(2, 3))), {"to": "unrolled"}),
        "unrolled.nn.init_": Call(on(nn.init_, nn.LSTM(2, 3)), {"recurrent": "identity", "forget_bias": 1.0}),
        "unrolled.nn.save": Call(on(nn.save, lstm, folder / "layer", overwrite=True), {"head": "each"}),
        "unrolled.nn.network_of": Call(on(nn.network_of, lstm), {"head": "each"}),
        "unrolled.nn.NetworkModule": Call(on(nn.NetworkModule, network), {"layers": "torch"}),
        "unrolled.runtime.load": Call(on(runtime.load, network), {"weights": "stored"}),
        "unrolled.runtime.RuntimeModel": Call(on(runtime.RuntimeModel, network), {"weights": "stored"}),
        "unrolled.runtime.RuntimeModel.load": Call(on(runtime.RuntimeModel.load, saved), {"weights": "stored"}),
        "unrolled.runtime.TextModel": Call(on(runtime.TextModel, network), {"weights": "stored"}),
        "unrolled.runtime.TextModel.load": Call(on(runtime.TextModel.load, saved), {"weights": "stored"}),
        "unrolled.runtime.RuntimeModel.initial": Call(loaded.initial, {"B": 2}),
        "unrolled.runtime.RuntimeModel.streams": Call(loaded.streams, {"count": 2}),
        "unrolled.runtime.TextModel.generate": Call(on(loaded.generate, "a", max_length=2), {"count": 2}),
        "unrolled.runtime.Streams.add": Call(loaded.streams(2).add, {"more": 1}),
        views + "traces.trace": Call(on(trace, model(), text), {"at_most": 9}),
        views + "traces.TextTrace.values": Call(read.values, {"name": "f", "layer": 0}),
        views + "traces.TextTrace.likeliest": Call(read.likeliest, {"count": 2}),
        views + "traces.TextTrace.best": Call(read.best, {"count": 2}),
        views + "units.ranked": Call(on(ranked, read), {"of": "position"}),
        views + "gradients.gradients": Call(
            on(gradients.gradients, model(), text), {"position": 1, "symbol": "a", "at_most": 9}
        ),
        views + "gradients.saliency": Call(
            on(gradients.saliency, model(), text), {"position": 1, "symbol": "a", "at_most": 9}
        ),
        views + "jacobians.jacobians": Call(
            on(jacobians.jacobians, model(), text), {"layer": 0, "position": 1, "lags": 2}
        ),
        views + "training_gradients.LagGradients": Call(on(training_gradients.LagGradients, text), {"layer": 0}),
        views + "training_gradients.explosion": Call(
            on(training_gradients.explosion, stream(), training=short), {"gain": 1.2, "clip_norm": 1.0}
        ),
        views + "explain.explain": Call(on(explain.explain, model(), text), {"at_most": 9}),
        # Not in the reference, and of the same kind.
        views + "saturation.saturation": Call(on(saturation.saturation, read), {"layer": 0, "low": 0.1, "high": 0.9}),
        views + "states.principal": Call(on(states.principal, rows), {"count": 2}),
        views + "states.clusters": Call(on(states.clusters, rows), {"count": 2, "seed": 0}),
        views + "states.automaton": Call(on(states.automaton, [read]), {"count": 2, "layer": 0, "seed": 0}),
        views + "plots_diagrams.cell": Call(plots_diagrams.cell, {"name": "LSTM"}),
        views + "plots_diagrams.chain": Call(plots_diagrams.chain, {"name": "LSTM", "steps": 2}),
    }  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    return calls(tmp_path_factory.mktemp("arguments"))


def documented() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the functions of docs/reference, and the methods of its classes, by name."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for kind, path, options in re.findall(
            r"^\.\. auto(module|function|class):: (\S+)\n((?:   .*\n)*)", page.read_text(encoding="utf-8"), re.M
        ):
            found = looked_up(path)
            if kind != "module":
                yield from with_methods(path, found)
            elif ":no-members:" not in options:
                listed = re.search(r":members: (.+)", options)
                names = re.split(r",\s*", listed[1]) if listed else [*getattr(found, "__all__", ())]
                for name in names or [n for n, f in vars(found).items() if getattr(f, "__module__", 0) == path]:
                    if callable(getattr(found, name)):
                        yield from with_methods(f"{path}.{name}", getattr(found, name))


def looked_up(path: str) -> Any:
    """Return a module, or what has this path in one."""
    try:
        return importlib.import_module(path)
    except ImportError:
        of, _, name = path.rpartition(".")
        return getattr(looked_up(of), name)


def with_methods(path: str, found: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    yield path, found
    if inspect.isclass(found):
        for name in vars(found):
            if not name.startswith("_") and callable(method := getattr(found, name)):
                yield f"{path}.{name}", method


def kinds(function: Callable[..., Any]) -> dict[str, re.Pattern[str]]:
    """Return the arguments that are a number or a name."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = str(parameter.annotation).strip("'\"")
        if NAME.fullmatch(hint) and name not in ("title", "what"):
            found[name] = NAME
        elif NUMBER.search(hint) and "[" not in hint:
            found[name] = NUMBER
    return found


def test_every_documented_function_that_takes_a_number_or_a_name_has_a_call_here(table):
    missing = []
    for path, function in documented():
        if inspect.ismodule(function) or any(fnmatch.fnmatch(path, pattern) for pattern in LEFT):
            continue
        lacking = kinds(function).keys() - (table[path].given.keys() if path in table else ())
        if lacking:
            missing.append(f"{path}: {', '.join(sorted(lacking))}")
    assert not missing, "\n".join(missing)


def raised_here(error: BaseException) -> bool:
    """Return whether an error came from a `raise` of this package."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{ROOT / 'src'}" in last.filename and (last.line or "").startswith("raise")


def test_what_is_no_number_and_no_name_is_refused_by_the_name_of_the_argument(table):
    faults = []
    for path, call in table.items():
        for name, valid in call.given.items():
            odd = NO_NAMES if valid is None or isinstance(valid, str) else NO_NUMBERS
            for value in odd + (NO_WHOLE if isinstance(valid, int) else []):
                try:
                    call.function(**call.given | {name: value})
                except (ValueError, TypeError, LookupError) as error:
                    if not raised_here(error) or (name not in str(error) and "lengths" not in str(error)):
                        faults.append(f"{path}({name}={value!r}): {type(error).__name__}: {error}")
                else:
                    faults.append(f"{path}({name}={value!r}) is taken")
    assert not faults, "\n".join(faults)


def test_numbers_of_numpy_are_taken(table):
    for path, call in table.items():
        of_numpy = {n: np.float32(v) if isinstance(v, float) else np.int64(v) if isinstance(v, int) else v
                    for n, v in call.given.items()}  # fmt: skip
        if path != "unrolled.corpus.prepare":  # which writes no folder twice
            call.function(**of_numpy)


def test_several_texts_come_in_any_order_that_can_be_read_once_and_one_text_is_not_several():
    loaded, texts = runtime.load(model().network()), ["ab", "b"]
    of_list = loaded.score_each(texts)
    assert [score.pieces for score in loaded.score_each(iter(texts))] == [score.pieces for score in of_list]
    assert loaded.generate_each(iter(texts), max_length=3) == loaded.generate_each(texts, max_length=3)
    for function in (loaded.score_each, loaded.generate_each, loaded.vocabulary.encode_each, model().generate_each):
        with pytest.raises(ValueError, match=r"expected a list of texts, got one text; give \['ab'\]"):
            function("ab")


def test_a_text_of_symbols_is_a_list_of_them_not_what_ends_after_one_reading_or_has_no_order():
    loaded = runtime.load(model().network())
    for wrong in (iter("ab"), {"a", "b"}):
        for function in (loaded.vocabulary.encode, loaded.score, loaded.generate, model().generate, model().score):
            with pytest.raises(TypeError, match="expected a text or a list of symbols"):
                function(wrong)
    assert loaded.score(np.array(["a", "b"])).pieces == loaded.score(("a", "b")).pieces


def test_an_id_is_not_counted_from_the_end():
    with pytest.raises(ValueError, match="id -1 at position 0, expected 0 to 3"):
        list(model().vocabulary.pieces([-1]))
