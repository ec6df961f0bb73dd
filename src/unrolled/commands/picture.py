"""`unrolled picture`: the drawings of a lecture, for which no model is needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from unrolled.commands import examples
from unrolled.commands.arguments import refuse_unused
from unrolled.commands.console import write_out
from unrolled.config.checks import Positive, PositiveInt, Seed
from unrolled.config.model import CellName

if TYPE_CHECKING:
    from typing import TypeAlias

    from unrolled.views.plots import Figure

#: The options that each drawing obeys; it refuses the others.
OPTIONS = {
    "cell": "cell",
    "chain": "cell steps",
    "vanishing": "gain hidden_size steps seed",
    "exploding": "gain hidden_size steps seed",
    "lags": "cell hidden_size steps seed",
}
if TYPE_CHECKING:
    Drawing: TypeAlias = str
else:
    Drawing = Literal[tuple(OPTIONS)]
#: The words for `--help`.
SHOWN = (
    "cell (one step of it), chain (the network unrolled through time), vanishing (gradients of new networks against "
    "the lag), exploding (a ReLU RNN with and without clipping), lags (how far an RNN learns to look back)"
)

app = App(
    name="picture",
    usage="Usage: unrolled picture (cell | chain | vanishing | exploding | lags) [OPTIONS]",
    help_epilogue=examples(
        "unrolled picture cell --cell gru --out gru.svg",
        "unrolled picture chain --steps 4",
        "unrolled picture vanishing --gain 0.9",
    ),
)


@app.default
def picture(
    name: Annotated[Drawing, Parameter(help=f"What to draw: {SHOWN}.", show_choices=False)],
    /,
    *,
    out: Path | None = None,
    cell: CellName | None = None,
    hidden_size: PositiveInt | None = None,
    gain: Positive | None = None,
    steps: PositiveInt | None = None,
    seed: Seed | None = None,
) -> None:
    """Draw pictures for a lecture; no trained model is needed.

    Args:
        out: File to write; the extension .png or .svg sets the format. By default NAME.png.
        cell: Cell to draw, rnn by default.
        hidden_size: Hidden units H of the networks, 32 by default.
        gain: Every singular value of the initial W_hh; by default 0.9 for vanishing, 1.2 for exploding.
        steps: Steps of the chain (4), the largest lag (60), or training steps (150 or 400).
        seed: Seed of weights and text, 0 by default.
    """
    options = {"cell": cell, "hidden_size": hidden_size, "gain": gain, "steps": steps, "seed": seed}
    given = {option: value for option, value in options.items() if value is not None}
    refuse_unused(given, name, OPTIONS)
    from unrolled.commands import lecture
    from unrolled.views import plots

    figure: Figure = getattr(lecture, f"draw_{name}")(**given)
    write_out(out or Path(f"{name}.png"), partial(plots.save, figure))
