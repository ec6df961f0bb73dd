"""The peers: one recurrent layer in each of the other libraries, from torch's weights, each in a process of its own.

In one process, idle threads of one library would spin on the cores of another, and a setting made once (the
backend of Keras, or whether new threads of torch flush denormals) would hold for all.  A process is asked to make a
layer, to compute with it, and to time a number of calls with its own clock; between requests it sleeps.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: weight_ih (G*H, I), weight_hh (G*H, H), bias_ih (G*H), bias_hh (G*H): torch's names, order i f g o and r z n.
Weights = dict[str, np.ndarray]


@dataclass
class Task:
    """One layer, its input x (T, B, I), and the gradient dy (T, B, H) of its output."""

    cell: str
    weights: Weights
    x: np.ndarray
    dy: np.ndarray


@dataclass
class Layer:
    """A layer: inference returns y; training returns y and dx, and is None where the library cannot train."""

    inference: Callable[[], Any]
    training: Callable[[], tuple[Any, Any]] | None
    array: Callable[[Any], np.ndarray] = np.asarray


def torch_layer(task: Task, threads: int, library: str = "torch.nn") -> Layer:
    """torch.nn with its defaults, or unrolled.nn in its place."""
    import torch

    torch.set_num_threads(threads)
    nn = importlib.import_module(library)
    (GH, I), H = task.weights["weight_ih"].shape, task.weights["weight_hh"].shape[1]
    assert GH % H == 0
    layer = getattr(nn, task.cell)(I, H)
    layer.load_state_dict({f"{name}_l0": torch.from_numpy(w) for name, w in task.weights.items()})
    x, dy = torch.from_numpy(task.x), torch.from_numpy(task.dy)
    leaf = x.clone().requires_grad_()

    def inference() -> Any:
        with torch.no_grad():
            return layer(x)[0]

    def training() -> Any:
        layer.zero_grad(set_to_none=True)
        leaf.grad = None
        y = layer(leaf)[0]
        y.backward(dy)
        return y.detach(), leaf.grad

    return Layer(inference, training)


def unrolled_layer(task: Task, threads: int) -> Layer:
    """unrolled.nn."""
    return torch_layer(task, threads, "unrolled.nn")


def torch_flushed_layer(task: Task, threads: int) -> Layer:
    """torch.nn with denormals flushed to zero, set before the first thread starts, as the forums advise."""
    import torch

    torch.set_flush_denormal(True)
    return torch_layer(task, threads)


def jax_layer(task: Task, threads: int) -> Layer:
    """JAX: the input product of all steps at once, then lax.scan."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    x, dy = jnp.asarray(task.x), jnp.asarray(task.dy)
    weights = {name: jnp.asarray(w) for name, w in task.weights.items()}
    B, H = x.shape[1], weights["weight_hh"].shape[1]
    s = jax.nn.sigmoid

    def step(w: Any, state: Any, a: Any) -> Any:
        h, c = state
        if task.cell == "GRU":
            a_r, a_z, a_n = jnp.split(a, 3, axis=-1)
            h_r, h_z, h_n = jnp.split(h @ w["weight_hh"].T + w["bias_hh"], 3, axis=-1)
            r, z = s(a_r + h_r), s(a_z + h_z)
            n = jnp.tanh(a_n + r * h_n)
            h = (1 - z) * n + z * h
        else:
            a = a + h @ w["weight_hh"].T + w["bias_hh"]
            if task.cell == "LSTM":
                a_i, a_f, a_g, a_o = jnp.split(a, 4, axis=-1)
                c = s(a_f) * c + s(a_i) * jnp.tanh(a_g)
                h = s(a_o) * jnp.tanh(c)
            else:
                h = jnp.tanh(a)
        return (h, c), h

    def layer(w: Any, x: Any) -> Any:
        zeros = jnp.zeros((B, H), x.dtype)
        return lax.scan(lambda state, a: step(w, state, a), (zeros, zeros), x @ w["weight_ih"].T + w["bias_ih"])[1]

    return _jitted(layer, weights, x, dy)


def _jitted(layer: Callable[[Any, Any], Any], weights: Any, x: Any, dy: Any) -> Layer:
    """Both passes of y = layer(weights, x), each jitted whole."""
    import jax

    def both(weights: Any, x: Any, dy: Any) -> Any:
        y, back = jax.vjp(layer, weights, x)
        return y, back(dy)

    inference, training = jax.jit(layer), jax.jit(both)

    def gradients() -> Any:
        y, (_, dx) = jax.block_until_ready(training(weights, x, dy))
        return y, dx

    return Layer(lambda: jax.block_until_ready(inference(weights, x)), gradients)


