"""Flax modules that are a line of its layers, written in the ways in which people write them: read right, or asked for.

What each layer reads is asked of Flax itself, which traces the module without computing anything.
"""

import random
import re

import numpy as np
import pytest

from unrolled.formats.arrays import write_arrays
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_flax

jax = pytest.importorskip("jax", reason="the modules are those of Flax")
pytest.importorskip("flax", reason="the modules are those of Flax")
import flax.linen as nn  # noqa: E402
from flax.traverse_util import flatten_dict  # noqa: E402

LAYERS = nn.RNN | nn.Bidirectional
CELLS = {"lstm": nn.OptimizedLSTMCell, "plain": nn.LSTMCell, "gru": nn.GRUCell}
#: Names that people give, by what bears them; a dense layer that is not the last is called none of the last.
NAMES = {
    "embed": ["embed", "embedding", "tok", "encoder"],
    "dense": ["dense", "fc", "proj", "linear", "Dense_x"],
    "last": ["head", "out", "fc", "dense", "linear"],
    "rnn": ["rnn", "lstm", "encoder", "decoder", "layer", "cells"],
    "both": ["bi", "bilstm", "encoder"],
}
STYLES = ["compact", "made before", "nested", "list", "sequential", "attributes"]


def built(part, name):
    """Return the layer of a part; its name is None where Flax gives one."""
    kind, cell, outputs = part
    if kind == "embed":
        return nn.Embed(cell, outputs, name=name)
    if kind == "rnn":
        return nn.RNN(CELLS[cell](outputs), name=name)
    if kind == "both":
        return nn.Bidirectional(*(nn.RNN(CELLS[cell](outputs)) for _ in range(2)), name=name)
    return nn.Dense(outputs, use_bias=cell, name=name)


class Compact(nn.Module):
    """A line that is made where it is called; `nested` makes the last layer first."""

    parts: tuple
    names: tuple
    style: str

    @nn.compact
    def __call__(self, x):
        if self.style == "nested":
            return self.after(len(self.parts) - 1, x)
        layers = map(built, self.parts, self.names)
        for layer in [*layers] if self.style == "made before" else layers:
            x = layer(x)
        return x

    def after(self, last, x):
        return built(self.parts[last], self.names[last])(self.after(last - 1, x)) if last >= 0 else x


class Setup(nn.Module):
    """A line that is made before it is called: a list, a Sequential or one attribute each."""

    parts: tuple
    names: tuple
    style: str

    def setup(self):
        line = [built(part, None) for part in self.parts]
        if self.style == "list":
            self.layers = line
        elif self.style == "sequential":
            self.net = nn.Sequential(line)
        else:
            for name, layer in zip(self.names, line, strict=True):
                setattr(self, name, layer)

    def __call__(self, x):
        if self.style == "sequential":
            return self.net(x)
        for layer in self.layers if self.style == "list" else [getattr(self, name) for name in self.names]:
            x = layer(x)
        return x


def line(rng, style):
    """Return the parts of a line, their names, and the width that it reads, 0 if it reads symbols."""
    parts, width = [], rng.randint(2, 4)
    reads = 0 if rng.random() < 0.4 else width
    if not reads:
        parts.append(("embed", rng.randint(2, 5), width))
    if rng.random() < 0.25:
        parts.append(("dense", rng.random() < 0.7, rng.randint(2, 5)))
    kinds = [rng.choice(["rnn", "rnn", "rnn", "both"]) for _ in range(rng.choice([1, 1, 2, 2, 3, 4]))]
    parts += [(kind, rng.choice([*CELLS]), rng.randint(2, 3)) for kind in kinds]
    parts += [("dense", rng.random() < 0.8, rng.randint(2, 5)) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
    names = []
    for k, (kind, *_) in enumerate(parts):
        pool = NAMES["last" if kind == "dense" and k == len(parts) - 1 else kind]
        name = rng.choice([*pool, *(f"{each}_{k}" for each in pool)])
        own = style in ("compact", "made before", "nested") and rng.random() < 0.7  # Flax gives it one
        names.append(None if own else name if name not in names else f"{name}{k}")
    return tuple(parts), tuple(names), reads


def traced(module, x):
    """Return the places of the layers in the order of their calls, those of both cells together, and the parameters."""
    order, inside = [], []

    def watch(call, args, kwargs, context):
        layer = context.module
        is_layer = context.method_name == "__call__" and isinstance(layer, nn.Embed | nn.Dense | LAYERS)
        if is_layer and not any(isinstance(each, LAYERS) for each in inside):
            both = [layer.forward_rnn, layer.backward_rnn] if isinstance(layer, nn.Bidirectional) else [layer]
            order.append(["/".join((each.cell if isinstance(each, nn.RNN) else each).path) for each in both])
        inside.append(layer)
        try:
            return call(*args, **kwargs)
        finally:
            inside.pop()

    with nn.intercept_methods(watch):
        shapes = jax.eval_shape(lambda key: module.init(key, x), jax.random.PRNGKey(0))
    return order, {"/".join(name): array.shape for name, array in flatten_dict(shapes).items()}


def first_matrices(order, parameters):
    """Return the matrix of each layer in the order of their calls, as a network here has them."""
    for place in (place for places in order for place in places):
        gates = [[f"{place}/i{gate}/kernel" for gate in gates] for gates in ("ifgo", "rzn")]
        found = next(
            names
            for names in [[f"{place}/embedding"], [f"{place}/kernel"], *gates]
            if f"params/{names[0]}" in parameters and f"params/{names[-1]}" in parameters
        )
        arrays = [parameters[f"params/{name}"] for name in found]
        yield arrays[0] if found[0].endswith("embedding") else np.concatenate([w.T for w in arrays])


def matrices(network):
    rows = [] if network.embedding is None else [network.embedding]
    rows += [direction.W_ih for layer in network.layers for direction in layer.directions]
    return rows if network.head is None else [*rows, network.head.W]


def is_network(parts):
    """Return whether a network here is such a line: at most one dense layer, at the end."""
    kinds = [kind for kind, *_ in parts]
    return "dense" not in kinds[:-1]


@pytest.mark.parametrize("style", STYLES)
def test_a_line_of_layers_is_read_right_or_asked_for(style, tmp_path):
    rng, read, asked, numbers = random.Random(style), 0, [], np.random.default_rng(0)
    for _ in range(12):
        parts, names, reads = line(rng, style)
        module = (Setup if style in ("list", "sequential", "attributes") else Compact)(parts, names, style)
        order, shapes = traced(module, np.zeros((2, 3, reads) if reads else (2, 3), np.float32 if reads else np.int32))
        parameters = {name: numbers.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        write_arrays(tmp_path / "x.npz", parameters)
        try:
            network = from_flax(tmp_path / "x.npz")
        except FormatError as error:
            asked.append((is_network(parts), str(error)))
            continue
        read += 1
        for found, expected in zip(matrices(network), first_matrices(order, parameters), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=f"{parts} {names}")
    assert read > 0
    assert [said for _, said in asked if not re.search("does not say how|do not fit|no network here is", said)] == []
    if style in ("list", "sequential"):  # all layers are numbered, whatever they are, so there is nothing to ask
        assert [said for is_one, said in asked if is_one] == []
