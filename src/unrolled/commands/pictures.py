"""The makers of the pictures of `unrolled view`, one function of a `Scene` for each: make_gates makes "gates".

Their rows are in view.py, which `--help` imports without torch.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from unrolled.commands import WrongUse, inputs
from unrolled.commands.console import PlainConsole
from unrolled.config.options import option
from unrolled.lm.metrics_log import read_metrics
from unrolled.lm.model import SequenceModel
from unrolled.notation import LONG_NAMES, cell_name, has_cell_state
from unrolled.views import terminal
from unrolled.views.gradients import connectivity, gradients
from unrolled.views.jacobians import jacobians
from unrolled.views.report import report
from unrolled.views.saturation import saturation
from unrolled.views.states import Automaton, automaton, principal
from unrolled.views.traces import TextTrace, check_layer, trace
from unrolled.views.units import Found, followed, ranked
from unrolled.words import counted, told_apart

if TYPE_CHECKING:
    from unrolled.saved.vocabulary import Text as Given
    from unrolled.views.plots import Figure

#: Units whose lines are drawn, and units that a ranking lists, unless told otherwise.
LINES, RANKED = 3, 10
#: Symbols of a connectivity picture: its cost grows with their square.
CONNECTED = 120


@dataclass(frozen=True)
class Scene:
    """The folder of a model, the sequences that it reads, and the options of `unrolled view`."""

    folder: Path
    texts: Sequence[Given]
    signal: str | None = None
    layer: int | None = None
    unit: list[int] = field(default_factory=list)
    by: str | None = None
    beside: list[Path] = field(default_factory=list)
    position: int = -1
    clusters: int = 6
    lags: int = 100

    @cached_property
    def model(self) -> SequenceModel:
        """The model, loaded."""
        return SequenceModel.from_pretrained(self.folder)

    @cached_property
    def others(self) -> dict[Path, SequenceModel]:
        """The models to show beside it, loaded."""
        return {each: SequenceModel.from_pretrained(each) for each in self.beside}

    @property
    def text(self) -> str | bytes:
        """All that it reads."""
        return inputs.joined(self.texts)

    def note_unknown(self) -> None:
        """Warn of symbols of the text that a model does not know."""
        if self.texts:
            inputs.note_unknown(self.model.vocabulary, self.texts)
        for folder, other in self.others.items():
            inputs.note_unknown(other.vocabulary, self.texts, folder)

    @property
    def cell(self) -> str:
        """The model in two words, for titles."""
        return f"{cell_name(self.model.config.kind)}, {self.folder.resolve().name}"

    def read(self) -> TextTrace:
        """Trace the text."""
        return trace(self.model, self.text)

    def read_each(self) -> list[TextTrace]:
        """Trace each sequence of the text."""
        encode = self.model.vocabulary.encode
        return [trace(self.model, each) for each in self.texts if len(encode(each))] or [self.read()]

    @property
    def shown_layer(self) -> int:
        """The number of the layer to show, from the first: the last if none was named."""
        return check_layer(-1 if self.layer is None else self.layer, self.model.config.num_layers)

    @property
    def shown_signal(self) -> str:
        """The gate or state to show: the memory of the cell if none was named."""
        return self.signal or ("c" if has_cell_state(self.model.config.kind) else "h")

    def signals(self, read: TextTrace) -> Mapping[str, NDArray[Any]]:
        """Return the gate or state that was named, or all of the layer, (T, H) by name."""
        if self.signal is None:
            return read.layers[self.shown_layer].signals
        return {self.signal: read.values(self.signal, self.shown_layer)}

    def feature(self, read: TextTrace) -> NDArray[Any]:
        """The values of the feature of the text that --by names, (T,).

        Raises: WrongUse if there is no such feature; ValueError if it never changes.
        """
        try:
            values = followed(read, self.by or "")
        except ValueError as error:
            raise WrongUse(f"--by: {error}") from None
        if len(values) > 1 and (values == values[0]).all():
            raise ValueError(f"--by {self.by} stays {values[0]:g} throughout this text, so no unit can follow it")
        return values

    def units(self, read: TextTrace, most: int) -> list[Found]:
        """Choose units: those that were named, else those that follow the feature, else those that change most."""
        values = read.values(self.shown_signal, self.shown_layer)
        if self.by:
            values = self.feature(read)
            following = ranked(read, lambda _: values, signals=(self.shown_signal,))
            here = {each.unit: each for each in following if each.layer == self.shown_layer}
            return [here[unit] for unit in self.named_units()] or [*here.values()][:most]
        chosen = self.named_units() or terminal.changing_most(values)[:most]
        return [Found(self.shown_signal, self.shown_layer, unit, 0.0) for unit in chosen]

    def named_units(self) -> list[int]:
        """Return the units that were named.

        Raises: WrongUse if the layer has no such unit.
        """
        H = self.model.config.hidden_size
        for unit in self.unit:
            if not 0 <= unit < H:
                raise WrongUse(f"--unit is {unit}; the layer has units 0 to {H - 1}")
        return self.unit


def make_terminal(scene: Scene) -> None:
    """Print the text coloured by one unit, and every gate and state as bars."""
    console = PlainConsole()
    read = scene.read()
    chosen = scene.units(read, terminal.UNITS)
    first = chosen[0]
    values = read.values(first.signal, first.layer)[:, first.unit]
    console.print(f"{scene.model!r}\n")
    if read.length > read.T:
        console.print(f"one step in {read.steps[1]} is shown\n")
    console.print(Text(f"coloured by {_legend(first)}, ").append(terminal.key(first.signal, values)))
    console.print(terminal.coloured(read.symbols, values, first.signal), soft_wrap=True)
    console.print()
    units = [each.unit for each in chosen] if scene.unit or scene.by else None
    console.print(terminal.overview(scene.signals(read), read.symbols, width=console.width, units=units), end="")


def make_units(scene: Scene) -> None:
    """Print the units that follow a feature of the text."""
    if not scene.by:
        raise WrongUse("--picture units ranks units by a feature of the text; name one with --by, as in --by position")
    read = scene.read()
    values = scene.feature(read)
    if scene.signal is not None:
        read.values(scene.signal, scene.shown_layer)  # refuses what the cell lacks
    found = ranked(read, lambda _: values, signals=("h", "c") if scene.signal is None else (scene.signal,))
    table = Table("unit", "correlation", title=f"units that follow {scene.by}", title_justify="left")
    for each in [each for each in found if scene.layer is None or each.layer == scene.shown_layer][:RANKED]:
        table.add_row(each.name, f"{each.correlation:+.3f}")
    PlainConsole().print(table)


def make_gates(scene: Scene) -> Figure:
    """Draw every gate and state across the text."""
    from unrolled.views import plots_gates

    read = scene.read()
    what = "Gates and states" if scene.signal is None else "Units" if scene.unit else "Every unit"
    title, units = f"{what} of {scene.cell}", scene.named_units() or None
    return plots_gates.gates(scene.signals(read), read.symbols, title=title, steps=read.steps, units=units)


def make_saturation(scene: Scene) -> Figure:
    """Draw how often each gate is nearly shut or nearly open."""
    from unrolled.views import plots_gates

    found = saturation(scene.read(), scene.shown_layer)
    if scene.signal is not None:
        if found and scene.signal not in found:
            raise WrongUse(f"--signal is {scene.signal}; the gates that saturate are {', '.join(found)}")
        found = {gate: each for gate, each in found.items() if gate == scene.signal}
    return plots_gates.saturation(found, title=f"Gate saturation of {scene.cell}")


def make_counter(scene: Scene) -> Figure:
    """Draw lines of some units."""
    from unrolled.views import plots_units

    read = scene.read()
    chosen = scene.units(read, LINES)
    lines = {_legend(each): read.values(each.signal, each.layer)[:, each.unit] for each in chosen}
    background = {scene.by: scene.feature(read)} if scene.by else None
    title, what = f"Units of {scene.cell}", LONG_NAMES[scene.shown_signal]
    return plots_units.unit_lines(lines, read.symbols, title=title, unit=what, steps=read.steps, background=background)


def make_text(scene: Scene) -> Figure:
    """Draw the text coloured by one unit."""
    from unrolled.views import plots_units

    read = scene.read()
    (chosen,) = scene.units(read, 1)[:1]
    values = read.values(chosen.signal, chosen.layer)[:, chosen.unit]
    title = f"{scene.cell}: {_legend(chosen)}"
    return plots_units.coloured_text(read.symbols, values, title=title, signal=chosen.signal)


def _legend(each: Found) -> str:
    return each.name + (f", correlation {each.correlation:+.2f}" if each.correlation else "")


def make_gradient(scene: Scene) -> Figure:
    """Draw how strongly a state depends on earlier ones, also of other models."""
    from unrolled.views import plots_gradients

    models = {scene.folder: scene.model} | scene.others
    names = told_apart(f"{cell_name(each.config.kind)} {folder.resolve().name}" for folder, each in models.items())
    found = {}
    for name, model in zip(names, models.values(), strict=True):
        layer = -1 if scene.layer is None else scene.layer
        found[name] = jacobians(model, scene.text, layer=layer, position=scene.position, lags=scene.lags)
    return plots_gradients.gradient_against_lag(found, title="How strongly a state depends on earlier ones")


def make_reach(scene: Scene) -> Figure:
    """Draw how far the loss at one position reaches back."""
    from unrolled.views import plots_gradients

    found = gradients(scene.model, scene.text, position=scene.position)
    layer = found.layers[scene.shown_layer]
    norms = {"|dL/dh|": layer.h_norms} | ({} if layer.c_norms is None else {"|dL/dc|": layer.c_norms})
    where = "the last symbol" if scene.position == -1 else f"symbol {scene.position}"
    title = f"How far the loss after {where} reaches back: {scene.cell}"
    return plots_gradients.gradients_over_text(norms, found.symbols, title=title, first=found.first)


def make_connectivity(scene: Scene) -> Figure:
    """Draw how much each symbol mattered for each prediction."""
    from unrolled.views import plots_gradients

    names = scene.model.vocabulary.names
    symbols = [names[k] for k in scene.model.vocabulary.encode(scene.text)]
    if len(symbols) > CONNECTED:
        said = f"the text has {counted(len(symbols), 'symbol')}; the picture shows the first {CONNECTED}"
        warnings.warn(said, stacklevel=1)
    symbols = symbols[:CONNECTED]
    title = f"What each prediction looked at: {scene.cell}"
    return plots_gradients.connectivity(connectivity(scene.model, symbols), symbols, title=title)


def make_states(scene: Scene) -> Figure:
    """Draw the states along their principal axes."""
    from unrolled.views import plots_states

    reads = scene.read_each()
    found = _clustered(scene, reads)
    states = np.concatenate([read.values("h", scene.shown_layer) for read in reads])
    symbols = [symbol for read in reads for symbol in read.symbols]
    title = f"States of {scene.cell}"
    return plots_states.state_space(states, np.concatenate(found.labels), symbols, principal(states), title=title)


def make_automaton(scene: Scene) -> Figure:
    """Draw the automaton that the clusters of states make."""
    from unrolled.views import plots_states

    found = _clustered(scene, scene.read_each())
    return plots_states.automaton(found, title=f"{scene.cell} as an automaton")


def _clustered(scene: Scene, reads: list[TextTrace]) -> Automaton:
    """Cluster the states, and say if there are fewer clusters than were asked for."""
    found = automaton(reads, scene.clusters, layer=scene.shown_layer)
    if len(found.centres) < scene.clusters != Scene.clusters:
        asked = option("clusters", scene.clusters)
        said = f"the text has only {counted(len(found.centres), 'different state')}, fewer than {asked}"
        warnings.warn(said, stacklevel=1)
    return found


def make_learning(scene: Scene) -> Figure:
    """Draw the learning curve of the run that made the model."""
    from unrolled.views import plots

    if not (metrics := read_metrics(scene.folder)):
        raise ValueError(f"{scene.folder} holds no metrics.jsonl; a run writes one from its first line of metrics on")
    return plots.learning_curve(metrics, title=f"Learning curve of {scene.cell}")


def make_report(scene: Scene) -> str:
    """Return the page on how the model reads the text."""
    return report(scene.model, scene.text, title=f"How a model reads a text: {scene.cell}").html()


def make_table(scene: Scene) -> str:
    """Return every value as CSV."""
    columns = scene.read().columns(*([scene.signal] if scene.signal else []))
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return written.getvalue()
