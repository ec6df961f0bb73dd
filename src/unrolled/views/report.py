"""One page on how a model reads a text: a single HTML file that needs no network and no file beside it."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unrolled.notation import LONG_NAMES
from unrolled.saved.visible import shown
from unrolled.saved.vocabulary import Text
from unrolled.views import svg
from unrolled.views.colours import PUOR, RGB, SURPRISE, SURPRISING, VIRIDIS, colour, ink, signal_scale
from unrolled.views.gradients import FLOOR, saliency
from unrolled.views.jacobians import Jacobians, jacobians
from unrolled.views.saturation import saturation
from unrolled.views.symbols import visible
from unrolled.views.traces import TextTrace, trace
from unrolled.views.units import FEATURES, Found, ranked
from unrolled.words import counted, rounded

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel

#: The most symbols of a page, and the largest lag.
SYMBOLS, LAGS = 5_000, 60
#: Quantile of the absolute values at which a heat-map is cut: a few far larger ones would leave the rest pale.
CLIPPED = 0.995
#: The colours that values stand on, by the name that the page calls them.
SCALES: dict[str, tuple[RGB, ...]] = {"above": VIRIDIS, "signed": PUOR, "surprise": SURPRISE}


@dataclass(frozen=True)
class Report:
    """How a model reads a text: the contents of the page."""

    title: str
    model: str
    read: TextTrace
    mattered: NDArray[Any]
    lags: Jacobians
    followers: dict[str, Found]

    def html(self) -> str:
        """Return the page; every symbol of the text is escaped in it."""
        template = resources.files("unrolled.views").joinpath("report.html").read_text("utf-8")
        data = {
            "lines": list(self._lines()),
            "arrays": list(self._arrays()),
            "steps": self.read.steps.tolist(),
            "scales": {name: _palette(scale) for name, scale in SCALES.items()},
        }
        parts = {
            "title": html.escape(self.title),
            "model": html.escape(self.model),
            "summary": html.escape(self._summary()),
            "text": self._text(),
            "sections": "\n".join(self._sections()),
            "data": json.dumps(data).replace("<", "\\u003c"),
        }
        return re.sub(r"@(\w+)@", lambda name: parts[name[1]], template)

    def _repr_html_(self) -> str:
        page = html.escape(self.html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:46rem;border:0" sandbox="allow-scripts"></iframe>'

    def _summary(self) -> str:
        read = self.read
        every = f", one in {read.steps[1]} shown" if read.length > read.T else ""
        unknown = f" {counted(read.unknown, 'symbol')} unknown to the model, read as UNK." if read.unknown else ""
        return f"{counted(read.length, 'symbol')}{every}; {rounded(read.bits.mean(), 3)} bits per symbol.{unknown}"

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yield what the text can be coloured by besides units: its cost, and what the last prediction looked at."""
        most = float(self.mattered.max()) or 1.0
        for name, values, high, end, scale in (
            ("surprise", self.read.bits, SURPRISING, f"{SURPRISING:g} bits or more", "surprise"),
            ("what the last prediction looked at", self.mattered, most, f"|d logit / d x| {most:.2g}", "above"),
        ):
            ends = {"low": "0", "high": end, "from": 0.0, "to": high}
            yield {"name": name, "scale": scale, "bytes": _bytes(values, 0.0, high)} | ends

    def _arrays(self) -> Iterator[dict[str, Any]]:
        """Yield every gate and state of every layer, with every unit."""
        for number, layer in enumerate(self.read.layers):
            for name, values in layer.signals.items():
                low, high, scale = signal_scale(name, float(np.quantile(np.abs(values), CLIPPED)))
                whole = bool(np.abs(values).max() <= high)
                yield {
                    "name": LONG_NAMES[name] + (f", layer {number}" if len(self.read.layers) > 1 else ""),
                    "letter": f"{name}{number}",
                    "units": values.shape[1],
                    "low": f"{low:.3g}" if whole else f"{low:.3g} and below",
                    "high": f"{high:.3g}" if whole else f"{high:.3g} and above",
                    "from": low,
                    "to": high,
                    "scale": "above" if scale is VIRIDIS else "signed",
                    "deflated": _bytes(values.T, low, high, deflated=True),
                }

    def _text(self) -> str:
        """Return the symbols, each in an element that tells what was expected after it."""
        apart = "" if all(len(symbol) == 1 for symbol in self.read.symbols) else " "
        parts = []
        for symbol, likeliest in zip(self.read.symbols, self.read.likeliest(3), strict=True):
            expected = ", ".join(f"{visible(name)} {p:.0%}" for name, p in likeliest)
            end = "\n" if symbol == "\n" else apart
            parts.append(f'<b title="{html.escape(expected)}">{html.escape(shown(symbol))}</b>{end}')
        return "".join(parts)

    def _sections(self) -> Iterator[str]:
        yield "<h2>Gates and states</h2>"
        yield '<p class="quiet">Every unit after every symbol. Point at a place to read it, click to colour by it.</p>'
        yield '<div id="maps"></div>'
        yield from self._saturation()
        yield "<h2>Gradient against lag</h2>"
        lines = {"by h": self.lags.h} | ({} if self.lags.c is None else {"by c": self.lags.c})
        up = "|dh(T) / dh(T−k)|" if self.lags.c is None else "|dh(T) / d(T−k)|"
        yield svg.log_lines(lines, across="lag k, steps", up=up, floor=FLOOR)
        sigma = ", ".join(f"{'W_hh' if g == 'h' else f'W_h{g}'} {s:.2f}" for g, s in self.lags.singular.items())
        words = f"How strongly the last state depends on earlier ones. Largest singular values: {sigma}."
        yield f'<p class="quiet">{words}</p>'
        if self.followers:
            yield "<h2>Units that follow the text</h2><table><tr><th>feature<th>unit<th>correlation</tr>"
            for feature, each in self.followers.items():
                yield f"<tr><td>{feature}<td>{each.name}<td>{each.correlation:+.3f}</tr>"
            yield "</table>"

    def _saturation(self) -> Iterator[str]:
        for number in range(len(self.read.layers)):
            found = saturation(self.read, number)
            if found:
                of = f" of layer {number}" if len(self.read.layers) > 1 else ""
                yield f"<h2>Gate saturation{of}</h2><table><tr><th>gate<th>below 0.1<th>above 0.9</tr>"
                for gate, each in found.items():
                    yield f"<tr><td>{LONG_NAMES[gate]}<td>{each.left.mean():.1%}<td>{each.right.mean():.1%}</tr>"
                yield '</table><p class="quiet">Share of all units and steps.</p>'


