"""Every aim for speed beside what the benches found: how many rows are within it, and which is farthest from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from harness import geometric_mean
from layers import PHASES
from roofline import floor

Found = dict[str, Any]


class Mark(NamedTuple):
    """One aim.

    `values` gives (name, value) for each row of the bench that it speaks of; `most`: the aim is an upper bound.
    """

    what: str
    aim: float
    bench: str
    values: Callable[[Found], Iterator[tuple[str, float]]]
    most: bool = False

    def meets(self, value: float) -> bool:
        """Whether a value is within the aim."""
        return value <= self.aim if self.most else value >= self.aim

    def row(self, found: Found) -> list[object]:
        """The aim, how many rows are within it, and the farthest."""
        values = list(self.values(found))
        within = sum(self.meets(value) for _, value in values)
        name, worst = (max if self.most else min)(values, key=lambda pair: pair[1])
        sign = "≤" if self.most else "≥"
        return [self.what, f"{sign} {self.aim:g}", f"{within} of {len(values)}", f"{worst:.3g}", name, self.bench]


def shape(row: Found, phase: str = "") -> str:
    """A row by its cell and sizes."""
    sizes = " ".join(f"{letter} {row[letter]}" for letter in "BTH" if letter in row)
    return f"{row['cell']} {sizes} {phase}".strip()


def phases(value: Callable[[Found], float | None], keep: Callable[[Found, str], bool] = lambda row, phase: True) -> Any:
    """One value for each row and phase that has one."""

    def values(found: Found) -> Iterator[tuple[str, float]]:
        for row in found["rows"]:
            for phase in PHASES:
                if keep(row, phase) and (number := value(row[phase])) is not None:
                    yield shape(row, phase), number

    return values


def rows(value: Callable[[Found], float | None], name: Callable[[Found], str] = shape) -> Any:
    """One value for each row that has one."""

    def values(found: Found) -> Iterator[tuple[str, float]]:
        for row in found["rows"]:
            if (number := value(row)) is not None:
                yield name(row), number

    return values


# --- situations.py: {"ours": ms, "one thread": ms, "torch": ms} in each


def in_situation(situations: str, over: str, keep: Callable[[Found], bool] = lambda found: True) -> Any:
    """Our time over that of `over`, in every situation whose name begins so."""

    def values(found: Found) -> Iterator[tuple[str, float]]:
        for row in found["rows"]:
            for phase in PHASES:
                for name, ms in row[phase].items():
                    if name.startswith(situations) and name != "pause 0 ms" and keep(row[phase]):
                        ours, one, torch = ms.values()
                        yield f"{shape(row, phase)}, {name}", {"one": one, "torch": torch}[over] / ours

    return values


def as_slowdown(values: Any) -> Any:
    """The same, ours over the other's."""
    return lambda found: ((name, 1 / value) for name, value in values(found))


# --- layers.py


def training_means(kind: str, cells: tuple[str, ...]) -> Any:
    """The geometric mean of training beside torch in one set, for each cell."""

    def values(found: Found) -> Iterator[tuple[str, float]]:
        for cell in cells:
            mine = [r["training"]["ratio"] for r in found["rows"] if (r["set"], r["cell"]) == (kind, cell)]
            yield f"{cell}, {len(mine)} points", geometric_mean(mine)

    return values


def shares(phase: str) -> Any:
    """The share of the multiply-add peak, common shapes of B >= 32."""

    def values(found: Found) -> Iterator[tuple[str, float]]:
        for row in found["rows"]:
            if row["set"] == "common" and row["B"] >= 32 and row["H"] <= 512 and found["limits"]:
                least = floor(row, phase, found["limits"], found["machine"]["threads"])
                yield shape(row, phase), least.ms / row[phase]["own_ms"]

    return values


# --- runtime.py


def step_beside(peer: str) -> Any:
    """How many times longer a peer's step takes than the runtime's, weights of float32."""
    return rows(
        lambda row: (
            row["us"][peer] / row["us"]["unrolled"] if row["what"] == "step" and row["weights"] == "float32" else None
        )
    )


def of_kind(what: str, ratio: Callable[[Found], float], keep: Callable[[Found], bool] = lambda row: True) -> Any:
    """One value for each row of one kind."""
    return rows(
        lambda row: ratio(row) if row["what"] == what and keep(row) else None,
        lambda row: f"{row.get('cell', 'model')} H {row['H']}",
    )


def _large(row: Found, phase: str) -> bool:
    return bool(row["B"] >= 32 and row["H"] >= 256)


