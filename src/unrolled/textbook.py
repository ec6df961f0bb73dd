"""The textbook's three networks in plain NumPy, as they stand on the page: one symbol at a time, every step by hand.

They are for reading and for lectures; :mod:`unrolled.nn` has the same equations in batches, and fast.  V symbols, H
hidden units.  docs/learn walks through this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy import exp, log, outer, tanh
from numpy.typing import NDArray

Vector = NDArray[Any]


def sigmoid(a: Vector) -> Vector:
    """Return 1 / (1 + exp(-a)), in a form that cannot overflow."""
    return 0.5 + 0.5 * tanh(0.5 * a)


def log_softmax(y: Vector) -> Vector:
    """Return y - log(sum of exp(y)): the logarithms of the probabilities that the logits y (V) stand for.

    >>> loss = -log_softmax(np.array([-1.2366e-4, 1.7240e-4]))[0]
    >>> f"{loss:.4f}"
    '0.6933'
    """
    y = y - y.max()  # the same probabilities, and exp cannot overflow
    return y - log(exp(y).sum())  # type: ignore[no-any-return]


class OneHotNetwork:
    """What the three share: one-hot symbols in, a hidden state, logits of the next symbol out.

    Every parameter is an attribute by its name in the equations, its gradient `d[name]`.

    Args: the symbols of the data; H; the seed of the first weights, uniform in +-1/sqrt(H).

    >>> net = RNN("ab", H=3)
    >>> net.one_hot("b"), net.one_hot("?")
    (array([0., 1., 0., 0.]), array([0., 0., 0., 1.]))
    """

    def __init__(self, symbols: Iterable[str], H: int, seed: int = 0):
        self.symbols, self.H = [*symbols, "EOS", "UNK"], H
        V, rng = len(self.symbols), np.random.default_rng(seed)
        shapes = self.shapes(V, H) | {"W_hy": (V, H), "b_y": (V,)}
        self.d: dict[str, Vector] = {name: np.zeros(shape) for name, shape in shapes.items()}
        for name, shape in shapes.items():
            setattr(self, name, rng.uniform(-1, 1, shape) / H**0.5)

    def one_hot(self, symbol: str) -> Vector:
        """Return the vector (V) with a 1 in the place of a symbol; one that is unknown is read as UNK."""
        known = symbol if symbol in self.symbols else "UNK"
        return np.eye(len(self.symbols))[self.symbols.index(known)]  # type: ignore[no-any-return]

    def forward(self, sequence: Sequence[str]) -> tuple[list[Vector], list[Any]]:
        """Read a sequence from a state of zeros; return the logits y_t (V) of each step, and what `backward` needs."""
        logits, kept, state = [], [], self.zeros()
        for symbol in sequence:
            x, before = self.one_hot(symbol), state
            state, gates = self.step(x, *before)
            logits.append(self.W_hy @ state[0] + self.b_y)  # y_t = W_hy h_t + b_y
            kept.append((x, before, state, gates))
        return logits, kept

    def loss(self, sequence: Sequence[str]) -> float:
        """Return the mean over the steps of -log softmax(y_t)[next symbol], in nats."""
        logits, targets = self.forward(sequence[:-1])[0], map(self.one_hot, sequence[1:])
        return float(np.mean([-log_softmax(y) @ target for y, target in zip(logits, targets, strict=True)]))

    def backward(self, sequence: Sequence[str]) -> None:
        """Add the gradients of the loss to `d`, from the last step to the first: backpropagation through time."""
        logits, kept = self.forward(sequence[:-1])
        dstate = self.zeros()
        for y, symbol, (x, before, state, gates) in [*zip(logits, sequence[1:], kept, strict=True)][::-1]:
            dy = (exp(log_softmax(y)) - self.one_hot(symbol)) / len(logits)
            self.d["W_hy"] += outer(dy, state[0])
            self.d["b_y"] += dy
            dh = dstate[0] + self.W_hy.T @ dy  # from the next step, and from this step's logits
            dstate = self.step_back(x, before, state, gates, dh, *dstate[1:])

    def zeros(self) -> tuple[Vector, ...]:
        """Return the state before the first step."""
        return (np.zeros(self.H),)

    def __getattr__(self, name: str) -> Any:  # what setattr gave it is found before this is asked
        raise AttributeError(f"{type(self).__name__} has no {name!r}; its parameters are {', '.join(self.d)}")


class RNN(OneHotNetwork):
    """The simple recurrent network."""

    def shapes(self, V: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of the cell."""
        return {"W_xh": (H, V), "W_hh": (H, H), "b_h": (H,)}

    def step(self, x: Vector, h: Vector) -> tuple[Any, Any]:
        """Return the state after x (V), and the gates, of which there are none."""
        return (tanh(self.W_xh @ x + self.W_hh @ h + self.b_h),), ()

    def step_back(self, x: Vector, before: Any, state: Any, gates: Any, dh: Vector) -> tuple[Vector, ...]:
        """Add the gradients of one step to `d`; return that of the state before it."""
        da = dh * (1 - state[0] ** 2)
        self.d["W_xh"] += outer(da, x)
        self.d["W_hh"] += outer(da, before[0])
        self.d["b_h"] += da
        return (self.W_hh.T @ da,)


