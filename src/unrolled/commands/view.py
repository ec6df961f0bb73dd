"""`unrolled view`: one picture of what a model does with a text, in the terminal, as a file, or as a table."""

from __future__ import annotations

import csv
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unrolled.commands import WrongUse
from unrolled.commands.inputs import STANDARD_INPUT
from unrolled.lm.model import SequenceModel
from unrolled.views import terminal
from unrolled.views.gradients import connectivity, gradients
from unrolled.views.jacobians import jacobians
from unrolled.views.report import report
from unrolled.views.saturation import saturation
from unrolled.views.states import automaton, principal
from unrolled.views.traces import Trace, check_layer, trace
from unrolled.views.units import Found, feature, ranked

if TYPE_CHECKING:
    from unrolled.views.plots import Figure

#: Units whose lines are drawn, and units that a ranking lists, unless told otherwise.
LINES, RANKED = 3, 10
#: Symbols of a connectivity picture: its cost grows with their square.
CONNECTED = 120


@dataclass(frozen=True)
class Options:
    """What a picture is to show; see `unrolled view --help`."""

    signal: str | None
    layer: int
    unit: list[int]
    by: str | None
    beside: list[Path]
    position: int
    clusters: int
    lags: int


@dataclass(frozen=True)
class Scene:
    """A loaded model, the folder it came from, the text that it reads, and what is to be shown."""

    folder: Path
    model: SequenceModel
    text: str
    options: Options

    @property
    def cell(self) -> str:
        """The model in two words, for titles."""
        return f"{self.model.config.kind.replace('_', ' ')}, {self.folder.name}"

    def read(self) -> Trace:
        """Trace the text."""
        read = trace(self.model, self.text)
        if read.unknown:
            said = f"{read.unknown:,} of the text's symbols are new to the model, which reads them as UNK"
            warnings.warn(said, stacklevel=1)
        return read

    @property
    def layer(self) -> int:
        """The number of the layer to show, from the first."""
        return check_layer(self.options.layer, self.model.config.num_layers)

    @property
    def signal(self) -> str:
        """The gate or state to show: the memory of the cell if none was named."""
        return self.options.signal or ("c" if self.model.config.kind == "LSTM" else "h")

    def units(self, read: Trace, most: int) -> list[Found]:
        """Choose units: those that were named, else those that follow the feature, else those that change most."""
        values = read.values(self.signal, self.layer)
        H = values.shape[1]
        if self.options.unit:
            for unit in self.options.unit:
                if not 0 <= unit < H:
                    raise WrongUse(f"--unit is {unit}; the layer has units 0 to {H - 1}")
            return [Found(self.signal, self.layer, unit, 0.0) for unit in self.options.unit]
        if self.options.by:
            of = _feature(self.options.by)
            return [f for f in ranked(read, of, signals=(self.signal,)) if f.layer == self.layer][:most]
        return [Found(self.signal, self.layer, unit, 0.0) for unit in terminal.changing_most(values)[:most]]


def view(folder: Path, text: str | None, file: Path | None, picture: str, out: Path | None, options: Options) -> None:
    """Load a model, let it read a text, and show the picture that was asked for."""
    if text is not None and file is not None:
        raise WrongUse("give one text to read: the text itself, - for standard input, or --file")
    if file is not None:
        text = file.read_text("utf-8")
    elif text == STANDARD_INPUT:
        text = sys.stdin.read()
    elif text is not None:
        text = text.replace("\\n", "\n")
    elif picture != "learning":
        raise WrongUse("there is no text to read; give one, - for standard input, or --file")
    scene = Scene(folder, SequenceModel.from_pretrained(folder), text or "", options)
    if picture in PRINTED:
        if out is not None:
            raise WrongUse(f"--picture {picture} is printed, not written to a file; leave --out out")
        PRINTED[picture](scene, Console(highlight=False))
        return
    out = out or Path(f"{picture}{ENDINGS.get(picture, '.png')}")
    if picture in ENDINGS:
        WRITTEN[picture](scene, out)
    else:
        from unrolled.views import plots

        plots.save(DRAWN[picture](scene), out)
    print(f"made {out}")


def _terminal(scene: Scene, console: Console) -> None:
    read = scene.read()
    (chosen,) = scene.units(read, 1)[:1]
    values = read.values(chosen.signal, chosen.layer)[:, chosen.unit]
    console.print(f"{scene.model!r}\n", markup=False)
    if read.length > read.T:
        console.print(f"one step in {read.steps[1]} is shown\n")
    console.print(Text(f"coloured by {chosen.name}, orange below 0, purple above", "dim"))
    console.print(terminal.coloured(read.symbols, values), soft_wrap=True)
    console.print()
    console.print(terminal.overview(read.layers[scene.layer].signals, width=console.width), end="")


def _units(scene: Scene, console: Console) -> None:
    if not scene.options.by:
        raise WrongUse("--picture units ranks units by a feature of the text; name one with --by, as in --by position")
    of, read = _feature(scene.options.by), scene.read()
    signals = ("h", "c") if scene.options.signal is None else (scene.options.signal,)
    table = Table("unit", "correlation", title=f"units that follow {scene.options.by}", title_justify="left")
    for each in ranked(read, of, signals=signals)[:RANKED]:
        table.add_row(each.name, f"{each.correlation:+.3f}")
    console.print(table)


def _feature(name: str) -> Callable[..., Any]:
    try:
        return feature(name)
    except ValueError as error:
        raise WrongUse(f"--by: {error}") from None