MARKS = (
    Mark("after a pause, x one thread's time", 1.1, "situations", as_slowdown(in_situation("pause", "one")), most=True),
    Mark(
        "after a pause, x as fast as one thread, where two take over 1 ms", 1.3, "situations",
        in_situation("pause", "one", lambda found: found["pause 0 ms"]["ours"] > 1),
    ),
    Mark("after a pause, x torch", 1, "situations", in_situation("pause", "torch")),
    Mark("16 threads on two processors, x one thread's time", 1.3, "situations",
         as_slowdown(in_situation("16 threads", "one")), most=True),
    Mark("beside a busy neighbour, x one thread's time", 1.2, "situations",
         as_slowdown(in_situation("busy", "one")), most=True),
    Mark("two processes of two threads, x the calls of one", 0.9, "situations",
         phases(lambda found: found["two processes"])),
    Mark("after 10 ms, x the fastest other library", 1, "peers", phases(lambda found: min(found["ratio"].values()))),
    Mark("x torch, every point", 1, "layers", phases(lambda found: found["ratio"])),
    Mark("LSTM, training, x torch, mean", 1.7, "layers", training_means("cover", ("LSTM",))),
    Mark("2 layers, D 2, training, x torch, mean", 2, "layers", training_means("stacked", ("LSTM", "GRU", "RNN"))),
    Mark("gain of the second thread, B >= 16, H >= 128", 1.8, "layers",
         phases(lambda found: found["threads_gain"], lambda row, phase: row["B"] >= 16 and row["H"] >= 128)),
    Mark("share of the multiply-add peak, inference, B >= 32, H 128 to 512", 0.85, "layers", shares("inference")),
    Mark("the same, training", 0.78, "layers", shares("training")),
    Mark("bfloat16, x float32, B >= 32, H >= 256", 1.6, "bfloat16", phases(lambda found: found["x_float32"], _large)),
    Mark("bfloat16, x float32, B 1, H >= 256", 1.7, "bfloat16",
         phases(lambda found: found["x_float32"], lambda row, phase: row["B"] == 1 and row["H"] >= 256)),
    Mark("bfloat16, x torch's", 1, "bfloat16", phases(lambda found: found["x_torch"])),
    Mark("bfloat16, x torch's, LSTM inference, B >= 32", 1.1, "bfloat16",
         phases(lambda found: found["x_torch"],
                lambda row, phase: (row["cell"], phase) == ("LSTM", "inference") and row["B"] >= 32)),
    Mark("bfloat16, x torch's, LSTM training, B >= 32", 1.5, "bfloat16",
         phases(lambda found: found["x_torch"],
                lambda row, phase: (row["cell"], phase) == ("LSTM", "training") and row["B"] >= 32)),
    Mark("bfloat16, x torch's, GRU and RNN training, B >= 32", 2, "bfloat16",
         phases(lambda found: found["x_torch"],
                lambda row, phase: row["cell"] != "LSTM" and phase == "training" and row["B"] >= 32)),
    Mark("bfloat16, error, x torch's", 1, "bfloat16",
         rows(lambda row: row["errors"]["own"] / row["errors"]["torch"]), most=True),
    Mark("a step from C++, x its aim", 1, "steps",
         rows(lambda row: row["us"]["kernel"] / row["aim_us"] if row["aim_us"] else None), most=True),
    Mark("layer.step and cells, H <= 32, us", 4, "steps",
         rows(lambda row: max(row["us"]["layer.step"], row["us"]["cell"]) if row["H"] <= 32 else None), most=True),
    Mark("layer.step, x torch's cell, H >= 128", 1, "steps",
         rows(lambda row: row["us"]["torch cell"] / row["us"]["layer.step"] if row["H"] >= 128 else None)),
    Mark("a call for training, B 1, us beside its kernels", 30, "call_costs",
         rows(lambda row: row["us"]["unrolled"] - row["us"]["kernels"] if row["aim_us"] else None,
              lambda row: str(row["cell"])), most=True),
    Mark("training and generation, x torch, of its goal", 1, "train_throughput",
         rows(lambda row: row["ratio"] / row["goal"], lambda row: str(row["name"]))),
    Mark("a step of the runtime, x ONNX Runtime", 5, "runtime", step_beside("ONNX Runtime")),
    Mark("the same, x torch's cell", 10, "runtime", step_beside("torch cell")),
    Mark("int8, x float32", 2, "runtime", of_kind("weights", lambda row: row["ratio"]["int8"])),
    Mark("64 streams together, x one by one, H 128", 8, "runtime",
         of_kind("streams", lambda row: row["ratio"], lambda row: (row["H"], row["B"]) == (128, 64))),
    Mark("`feed` of a million symbols, x the layer", 1, "runtime", of_kind("feed", lambda row: row["ratio"])),
    Mark("`score` of 10,000 lines, x a loop of steps", 20, "runtime",
         of_kind("score", lambda row: row["ratio"]["steps"])),
    Mark("load of 10 MB, ms", 20, "runtime", of_kind("load", lambda row: row["ms"]["load"]), most=True),
    Mark("the C header, x its aim", 1, "c_header",
         rows(lambda row: row["ns"]["gcc native"] / row["aim"] if row.get("aim") else None,
              lambda row: f"{row['cell']} H {row['H']} {row['weights']}"), most=True),
    Mark("the C header, x RTNeural", 1, "c_header",
         rows(lambda row: row["ns"]["RTNeural"] / row["ns"]["gcc native"]
              if row["weights"] == "float32" and "RTNeural" in row["ns"] else None)),
    Mark("two processes, x one with two threads", 0.9, "parallel",
         rows(lambda row: row["ratio"] if row.get("goal") else None, lambda row: str(row["name"]))),
)  # fmt: skip

HEAD = "what|>aim|>rows within it|>farthest|its row|bench"


def table(results: Callable[[str], Found | None], every: bool = True) -> list[list[object]]:
    """The rows of the table, from what each bench found; a bench that was not run is named, or left out."""
    lines: list[list[object]] = []
    for mark in MARKS:
        if found := results(mark.bench):
            lines.append(mark.row(found))
        elif every:
            lines.append([mark.what, f"{mark.aim:g}", "not measured", "", "", mark.bench])
    return lines
