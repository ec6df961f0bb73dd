"""The runtime without torch: steps, smaller weights, streams, threads, whole sequences, scores of many texts, loading.

    python bench/runtime.py            about four minutes
    python bench/runtime.py --quick

Steps are calls from Python that carry their state from one to the next, B = 1, I = H, one thread: those of the model's
own stream, of ONNX Runtime with a graph of one operator, and of torch's cell; once one after the other, and once each
after a pause, as a service with time between its requests sees them.

In "threads" one thread and then two at once step streams of their own: many rows from Python, one row in the C library.
"""

from __future__ import annotations

import ctypes
import math
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adapters import onnx_session
from harness import ROOT, TOLERANCE, Report, duration, interleave, parser, same

import unrolled.nn
from unrolled import runtime
from unrolled.core.sampling import log_softmax
from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
from unrolled.nn.network import network_of
from unrolled.runtime import RuntimeModel, TextModel
from unrolled.saved.narrow import narrowed
from unrolled.saved.network import Network
from unrolled.saved.network_folder import save_network

CELLS = ("LSTM", "GRU")
SIZES = (16, 64, 256)
#: Sizes at which smaller weights are timed.
LARGE = (256, 512)
#: Bytes of a weight, by the type in which it is stored.
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
#: Largest difference that smaller weights may make, relative to the largest value compared.
NARROW = 0.02
#: Of the lines that are scored in a batch, one in this many is scored by steps from Python.
STEPPED = 10
#: Between two steps of a service, s.
PAUSE = 0.01
#: Steps that a median after pauses is taken over.
PAUSED = 100

Row = dict[str, Any]


def steps(cell: str, H: int, stored: str, report: Report, seconds: float, paused: int) -> Row:
    """Time one step in every library, the state carried; ours on weights of this type, the others' in float32."""
    layer = getattr(unrolled.nn, cell)(H, H)
    weights = {name.removesuffix("_l0"): w.detach() for name, w in layer.named_parameters()}
    stock = getattr(torch.nn, f"{cell}Cell")(H, H)
    stock.load_state_dict(weights)
    network, x = network_of(layer), torch.randn(H)
    model = RuntimeModel(network if stored == "float32" else narrowed(network, stored))  # type: ignore[arg-type]
    as_array, rows = x.numpy(), x[None]
    bodies: dict[str, Callable[[], Any]] = {"unrolled": lambda: model.step(as_array)}
    bodies["torch cell"] = carried(torch.inference_mode()(lambda state: stock(rows, state)), None)
    try:
        arrays = {name: w.numpy() for name, w in weights.items()}
        bodies["ONNX Runtime"] = onnx_step(cell, arrays, as_array)
    except ImportError as problem:
        report.lacks("ONNX Runtime", str(problem))
    found = {name: [torch.as_tensor(h_of(body())).view(-1) for _ in range(3)][-1] for name, body in bodies.items()}
    for name, h in found.items():
        allowed = TOLERANCE[torch.float32] if stored == "float32" or name != "unrolled" else NARROW
        same(f"{cell} H{H} {stored} {name}", {"h": h}, {"h": found["torch cell"]}, allowed)
    times = interleave(bodies, seconds)
    after = {name: [after_pause(body) for _ in range(paused)] for name, body in bodies.items()}
    return {
        "what": "step",
        "cell": cell,
        "H": H,
        "weights": stored,
        "bytes": BYTES[stored] * sum(w.numel() for w in layer.parameters() if w.ndim == 2),
        "us": {name: times.ms(name) * 1e3 for name in bodies},
        "us_after_pause": {name: statistics.median(spent) * 1e6 for name, spent in after.items()},
        "rounds": times.rounds,
    }


def h_of(found: Any) -> Any:
    """Return h of what a step returned."""
    return found[0] if isinstance(found, tuple) else found


def carried(step: Callable[[Any], Any], state: Any) -> Callable[[], Any]:
    """Return a step that begins where the one before ended."""
    states = [state]

    def body() -> Any:
        states[0] = step(states[0])
        return states[0]

    return body