def report(model: SequenceModel, text: Text, *, title: str = "How a model reads a text") -> Report:
    """Return a page on everything a model does while it reads a text.

    Args:
        model: read without dropout, even in training mode.
        text: a text, or a list of symbols; of more than 5,000 symbols the page shows only some steps, and says so.
        title: of the page.

    Raises: ValueError if the text is empty.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> page = report(SequenceModel(ModelConfig(hidden_size=5), Vocabulary("ab")), ["a", "b", "b"]).html()
    >>> page.startswith("<!doctype html>"), "http://" in page or "https://" in page
    (True, False)
    """
    read = trace(model, text, at_most=SYMBOLS)
    followers = {}
    if read.length == read.T:
        for name in FEATURES:
            best = ranked(read, name)[0]
            if best.correlation:
                followers[name] = best
    mattered = np.nan_to_num(saliency(model, text)[read.steps])  # exploding gradients may be infinite
    return Report(title, repr(model), read, mattered, jacobians(model, text, lags=LAGS), followers)


def _palette(scale: Sequence[RGB]) -> list[tuple[str, str]]:
    """Return background and ink of the 256 steps of a scale, as CSS colours."""
    steps = (colour(step / 255, scale) for step in range(256))
    return [(f"rgb{background}".replace(" ", ""), ink(background)) for background in steps]


def _bytes(values: NDArray[Any], low: float, high: float, *, deflated: bool = False) -> str:
    """Return values as base64 of bytes, 0 for low and 255 for high, row after row."""
    share = (values - low) / ((high - low) or 1.0)
    data = np.clip(255 * share + 0.5, 0, 255).astype(np.uint8).tobytes()
    return base64.b64encode(zlib.compress(data, 9) if deflated else data).decode()
