"""A diagram computes what the cell computes: its wires are followed from x and the old state to the new one."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from unrolled.nn import reference
from unrolled.notation import GATES, gate_slice
from unrolled.views.plots_diagrams import BOX, DIAGRAMS, HIGH, RADIUS, cell

H, I = 3, 2


class Wiring:
    """What is drawn: nodes with a text and a reach, and wires as chains of corners."""

    def __init__(self, figure):
        (axes,) = figure.axes
        shapes = [p for p in axes.patches if isinstance(p, Circle | FancyBboxPatch) and p.get_zorder() == 3]
        self.nodes, self.ends = {}, {}
        for text in axes.texts:
            place = text.get_position()
            if any(np.hypot(*np.subtract(centre(shape), place)) < 1e-6 for shape in shapes):
                self.nodes[place] = text.get_text()
            elif re.fullmatch(r"\$[xhc]'?\$", text.get_text()):
                self.ends[text.get_text().strip("$")] = place
        self.wires = []
        arrows = [p for p in axes.patches if isinstance(p, FancyArrowPatch)]
        for line in axes.lines:
            chain = list(zip(*map(list, line.get_data()), strict=True))
            tip = [p for p in arrows if np.allclose(p._posA_posB[0], chain[-1]) and not used(p)]
            if tip:
                tip[0].taken = True
                chain.append(tuple(tip[0]._posA_posB[1]))
            self.wires.append([tuple(map(float, each)) for each in chain])
        self.branches = [p.center for p in axes.patches if isinstance(p, Circle) and p.radius < RADIUS / 2]

    def at(self, place):
        """The node whose border this place is on."""
        for (x, y), text in self.nodes.items():
            dx, dy = abs(place[0] - x), abs(place[1] - y)
            on_box = (dx <= BOX / 2 + 1e-6 and abs(dy - HIGH / 2) < 1e-6) or (dy < 0.3 and abs(dx - BOX / 2) < 1e-6)
            on_circle = abs(np.hypot(dx, dy) - RADIUS) < 1e-6
            if on_circle if text in "×+" else on_box:
                return (x, y)
        return None

    def value(self, place, given, layers):
        """The value on a wire that starts at a place: from a node, from outside, or from the wire it branches off."""
        node = self.at(place)
        if node is not None:
            return self.output(node, given, layers)
        for name, end in self.ends.items():
            if np.hypot(*np.subtract(end, place)) < 0.3 and name in given:
                return [given[name]]
        values = [
            v for wire in self.wires if wire[0] != place and on(wire, place) for v in self.carried(wire, given, layers)
        ]
        assert values, f"the wire from {place} comes from nowhere"
        return values

    def carried(self, wire, given, layers):
        """What is on a wire: the value it begins with, and those of wires that end on it."""
        joining = [w for w in self.wires if w is not wire and self.at(w[-1]) is None and on(wire, w[-1])]
        return [v for w in [wire, *joining] for v in self.value(w[0], given, layers)]

    def output(self, node, given, layers):
        into = [wire for wire in self.wires if self.at(wire[-1]) == node]
        inputs = [value for wire in into for value in self.carried(wire, given, layers)]
        text = self.nodes[node]
        if text == "×":
            return [inputs[0] * inputs[1]]
        if text == "+":
            return [inputs[0] + inputs[1]]
        if text == "1 −":
            return [1 - inputs[0]]
        squash = {"σ": torch.sigmoid, "tanh": torch.tanh}.get(text, lambda a: a)
        name = self.gate(node, text)
        return [squash(layers[name](inputs) if name in layers else inputs[0])]

    def gate(self, node, text):
        if text.startswith("$"):
            return text.strip("$")
        gates = sorted(n for n, t in self.nodes.items() if t in ("σ", "tanh") and n[1] == node[1] and n[1] < 3)
        return gates.index(node) if node in gates else text

    def result(self, name, given, layers):
        (wire,) = [w for w in self.wires if np.hypot(*np.subtract(w[-1], self.ends[name])) < 0.3]
        (value,) = self.value(wire[0], given, layers)
        return value


def used(patch):
    return getattr(patch, "taken", False)


def centre(shape):
    if isinstance(shape, Circle):
        return shape.center
    return shape.get_x() + shape.get_width() / 2, shape.get_y() + shape.get_height() / 2


def on(wire, place):
    for (ax, ay), (bx, by) in pairwise(wire):
        between = (
            min(ax, bx) - 1e-6 <= place[0] <= max(ax, bx) + 1e-6
            and min(ay, by) - 1e-6 <= place[1] <= max(ay, by) + 1e-6
        )
        if between:
            return True
    return False


def drawn_weights(kind):
    G = len(GATES[kind])
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64) for shape in ((G * H, I), (G * H, H), (G * H,), (G * H,))]


def gates(W, names, kind):
    """What each box at the bottom computes from its inputs [h', x] or [x, h'], whichever has which length."""
    W_ih, W_hh, b_ih, b_hh = W

    def layer(k):
        rows = slice(k * H, (k + 1) * H)

        def product(inputs):
            x, h = sorted(inputs, key=len)
            return W_ih[rows] @ x + b_ih[rows] + W_hh[rows] @ h + b_hh[rows]

        return product

    return {place: layer(GATES[kind].index(gate)) for place, gate in enumerate(names)}


X, H_PREV, C_PREV = (
    torch.linspace(-1, 1, n, dtype=torch.float64) * scale for n, scale in ((I, 1), (H, 0.7), (H, -0.5))
)


def test_lstm_diagram_computes_an_lstm():
    wiring, W = Wiring(cell("LSTM")), drawn_weights("LSTM")
    layers = gates(W, "figo", "LSTM")
    h, c = reference.lstm_step(X[None], H_PREV[None], C_PREV[None], *W)
    given = {"x": X, "h'": H_PREV, "c'": C_PREV}
    torch.testing.assert_close(wiring.result("c", given, layers), c[0])
    torch.testing.assert_close(wiring.result("h", given, layers), h[0])


def test_gru_diagram_computes_a_gru():
    wiring, W = Wiring(cell("GRU")), drawn_weights("GRU")
    W_ih, W_hh, b_ih, b_hh = W
    layers = gates(W, "rz", "GRU")
    n = gate_slice("GRU", "n", H)
    layers["W_{hn}"] = lambda inputs: W_hh[n] @ inputs[0] + b_hh[n]
    layers["W_{in}"] = lambda inputs: W_ih[n] @ inputs[0] + b_ih[n]
    wanted = reference.gru_step(X[None], H_PREV[None], *W)[0]
    torch.testing.assert_close(wiring.result("h", {"x": X, "h'": H_PREV}, layers), wanted)


def test_rnn_diagram_computes_an_rnn():
    wiring, W = Wiring(cell("RNN")), drawn_weights("RNN_TANH")
    W_ih, W_hh, b_ih, b_hh = W
    layers = {"W_{ih}": lambda inputs: W_ih @ inputs[0] + b_ih, "W_{hh}": lambda inputs: W_hh @ inputs[0] + b_hh}
    wanted = reference.rnn_step(X[None], H_PREV[None], *W)[0]
    torch.testing.assert_close(wiring.result("h", {"x": X, "h'": H_PREV}, layers), wanted)


def test_every_branch_of_a_wire_is_marked():
    for name in DIAGRAMS:
        wiring = Wiring(cell(name))
        for wire in wiring.wires:
            begins_on = [w for w in wiring.wires if w is not wire and on(w, wire[0])]
            if begins_on:
                assert any(np.allclose(wire[0], dot) for dot in wiring.branches), (name, wire[0])


def test_diagram_of_another_cell_is_refused():
    with pytest.raises(ValueError, match="no diagram of 'lstm'; there are RNN, LSTM, GRU"):
        cell("lstm")
