"""C99: one header that holds the weights of a network and steps it, without libraries and without allocation.

Weights stand column after column, because the rows of a product, the units, are the lanes of a vector; each gate is
padded to whole vectors, with zeros that no unit reads.  The equations are those of docs/notation.md, the polynomials
those of csrc/math-inl.h.  The templates are in the folder `c`.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import check_value
from unrolled.core.int8 import quantised
from unrolled.formats.c_source import array, constants, filled, named, strings
from unrolled.formats.network_of import FormatError, Source, network_from, refuse, refuse_not_finite
from unrolled.notation import CELLS, cell_name, gate_count
from unrolled.saved.atomic_files import write_file
from unrolled.saved.network import Layer, Network

Array = NDArray[Any]


def to_c(
    source: Source, path: str | Path, *, weights: Literal["float32", "int8"] | None = None, name: str | None = None
) -> None:
    """Write a network as a C header with `NAME_reset(state)` and `NAME_step(state, x, y)`.

    Args:
        source: the network; its layers run forward, and its head reads every step.  One of float64 computes in double.
        path: of the header.
        weights: "int8" for matrices of whole numbers with one scale per row; what symbols look up, and sums, stay as
            they are.  If left out, as the network is saved: in int8, or else in float32, to which bfloat16 widens
            exactly.
        name: what all names in the header begin with; by default that of the file, with ``model_`` before it if it
            begins as no name in C does.
    Raises: FormatError if a header cannot hold the network, before anything is written.

    >>> import tempfile
    >>> from unrolled.notation import Weights
    >>> network = Network((Layer("RNN_TANH", (Weights(np.ones((2, 3)), np.eye(2)),)),))
    >>> path = Path(tempfile.mkdtemp(), "amp.h")
    >>> to_c(network, path)
    >>> path.read_text().splitlines()[4]
    ' *   amp_step(&s, x, y);        reads x[3], gives y[2]: what the last layer gives'
    """
    network = network_from(source)
    if weights is None:
        weights = "int8" if network.narrow == "int8" else "float32"
    name = _name_of(Path(path)) if name is None else name
    check_value("name", name, str)
    _check(network, weights, name)
    write_file(path, _Header(network, weights == "int8").source(name).encode())


def _name_of(path: Path) -> str:
    """Return a name in C for a file.

    >>> _name_of(Path("a-b.h")), _name_of(Path("2026-11-27.h"))
    ('a_b', 'model_2026_11_27')
    """
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    return name if name[:1].isalpha() else f"model_{name}"


def _check(network: Network, weights: str, name: str) -> None:
    if weights not in ("float32", "int8"):
        raise ValueError(f"weights is {weights!r}; it must be one of float32, int8")
    if not re.fullmatch(r"[A-Za-z]\w*", name, flags=re.ASCII):
        raise FormatError(f"{name!r} is no name in C: give a name of letters, digits and _ that begins with a letter")
    if weights == "int8" and network.dtype == np.float64:
        raise FormatError("a C header cannot hold float64 weights in int8: leave them, or give a network of float32")
    refuse(
        "a C header",
        network,
        two_ways="it reads from the end, and a step knows only what came before",
        last="no step knows that it is the last; let the head read each step, and take its last output",
    )
    refuse_not_finite("a C header", network)


class _Header:
    """The header of one network; sizes, state, arrays and steps are collected layer by layer."""

    def __init__(self, network: Network, int8: bool):
        self.network, self.int8 = network, int8
        self.constants = constants(network.dtype.name)
        wide = network.dtype == np.float32 and all(_padded(layer.H, 8) % 16 == 0 for layer in network.layers)
        self.lanes = 16 if wide else 8  # at most; no vector is wider than a padded gate
        self.x = "int x" if network.reads_symbols else f"const {self.constants['real']} *x"
        self.sizes = {"inputs": network.I, "outputs": network.width}
        self.columns = 0  #: of the widest matrix in int8
        self.state: list[str] = []
        self.reset: list[str] = []
        self.arrays: list[str] = []
        self.steps: list[str] = []

    def source(self, name: str) -> str:
        """Return the whole header."""
        network = self.network
        layers = "".join(self._layer(l, layer) for l, layer in enumerate(network.layers)) + self._head()
        if network.text is not None:
            self._array("start", "net_inputs", network.text.start.astype(network.dtype))
            self.arrays.append("$symbols")
        parts = _described(network, self.int8) | {
            "sizes": ",\n".join(f"  net_{size} = {n}" for size, n in self.sizes.items()),
            "state": "\n".join(self.state),
            "x": self.x,
            "real": self.constants["real"],
            "include": _INCLUDE if self.int8 else "",
            "vectors": filled("vectors.h", **self.constants, widest=self.lanes * network.dtype.itemsize),
            "functions": self._functions(),
            "arrays": "\n".join(self.arrays),
            "layers": layers.rstrip("\n") + "\n",
            "reset": "".join(self.reset),
            "steps": "\n".join(self.steps),
        }
        header = named(filled("header.h", **parts), name)
        if network.text is None:
            return header
        return Template(header).substitute(symbols=strings(name, f"{name}_inputs", network.text.vocabulary))

    def _layer(self, l: int, layer: Layer) -> str:
        """Return the function of a layer; its weights go to the arrays, its call to the steps."""
        self._sizes_and_state(l, layer)
        U = self.sizes[f"U{l}"]
        W_ih, W_hh, b = _rows(layer.biased(), U)
        rows, P = _times(len(W_ih) // U, f"net_U{l}"), f"net_{'P' if layer.is_projected else 'H'}{l}"
        self._array(f"b{l}", _times(len(b) // U, f"net_U{l}"), b)
        if l == 0 and self.network.one_hot:
            self._array("W_ih0", f"net_I0 * {rows}", W_ih.T)
            x, reads = self.x, f"net_add(a, net_W_ih0 + x * {rows}, {rows});"
        else:
            W = self._matrix(f"W_ih{l}", W_ih, f"net_I{l}", rows)
            x, reads = "const net_real *x", f"net_product(a, {W}, x, net_I{l}, {rows});"
        W = self._matrix(f"W_hh{l}", W_hh, P, rows)
        hidden = f"net_product({'a + net_U' + str(l) if layer.kind == 'GRU' else 'a'}, {W}, h, {P}, {rows});"
        template, parts = _TEMPLATES[layer.kind]
        if layer.kind.startswith("LSTM"):
            parts = self._peepholes(l, layer) | self._projection(l, layer)
        below = f"s->h{l - 1}" if l else self._first()
        self.steps.append(f"  net_layer{l}(s, {below});")
        return filled(template, l=l, x=x, reads=reads, hidden=hidden, unit=self.constants["unit"], **parts) + "\n"

    def _sizes_and_state(self, l: int, layer: Layer) -> None:
        widths = {"h": "U", "c": "U"}
        self.sizes |= {f"I{l}": layer.I, f"H{l}": layer.H, f"U{l}": _padded(layer.H, self.lanes)}
        if layer.is_projected:
            self.sizes |= {f"P{l}": layer.P, f"O{l}": _padded(layer.P, self.lanes)}
            widths["h"] = "O"
        for k, (state, n) in enumerate(zip(CELLS[layer.kind].states, layer.state_widths(), strict=True)):
            size = f"net_{widths[state]}{l}"
            self.state.append(f"  {self.constants['real']} {state}{l}[{size}];")
            if layer.initial is not None:
                self._array(f"initial_{state}{l}", size, _gates(layer.initial[0][k], 1, _padded(n, self.lanes)))
                self.reset.append(f"\n  memcpy(s->{state}{l}, net_initial_{state}{l}, sizeof s->{state}{l});")

    def _peepholes(self, l: int, layer: Layer) -> dict[str, str]:
        """Return the terms that peepholes add, in code and in the equations above it."""
        p = layer.directions[0].p
        terms = {f"{part}_{gate}": "" for part in ("peep", "equation") for gate in "ifo"}
        if p is None:
            return terms | {"variant": ""}
        for k, (gate, c) in enumerate((("i", "c_prev"), ("f", "c_prev"), ("o", "c_next"))):
            terms[f"peep_{gate}"] = f" + net_load(net_p{l} + {k} * net_U{l} + j) * {c}"
            terms[f"equation_{gate}"] = f" + p_{gate} {c}"
        self._array(f"p{l}", f"3 * net_U{l}", _gates(p, 3, self.sizes[f"U{l}"]))
        return terms | {"variant": " with peepholes"}

    def _projection(self, l: int, layer: Layer) -> dict[str, str]:
        """Return where o tanh(c) goes: to h, or through W_hr."""
        W_hr = layer.directions[0].W_hr
        if W_hr is None:
            return {"equation_h": "o tanh(c)", "out": "h", "declared": "", "project": ""}
        W = self._matrix(f"W_hr{l}", _gates(W_hr, 1, self.sizes[f"O{l}"]), f"net_H{l}", f"net_O{l}")
        return {
            "equation_h": "W_hr (o tanh(c))",
            "out": "m",
            "declared": f"\n  net_real m[net_U{l}] NET_ALIGNED;",
            "project": f"\n  memset(h, 0, sizeof s->h{l});\n  net_product(h, {W}, m, net_H{l}, net_O{l});",
        }

    def _first(self) -> str:
        """Return what the first layer reads, in a step."""
        E = self.network.embedding
        if E is None:
            return "x"
        self._array("E", "net_inputs * net_I0", E)
        return "net_E + x * net_I0"

    def _head(self) -> str:
        """Return the function of the head, if there is one; what gives y goes to the steps."""
        head, last = self.network.head, len(self.network.layers) - 1
        if head is None:
            self.steps.append(f"  memcpy(y, s->h{last}, net_outputs * sizeof *y);")
            return ""
        V = self.sizes["V"] = _padded(len(head.W), self.lanes)
        b = np.zeros(len(head.W), head.W.dtype) if head.b is None else head.b
        self._array("b_y", "net_V", _gates(b, 1, V))
        P = f"net_{'P' if self.network.layers[-1].is_projected else 'H'}{last}"
        W = self._matrix("W_y", _gates(head.W, 1, V), P, "net_V")
        self.steps.append(f"  net_head(s->h{last}, y);")
        product, softmax = f"net_product(a, {W}, h, {P}, net_V);", "\n  net_softmax(a, net_outputs, net_V);"
        equation = "softmax(W_y h + b_y)" if head.softmax else "W_y h + b_y"
        return filled("head.h", product=product, softmax=softmax if head.softmax else "", equation=equation) + "\n"

    def _functions(self) -> str:
        """Return the functions that the layers and the head call."""
        network, parts = self.network, ["exp.h"]
        kinds = {layer.kind for layer in network.layers}
        parts += ["sigmoid.h"] * any(CELLS[kind].sigmoids for kind in kinds)
        parts += ["tanh.h"] * (kinds != {"RNN_RELU"})
        parts += ["relu.h"] * ("RNN_RELU" in kinds)
        parts += ["softmax.h"] * (network.head is not None and network.head.softmax)
        if parts == ["exp.h", "relu.h"]:
            parts = ["relu.h"]
        parts += ["int8.h", "rows_int8.h", "digits.h"] if self.int8 else ["rows.h"]
        parts += ["product.h"] + ["add.h"] * network.one_hot
        product = _PRODUCTS[self.int8] | {"columns": str(_padded(self.columns, 16))}
        return "\n".join(filled(part, **self.constants, **product) for part in parts)

    def _matrix(self, name: str, W: Array, columns: str, rows: str) -> str:
        """Add the array of a matrix (rows, columns), and return what `net_product` takes for it."""
        size = f"{columns} * {rows}"
        if not self.int8:
            self._array(name, size, W.T)
            return f"net_{name}"
        self.columns = max(self.columns, W.shape[1])
        q, scale = quantised(W)
        self._array(name, f"(({columns} + 3) / 4 * {rows})", _words(q))
        self._array(f"scale_{name}", rows, scale.astype(W.dtype))
        return f"net_{name}, net_scale_{name}"

    def _array(self, name: str, size: str, values: Array) -> None:
        self.arrays.append(array(f"net_{name}", size, values))


#: By kind, its template, and its parts if they are always the same.
_TEMPLATES: dict[str, tuple[str, dict[str, str]]] = {
    "RNN_TANH": ("rnn.h", {"activation": "tanh"}),
    "RNN_RELU": ("rnn.h", {"activation": "relu"}),
    "LSTM": ("lstm.h", {}),
    "LSTM_PEEPHOLE": ("lstm.h", {}),
    "GRU": ("gru.h", {}),
}
#: How a product takes its matrix: of numbers, or in int8.
_PRODUCTS = (
    {"W": "const net_real *W", "all_of_W": "W", "W_from_r": "W + r", "W_from_k": "W + k * R", "many": ""},
    {
        "W": "const uint32_t *W, const net_real *scale",
        "all_of_W": "W, scale",
        "W_from_r": "W + r, scale + r",
        "W_from_k": "W + k / 4 * R, scale",
        "many": """