class GatedNetwork(OneHotNetwork):
    """What LSTM and GRU share: blocks of weights W_ik, W_hk, b_ik, b_hk, one for each gate k."""

    gates: str

    def shapes(self, V: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of the cell."""
        kinds = {"W_i": (H, V), "W_h": (H, H), "b_i": (H,), "b_h": (H,)}
        return {kind + gate: shape for kind, shape in kinds.items() for gate in self.gates}

    def gate_back(self, gate: str, x: Vector, h: Vector, da_i: Vector, da_h: Vector) -> Vector:
        """Add the gradients of one gate's weights, from those of W_i x + b_i and of W_h h + b_h; return that of h."""
        self.d[f"W_i{gate}"] += outer(da_i, x)
        self.d[f"b_i{gate}"] += da_i
        self.d[f"W_h{gate}"] += outer(da_h, h)
        self.d[f"b_h{gate}"] += da_h
        back: Vector = getattr(self, f"W_h{gate}").T @ da_h
        return back


class LSTM(GatedNetwork):
    """Long short-term memory."""

    gates = "ifgo"

    def zeros(self) -> tuple[Vector, ...]:
        """Return h and c before the first step."""
        return np.zeros(self.H), np.zeros(self.H)

    def step(self, x: Vector, h: Vector, c: Vector) -> tuple[Any, Any]:
        """Return h and c after x (V), and the gates."""
        i = sigmoid(self.W_ii @ x + self.b_ii + self.W_hi @ h + self.b_hi)
        f = sigmoid(self.W_if @ x + self.b_if + self.W_hf @ h + self.b_hf)
        g = tanh(self.W_ig @ x + self.b_ig + self.W_hg @ h + self.b_hg)
        o = sigmoid(self.W_io @ x + self.b_io + self.W_ho @ h + self.b_ho)
        c = f * c + i * g
        h = o * tanh(c)
        return (h, c), (i, f, g, o)

    def step_back(self, x: Vector, before: Any, state: Any, gates: Any, dh: Vector, dc: Vector) -> tuple[Vector, ...]:
        """Add the gradients of one step to `d`; return those of h and c before it."""
        (h_prev, c_prev), (i, f, g, o), tanh_c = before, gates, tanh(state[1])
        dc = dc + dh * o * (1 - tanh_c**2)
        di, df, dg, do = dc * g, dc * c_prev, dc * i, dh * tanh_c
        da = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)
        return sum(self.gate_back(k, x, h_prev, a, a) for k, a in zip("ifgo", da, strict=True)), dc * f  # type: ignore[return-value]


class GRU(GatedNetwork):
    """The gated recurrent unit."""

    gates = "rzn"

    def step(self, x: Vector, h: Vector) -> tuple[Any, Any]:
        """Return the state after x (V), and the gates."""
        r = sigmoid(self.W_ir @ x + self.b_ir + self.W_hr @ h + self.b_hr)
        z = sigmoid(self.W_iz @ x + self.b_iz + self.W_hz @ h + self.b_hz)
        n = tanh(self.W_in @ x + self.b_in + r * (self.W_hn @ h + self.b_hn))
        return ((1 - z) * n + z * h,), (r, z, n)

    def step_back(self, x: Vector, before: Any, state: Any, gates: Any, dh: Vector) -> tuple[Vector, ...]:
        """Add the gradients of one step to `d`; return that of the state before it."""
        (h_prev,), (r, z, n) = before, gates
        da_n, dz = dh * (1 - z) * (1 - n**2), dh * (h_prev - n)
        dr = da_n * (self.W_hn @ h_prev + self.b_hn)
        da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)
        da = ("r", da_r, da_r), ("z", da_z, da_z), ("n", da_n, da_n * r)
        return (dh * z + sum(self.gate_back(k, x, h_prev, *a) for k, *a in da),)


def train(net: OneHotNetwork, sequences: Sequence[Sequence[str]], steps: int, rate: float = 0.5) -> list[float]:
    """Descend the gradient of the mean loss over the sequences; return that loss, in nats, before each step.

    A gradient longer than 1 is shortened to 1, so that an exploding gradient destroys nothing.
    """
    losses = []
    for _ in range(steps):
        losses.append(float(np.mean([net.loss(sequence) for sequence in sequences])))
        for gradient in net.d.values():
            gradient[...] = 0
        for sequence in sequences:
            net.backward(sequence)
        length = sum((gradient**2).sum() for gradient in net.d.values()) ** 0.5 / len(sequences)
        for name, gradient in net.d.items():
            setattr(net, name, getattr(net, name) - rate / max(1.0, length) * gradient / len(sequences))
    return losses