def onnx_step(cell: str, weights: dict[str, np.ndarray], x: np.ndarray) -> Callable[[], Any]:
    """Return a step of ONNX Runtime, its states given back to it."""
    session, H = onnx_session(cell, weights, 1, states=True), len(x)
    names = ("h_0", "c_0") if cell == "LSTM" else ("h_0",)

    def step(state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        given = {"x": x[None, None], **dict(zip(names, state, strict=True))}
        return tuple(session.run(None, given)[1:])

    return carried(step, (np.zeros((1, 1, H), np.float32),) * len(names))


def after_pause(body: Callable[[], Any]) -> float:
    """Return the seconds of one call after a pause."""
    time.sleep(PAUSE)
    return duration(body)


def streams(cell: str, H: int, B: int, seconds: float) -> Row:
    """Time a step of B streams together, and of each alone."""
    model = RuntimeModel(network_of(getattr(unrolled.nn, cell)(H, H)))
    x = np.random.default_rng(0).normal(size=(B, H)).astype(np.float32)
    together, alone = model.streams(B), [model.streams() for _ in range(B)]

    def each() -> list[np.ndarray]:
        return [one.step(x[b : b + 1]) for b, one in enumerate(alone)]

    want = torch.from_numpy(np.concatenate(each()))
    same(f"{cell} {B} streams", {"h": torch.from_numpy(together.step(x))}, {"h": want}, 0.0)
    times = interleave({"together": lambda: together.step(x), "alone": each}, seconds)
    row = {"what": "streams", "cell": cell, "H": H, "B": B, "us": {n: times.ms(n) * 1e3 for n in times.seconds}}
    row["multiply_adds"] = B * multiply_adds(model.network)
    return row | {"ratio": times.ratio("alone", "together"), "rounds": times.rounds}


def multiply_adds(network: Network) -> int:
    """Return how many a step of one row takes: one per weight of a matrix, but one column where a symbol is read."""
    matrices = [w for layer in network.layers for w in (layer.directions[0].W_ih, layer.directions[0].W_hh)]
    head = [] if network.head is None else [network.head.W]
    return sum(w.size for w in [*matrices[network.one_hot :], *head])


def smaller_weights(cell: str, H: int, seconds: float) -> Row:
    """Time one step on weights of each type."""
    wide = network_of(getattr(unrolled.nn, cell)(H, H))
    x = np.random.default_rng(0).normal(size=H).astype(np.float32)
    types = ("float32", "bfloat16", "int8")
    models = {name: RuntimeModel(wide if name == "float32" else narrowed(wide, name)) for name in types}  # type: ignore[arg-type]
    again = {name: RuntimeModel(model.network, weights="float32") for name, model in models.items()}
    for name, model in models.items():
        got, want = (torch.from_numpy(of.step(x)) for of in (model, again[name]))
        same(f"{cell} H{H} {name}", {"h": got}, {"h": want}, NARROW)
    times = interleave({name: lambda m=model: m.step(x) for name, model in models.items()}, seconds)
    row = {"what": "weights", "cell": cell, "H": H, "us": {name: times.ms(name) * 1e3 for name in models}}
    return row | {"ratio": {name: times.ratio("float32", name) for name in types[1:]}, "rounds": times.rounds}


def threads_in_python(cell: str, H: int, B: int, seconds: float, steps: int) -> Row:
    """Time threads that each step B streams of their own."""
    model = RuntimeModel(network_of(getattr(unrolled.nn, cell)(H, H)))
    x, streams = np.ones((B, H), np.float32), [model.streams(B) for _ in range(2)]

    def serve(number: int) -> None:
        for _ in range(steps):
            streams[number].step(x)

    return {"what": "threads", "where": "Python", "cell": cell, "H": H, "B": B} | at_once(serve, steps, seconds)


def threads_in_c(cell: str, H: int, library: Path, seconds: float, steps: int) -> Row:
    """Time threads that each step a stream of their own in the C library, which holds no lock of Python."""
    c = ctypes.CDLL(str(library))
    c.unrolled_load.restype = c.unrolled_open.restype = ctypes.c_void_p
    c.unrolled_open.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    c.unrolled_feed.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    x = np.ones((steps, H), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        save_network(folder, network_of(getattr(unrolled.nn, cell)(H, H)), overwrite=True)
        model = c.unrolled_load(folder.encode())
    streams = [c.unrolled_open(model, 1) for _ in range(2)]

    def serve(number: int) -> None:
        if c.unrolled_feed(streams[number], x.ctypes.data, steps, None):
            raise RuntimeError("unrolled_feed failed")

    return {"what": "threads", "where": "C", "cell": cell, "H": H, "B": 1} | at_once(serve, steps, seconds)


def at_once(serve: Callable[[int], None], steps: int, seconds: float) -> Row:
    """Time `serve(0)` alone, and beside `serve(1)` in a second thread: microseconds a step served, and their ratio."""

    def two() -> None:
        other = threading.Thread(target=serve, args=(1,))
        other.start()
        serve(0)
        other.join()

    times = interleave({"one": lambda: serve(0), "two": two}, seconds)
    us = {"one": times.ms("one") * 1e3 / steps, "two": times.ms("two") * 1e3 / steps / 2}
    return {"us": us, "ratio": 2 * times.ratio("one", "two"), "rounds": times.rounds}


def c_library() -> Path | None:
    """Return the C library of this package, beside its modules or where a build has left it."""
    places = [*map(Path, unrolled.__path__), ROOT / "build" / "dev"]
    return next((found for place in places for found in place.glob("libunrolled.*")), None)


def feeding(cell: str, H: int, T: int, V: int = 100) -> Row:
    """Time a long sequence of symbols through the runtime and through the layer."""
    layer, rng = getattr(unrolled.nn, cell)(V, H), np.random.default_rng(0)
    model, ids = RuntimeModel(network_of(layer, one_hot=True)), rng.integers(0, V, T)
    tensor = torch.from_numpy(ids)[:, None]
    few = slice(0, 1000)
    with torch.inference_mode():
        want = layer(tensor[few])[0][:, 0]
    same(f"{cell} feed", {"h": torch.from_numpy(model.feed(ids[few]))}, {"h": want}, 0.0)
    bodies = {"feed": lambda: model.feed(ids), "layer": torch.inference_mode()(lambda: layer(tensor)[0])}
    spent: dict[str, list[float]] = {name: [] for name in bodies}
    for number in range(2):
        for name, body in list(bodies.items())[:: -1 if number % 2 else 1]:
            spent[name].append(duration(body))
    seconds = {name: min(of_each) for name, of_each in spent.items()}
    return {"what": "feed", "cell": cell, "H": H, "T": T, "s": seconds, "ratio": seconds["layer"] / seconds["feed"]}


def scoring(H: int, lines: int) -> Row:
    """Time the scores of many lines: in one batch, each alone, and by single steps one in `STEPPED` of them."""
    model, rng = text_model(H), np.random.default_rng(0)
    symbols = np.array(model.vocabulary.symbols)
    texts = ["".join(rng.choice(symbols, n)) for n in rng.integers(10, 80, lines)]

    def stepped() -> list[float]:
        found = []
        for text in texts[::STEPPED]:
            model.reset()
            nats, logits = 0.0, model.start
            for symbol in [*model.vocabulary.encode(text), model.vocabulary.eos_id]:
                nats -= log_softmax(logits)[symbol]
                logits = model.step(symbol)
            found.append(nats / math.log(2))
        return found

    few = texts[: 50 * STEPPED : STEPPED]
    alone, batch = [model.score(text).total for text in few], [s.total for s in model.score_each(few)]
    want = torch.tensor(alone, dtype=torch.float64)
    same("score", {"bits": torch.tensor(batch, dtype=torch.float64)}, {"bits": want}, 0.0)
    same("score by steps", {"bits": torch.tensor(stepped()[: len(few)], dtype=torch.float64)}, {"bits": want}, 1e-12)
    bodies = {
        "batch": lambda: model.score_each(texts),
        "each": lambda: [model.score(text) for text in texts],
        "steps": stepped,
    }
    seconds = {name: min(duration(body) for _ in range(3)) for name, body in bodies.items()}
    seconds["steps"] *= lines / len(texts[::STEPPED])
    row = {"what": "score", "H": H, "lines": lines, "symbols": sum(map(len, texts)), "s": seconds}
    row["multiply_adds"] = row["symbols"] * multiply_adds(model.network)
    return row | {"ratio": {name: seconds[name] / seconds["batch"] for name in ("each", "steps")}}


def text_model(H: int, E: int = 0) -> TextModel:
    """Return an untrained model of characters."""
    vocabulary = Vocabulary(map(chr, range(0x20, 0x7F)), "characters")
    config = ModelConfig(cell="lstm", hidden_size=H, embedding_size=E)
    return SequenceModel(config, vocabulary, framed=True).runtime()


def loading(H: int) -> Row:
    """Time the loading of a folder, and of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        save_network(folder, text_model(H, E=64).network, overwrite=True)
        size = (Path(folder) / "model.safetensors").stat().st_size
        times = interleave(
            {"load": lambda: runtime.load(folder), "load and step": lambda: runtime.load(folder).step(0)}, 1.0
        )
        return {"what": "load", "H": H, "MB": size / 1e6, "ms": {name: times.ms(name) for name in times.seconds}}


def line(row: Row) -> str:
    """One row of the report."""
    keys = ("cell", "H", "weights", "B", "T", "where", "lines", "MB")
    sizes = " ".join(f"{key} {row[key]}" for key in keys if key in row)
    text = f"{row['what']:8}{sizes:24}"
    for unit in ("us", "us_after_pause", "ms", "s"):
        if unit in row:
            text += f" {unit}: " + ", ".join(f"{name} {value:.4g}" for name, value in row[unit].items())
    return text + (f" ratio {row['ratio']}" if "ratio" in row else "")


def main() -> int:
    """Run all; returns the exit code."""
    options = parser(__doc__, seconds=0.5)
    options.set_defaults(threads=1)
    asked = options.parse_args()
    report, quick = Report("runtime", asked), asked.quick
    seconds = 0.05 if quick else asked.seconds
    for cell in CELLS:
        for H in (8, 33) if quick else SIZES:
            for stored in BYTES if H in (33, SIZES[-1]) else ("float32",):
                report.add(lambda c=cell, h=H, w=stored: steps(c, h, w, report, seconds, 3 if quick else PAUSED), line)  # type: ignore[misc]
        for H in (33,) if quick else LARGE:
            report.add(lambda c=cell, h=H: smaller_weights(c, h, seconds), line)  # type: ignore[misc]
    for H, B in ((33, 8),) if quick else ((16, 64), (64, 64), (128, 64), (128, 8)):
        report.add(lambda h=H, b=B: streams("LSTM", h, b, seconds), line)  # type: ignore[misc]
    for H, B in ((33, 8),) if quick else ((128, 16), (128, 64)):
        report.add(lambda h=H, b=B: threads_in_python("LSTM", h, b, seconds, 5 if quick else 200), line)  # type: ignore[misc]
    if library := c_library():
        for H in (33,) if quick else (16, 128):
            report.add(lambda h=H: threads_in_c("LSTM", h, library, seconds, 100 if quick else 10_000), line)  # type: ignore[misc]
    else:
        report.lacks("the C library", "not built")
    report.add(lambda: feeding("LSTM", *((33, 3000) if quick else (256, 1_000_000))), line)
    for H in (16,) if quick else (16, 64, 128):
        report.add(lambda h=H: scoring(h, 100 if quick else 10_000), line)  # type: ignore[misc]
    report.add(lambda: loading(33 if quick else 768), line)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