def keras_layer(task: Task, threads: int) -> Layer:
    """Keras 3 on JAX: its own recurrent layer, jitted; it works batch first."""
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    def of_gates(w: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
        return np.concatenate([np.split(w, len(order))[g] for g in order])

    w, H = task.weights, task.weights["weight_hh"].shape[1]
    order = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}[task.cell]
    biases = [of_gates(w["bias_ih"], order), of_gates(w["bias_hh"], order)]
    kind = {"LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU, "RNN": keras.layers.SimpleRNN}[task.cell]
    layer = kind(H, return_sequences=True)
    x, dy = (jax.numpy.asarray(a.swapaxes(0, 1)) for a in (task.x, task.dy))
    layer.build(x.shape)
    kernels = [of_gates(w["weight_ih"], order).T, of_gates(w["weight_hh"], order).T]
    layer.set_weights([*kernels, np.stack(biases) if task.cell == "GRU" else sum(biases)])
    trained = [v.value for v in layer.trainable_variables]
    fixed = [v.value for v in layer.non_trainable_variables]

    def forward(trained: Any, x: Any) -> Any:
        return layer.stateless_call(trained, fixed, x)[0]

    run = _jitted(forward, trained, x, dy)
    run.array = lambda a: np.asarray(a).swapaxes(0, 1)
    return run


def onnx_layer(task: Task, threads: int) -> Layer:
    """ONNX Runtime: its LSTM, GRU or RNN operator; inference only."""
    session = onnx_session(task.cell, task.weights, threads)
    return Layer(lambda: session.run(["y"], {"x": task.x})[0][:, 0], None)


def onnx_session(cell: str, weights: Weights, threads: int, states: bool = False) -> Any:
    """Return a session of one operator, from x (T, B, I) to y (T, 1, B, H), with h_0, c_0 and h_n, c_n if asked."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    H = weights["weight_hh"].shape[1]
    order = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}[cell]  # ONNX: i o f c; z r h

    def of_gates(w: np.ndarray) -> np.ndarray:
        return np.concatenate([np.split(w, len(order))[g] for g in order])[None]

    W, R = of_gates(weights["weight_ih"]), of_gates(weights["weight_hh"])
    bias = np.concatenate([of_gates(weights["bias_ih"]), of_gates(weights["bias_hh"])], axis=1)
    constants = [onnx.numpy_helper.from_array(a, name) for name, a in (("W", W), ("R", R), ("bias", bias))]
    begin = (["h_0", "c_0"] if cell == "LSTM" else ["h_0"]) if states else []
    end = (["h_n", "c_n"] if cell == "LSTM" else ["h_n"]) if states else []
    more = {"linear_before_reset": 1} if cell == "GRU" else {}
    names = ["x", "W", "R", "bias", *(["", *begin] if states else [])]
    node = helper.make_node(cell, names, ["y", *end], hidden_size=H, **more)

    def described(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [described("x", ["T", "B", W.shape[2]]), *(described(name, [1, "B", H]) for name in begin)]
    outputs = [described("y", ["T", 1, "B", H]), *(described(name, [1, "B", H]) for name in end)]
    graph = helper.make_graph([node], cell, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # spin during a call, not between calls
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


#: Peers by the names of the tables.
MAKERS: dict[str, Callable[[Task, int], Layer]] = {
    "torch": torch_layer,
    "torch, flushed": torch_flushed_layer,
    "JAX": jax_layer,
    "Keras": keras_layer,
    "ONNX Runtime": onnx_layer,
}


#: Ourselves, where the other end of a comparison must be a process, too.
OURS = {"unrolled": unrolled_layer}


def _serve(connection: Any, name: str, threads: int) -> None:
    """Answer requests until the parent process closes the connection."""
    gc.disable()
    layer: Layer | None = None
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            what, *given = connection.recv()
            try:
                if what == "make":
                    layer = (MAKERS | OURS)[name](given[0], threads)
                    gc.collect()
                    found: Any = {"inference": layer.array(layer.inference())}
                    if layer.training is not None:
                        y, dx = layer.training()
                        found |= {"y": layer.array(y), "dx": layer.array(dx)}
                else:
                    body = getattr(layer, given[0])
                    start = time.perf_counter()
                    for _ in range(given[1]):
                        body()
                    found = time.perf_counter() - start
            except ImportError as problem:
                found = problem
            except Exception as problem:  # the table gives the library's own message as the reason
                found = RuntimeError(f"{type(problem).__name__}: {problem}")
            connection.send(found)


class Elsewhere:
    """A peer in a process of its own.

    Args: one of `MAKERS` or `OURS`, the number of threads.
    """

    def __init__(self, name: str, threads: int):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, threads), daemon=True)
        self._process.start()
        theirs.close()

    def make(self, task: Task) -> dict[str, np.ndarray]:
        """Make the layer; return its results: inference, and y and dx where it can train.

        Raises: ImportError if the library is missing; RuntimeError with the library's message.
        """
        return self._ask("make", task)  # type: ignore[no-any-return]

    def body(self, phase: str) -> ElsewhereBody:
        """Return the layer's "inference" or "training", to be timed."""
        return ElsewhereBody(self, phase)

    def begin(self, phase: str, calls: int) -> None:
        """Begin to time a number of calls, and return at once."""
        self._connection.send(("time", phase, calls))

    def end(self) -> float:
        """Wait for what was begun; return its seconds."""
        return float(self._answer())

    def _ask(self, *request: Any) -> Any:
        self._connection.send(request)
        return self._answer()

    def _answer(self) -> Any:
        found = self._connection.recv()
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()


@dataclass(frozen=True)
class ElsewhereBody:
    """One pass of a peer, timed by its own process."""

    peer: Elsewhere
    phase: str

    def __call__(self) -> float:
        return self.seconds(1)

    def seconds(self, calls: int, after: float = 0.0) -> float:
        """Run a number of times, `after` this many seconds of rest; return the seconds in total."""
        time.sleep(after)
        return float(self.peer._ask("time", self.phase, calls))