#if NET_DIGITS
  if (N >= 32 && N <= 65536) { /* fewer are not worth it, and of more the sums might overflow */
    net_digit_product(a, W, scale, x, N, R);
    return;
  }
#endif""",
    },
)
#: What the header includes besides, in int8.
_INCLUDE = """
#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif"""


def _rows(layer: Layer, U: int) -> tuple[Array, Array, Array]:
    """Return W_ih, W_hh and b of a layer, each gate padded to U rows, with one bias where the cell has one.

    Those of a GRU are the rows of n r z, of r z n, and of n r z m, where m = W_hn h + b_hn.
    """
    weights, G = layer.directions[0], gate_count(layer.kind)
    W_ih, W_hh, b_ih, b_hh = (_gates(w, G, U) for w in weights[:4])
    if layer.kind != "GRU":
        return W_ih, W_hh, b_ih + b_hh
    n_first = np.r_[2 * U : 3 * U, : 2 * U]
    b = np.concatenate([b_ih[2 * U :], (b_ih + b_hh)[: 2 * U], b_hh[2 * U :]])
    return W_ih[n_first], W_hh, b


def _gates(w: Array, G: int, U: int) -> Array:
    """Return G blocks of rows, each padded with zeros to U.

    >>> _gates(np.array([1, 2]), 2, 3).tolist()
    [1, 0, 0, 2, 0, 0]
    """
    blocks = w.reshape(G, len(w) // G, *w.shape[1:])
    pad = [(0, 0), (0, U - blocks.shape[1]), *((0, 0) for _ in w.shape[1:])]
    return np.pad(blocks, pad).reshape(G * U, *w.shape[1:])


def _words(q: NDArray[np.int8]) -> NDArray[np.uint32]:
    """Return q (rows, columns) as words (columns / 4, rows) of four columns each, the first in the low byte.

    >>> [f"{word:08x}" for word in _words(np.array([[1, 2, 3, 4, -1]], np.int8)).ravel()]
    ['04030201', '000000ff']
    """
    filled_up = np.pad(q, ((0, 0), (0, -q.shape[1] % 4)))
    columns = np.ascontiguousarray(filled_up.reshape(len(q), -1, 4).transpose(1, 0, 2))
    return columns.view("<u4")[..., 0].astype(np.uint32)


def _padded(n: int, lanes: int) -> int:
    return -(-n // lanes) * lanes


def _times(count: int, size: str) -> str:
    return size if count == 1 else f"({count} * {size})"


def _described(network: Network, int8: bool) -> dict[str, str]:
    """Return what the comment at the head of the file says."""
    kinds = ", ".join(f"{cell_name(layer.kind)} {layer.H}" for layer in network.layers)
    head, real = network.head, "double" if network.dtype == np.float64 else "float"
    given = "what the last layer gives"
    if head is not None:
        given = "probabilities" if head.softmax else "logits" if network.text else "what the head gives"
    return {
        "what": f"{kinds}" + ("" if head is None else f", and a head of {len(head.W)}"),
        "reads": f"a symbol x from 0 to {network.I - 1}" if network.reads_symbols else f"x[{network.I}]",
        "gives": f"y[{network.width}]",
        "meaning": given,
        "state_0": "zeros" if all(layer.initial is None for layer in network.layers) else "the learned initial state",
        "weights": f"{real}, matrices in int8 with one scale a row" if int8 else real,
    }