def _gates(scene: Scene) -> Figure:
    from unrolled.views import plots_gates

    read = scene.read()
    signals = read.layers[scene.layer].signals
    shown = signals if scene.options.signal is None else {scene.signal: read.values(scene.signal, scene.layer)}
    return plots_gates.gates(shown, read.symbols, title=f"Gates and states of {scene.cell}", steps=read.steps)


def _saturation(scene: Scene) -> Figure:
    from unrolled.views import plots_gates

    found = saturation(scene.read(), scene.layer)
    return plots_gates.saturation(found, title=f"Gate saturation of {scene.cell}")


def _counter(scene: Scene) -> Figure:
    from unrolled.views import plots_units

    read = scene.read()
    chosen = scene.units(read, LINES)
    lines = {_legend(each): read.values(each.signal, each.layer)[:, each.unit] for each in chosen}
    by = scene.options.by
    background = {by: np.asarray(_feature(by)(read.symbols))} if by else None
    what = "cell state c" if scene.signal == "c" else f"{scene.signal}"
    title = f"Units of {scene.cell}"
    return plots_units.unit_lines(lines, read.symbols, title=title, unit=what, steps=read.steps, background=background)


def _text(scene: Scene) -> Figure:
    from unrolled.views import plots_units

    read = scene.read()
    (chosen,) = scene.units(read, 1)[:1]
    values = read.values(chosen.signal, chosen.layer)[:, chosen.unit]
    return plots_units.coloured_text(read.symbols, values, title=f"{scene.cell}: {_legend(chosen)}", unit=scene.signal)


def _legend(each: Found) -> str:
    return each.name + (f", correlation {each.correlation:+.2f}" if each.correlation else "")


def _gradient(scene: Scene) -> Figure:
    from unrolled.views import plots_gradients

    options = scene.options
    models = {scene.folder: scene.model} | {each: SequenceModel.from_pretrained(each) for each in options.beside}
    found = {}
    for folder, model in models.items():
        layer = options.layer if model is scene.model else -1
        name = f"{model.config.kind.replace('_', ' ')} {folder.name}"
        found[name] = jacobians(model, scene.text, layer=layer, position=options.position, lags=options.lags)
    return plots_gradients.gradient_against_lag(found, title="How strongly a state depends on earlier ones")


def _reach(scene: Scene) -> Figure:
    from unrolled.views import plots_gradients

    position = scene.options.position
    found = gradients(scene.model, scene.text, position=position)
    layer = found.layers[scene.layer]
    norms = {"|dL/dh|": layer.h_norms} | ({} if layer.c_norms is None else {"|dL/dc|": layer.c_norms})
    where = "the last symbol" if position == -1 else f"symbol {position}"
    title = f"How far the loss after {where} reaches back: {scene.cell}"
    return plots_gradients.gradients_over_text(norms, found.symbols, title=title, first=found.first)


def _connectivity(scene: Scene) -> Figure:
    from unrolled.views import plots_gradients

    names = scene.model.vocabulary.names
    symbols = [names[k] for k in scene.model.vocabulary.encode(scene.text)]
    if len(symbols) > CONNECTED:
        said = f"the text has {len(symbols):,} symbols; the picture shows the first {CONNECTED}"
        warnings.warn(said, stacklevel=1)
    symbols = symbols[:CONNECTED]
    title = f"What each prediction looked at: {scene.cell}"
    return plots_gradients.connectivity(connectivity(scene.model, symbols), symbols, title=title)


def _states(scene: Scene) -> Figure:
    from unrolled.views import plots_states

    reads = _lines(scene)
    found = automaton(reads, scene.options.clusters, layer=scene.layer)
    states = np.concatenate([read.values("h", scene.layer) for read in reads])
    symbols = [symbol for read in reads for symbol in read.symbols]
    title = f"States of {scene.cell}"
    return plots_states.state_space(states, np.concatenate(found.labels), symbols, principal(states), title=title)


def _automaton(scene: Scene) -> Figure:
    from unrolled.views import plots_states

    found = automaton(_lines(scene), scene.options.clusters, layer=scene.layer)
    return plots_states.automaton(found, title=f"{scene.cell} as an automaton")


def _lines(scene: Scene) -> list[Trace]:
    """Return the traces of the text's lines for a model of sequences, else that of the text."""
    if not scene.model.framed:
        return [scene.read()]
    return [trace(scene.model, line) for line in scene.text.split("\n") if line.strip()] or [scene.read()]


def _learning(scene: Scene) -> Figure:
    from unrolled.views import plots

    path = scene.folder / "metrics.jsonl"
    if not path.exists():
        raise ValueError(f"{scene.folder} holds no metrics.jsonl; only a folder that unrolled train made has one")
    metrics = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return plots.learning_curve(metrics, title=f"Learning curve of {scene.cell}")


def _report(scene: Scene, out: Path) -> None:
    out.write_text(report(scene.model, scene.text, title=f"How {scene.cell} reads a text").html(), "utf-8")


def _table(scene: Scene, out: Path) -> None:
    columns = scene.read().columns(*([scene.options.signal] if scene.options.signal else []))
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


PRINTED: dict[str, Callable[[Scene, Console], None]] = {"terminal": _terminal, "units": _units}
WRITTEN: dict[str, Callable[[Scene, Path], None]] = {"report": _report, "table": _table}
ENDINGS = {"report": ".html", "table": ".csv"}
DRAWN: dict[str, Callable[[Scene], Figure]] = {
    "gates": _gates,
    "saturation": _saturation,
    "counter": _counter,
    "text": _text,
    "gradient": _gradient,
    "reach": _reach,
    "connectivity": _connectivity,
    "states": _states,
    "automaton": _automaton,
    "learning": _learning,
}
