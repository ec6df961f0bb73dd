"""Calls of every entry of the core with something wrong in them: each is right or a Python exception.

    python -m tests.core.fuzz 100000 [seed]

Under the address sanitizer (`make asan`) a read or write out of bounds ends the process.  A call starts from one that
is right; a few of its arrays, numbers or tuples are then replaced by ones of another shape, type, stride, place in
memory or range.
"""

import json
import random
import sys
from contextlib import suppress

import numpy as np
import torch

from tests.core.cases import DTYPES, KINDS, make
from unrolled import _core
from unrolled.core.fields import GradientTensors, HeadPass, LayerTensors, Layout, LinearPass, Weights
from unrolled.nn import fused
from unrolled.nn.fused import computed
from unrolled.notation import CELLS, has_cell_state

#: What a call that does not fit may raise.
EXPECTED = (ValueError, TypeError, IndexError, RuntimeError, MemoryError, SystemError, OverflowError)


def bytes_of(t):
    return t.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def small(rng):
    return rng.choice([0, 1, 2, 3, 5, 17])


def with_one_other(rng, t):
    """A tensor of integers with one of them replaced by a number that may be out of range."""
    changed = t.clone().flatten()
    changed[rng.randrange(len(changed))] = rng.choice([-1, 1, 4, 7, 10**12, -(2**63), 2**63 - 1])
    return changed.view(t.shape)


def half_of(t, both, freed=False):
    """The second half of a tensor that has no memory, or soon has none: a view that begins behind null."""
    half = both[1]
    if freed:
        both.untyped_storage().resize_(0)
    return half


def otherwise(rng, t):
    """Something else in the place of a tensor or of None."""
    if t is None:
        return rng.choice([torch.zeros(small(rng)), torch.zeros(2, 3, 5), 3])
    axis = rng.randrange(t.dim()) if t.dim() else 0
    length = t.shape[axis] if t.dim() else 1
    freed = t.clone()
    freed.untyped_storage().resize_(0)
    changes = [
        lambda: None,
        lambda: t.narrow(axis, 0, max(length - 1, 0)),
        lambda: torch.cat([t, t], axis),
        lambda: t.double() if t.dtype != torch.float64 else t.float(),
        lambda: t.to(rng.choice([torch.int32, torch.float16, torch.bool, torch.complex64])),
        lambda: t.mT.contiguous().mT if t.dim() > 1 else t.flip(0),
        lambda: t.narrow(axis, 0, 1).expand(t.shape) if length else t,
        lambda: torch.stack([t, t], -1)[..., 0],
        lambda: torch.frombuffer(bytearray(b"." + bytes_of(t)), dtype=t.dtype, offset=1).view(t.shape),
        lambda: torch._neg_view(t) if t.dtype != torch.bool else t,
        lambda: freed,
        lambda: half_of(t, torch.zeros(2, *t.shape, dtype=t.dtype), freed=True),
        lambda: half_of(t, torch._efficientzerotensor((2, *t.shape), dtype=t.dtype)),
        lambda: t.to("meta"),
        lambda: torch._efficientzerotensor(t.shape, dtype=t.dtype),
        lambda: t.to_sparse(),
        lambda: t[None],
        lambda: t.flatten(),
        lambda: t.new_zeros([small(rng) for _ in range(t.dim())]),
        lambda: as_array(t),
        lambda: rng.choice([0, -1, "x", (), [t]]),
    ]
    if t.dtype == torch.int64 and t.numel():
        changes += [lambda: with_one_other(rng, t)] * 7
    try:
        return rng.choice(changes)()
    except (RuntimeError, IndexError, ValueError):  # torch has no such tensor
        return t


def shaken(rng, fields, others):
    """The fields of a tuple, some of them otherwise; or one array in the place of another."""
    values = list(fields)
    for k, value in enumerate(values):
        chance = rng.random()
        if chance > 0.15 or isinstance(value, (list, bool)):
            continue
        values[k] = rng.choice(others) if chance < 0.03 else otherwise(rng, value)
    return tuple(values) if rng.random() > 0.02 else tuple(values[:-1])


def like_c(c_0):
    return None if c_0 is None else torch.randn_like(c_0)


def layer_call(rng):
    kind, dtype = rng.choice(KINDS), rng.choice(DTYPES)
    T, B, D = rng.choice([1, 2, 7]), rng.choice([1, 3]), rng.choice([1, 2])
    case = make(kind, dtype, T=T, B=B, I=rng.choice([1, 5]), H=rng.choice([2, 9]), D=D, one_hot=rng.random() < 0.4)
    layout = {}
    form = rng.choice(["", "lengths", "reset", "batch_sizes", "batch_first"])
    if form == "lengths":
        layout["lengths"] = torch.randint(0, T + 1, (B,))
    elif form == "reset":
        layout["reset"] = torch.rand(T, B) < 0.3
    elif form == "batch_sizes":
        layout["batch_sizes"] = torch.full((T,), B)
        case.x, case.dy = case.x.flatten(0, 1), case.dy.flatten(0, 1)
    elif form == "batch_first":
        layout["batch_first"] = True
        case.x, case.dy = case.x.transpose(0, 1).contiguous(), case.dy.transpose(0, 1).contiguous()
    layout = Layout(**layout)
    segment, save = rng.choice([0, 0, 1, 3, 10**9]), rng.random() < 0.5
    weights = [Weights(*w) for w in case.weights]
    y, h_n, c_n, saved = fused.results(case.kind, layout, case.x, weights, save or segment > 0, segment)
    layer = LayerTensors(case.x, case.h0, case.c0, weights, y, h_n, c_n, *(saved or ()))
    if form == "reset":
        layer = layer._replace(h_reset=torch.randn_like(case.h0), c_reset=like_c(case.c0))
    gradients = []
    if saved and rng.random() < 0.7:
        _core.unroll(CELLS[case.kind].number, layout, [layer], [], not segment, segment, 1)
        like = [t if t is None or t.dtype != dtype else torch.empty_like(t) for t in (case.x, case.h0, case.c0)]
        like = [t if t is None or t.dtype == dtype else None for t in like]  # symbols have no gradient
        dweights = [Weights(*(None if w is None else torch.empty_like(w) for w in direction)) for direction in weights]
        dc_n = case.dc_n if has_cell_state(case.kind) else None
        dreset = (torch.empty_like(case.h0), like_c(case.c0)) if form == "reset" else ()
        gradients = [GradientTensors(case.dy, case.dh_n, dc_n, *like, dweights, *dreset)]
        save = True
    others = [t for t in (*layer, *weights[0], *(gradients[0][:-1] if gradients else ())) if torch.is_tensor(t)]
    if rng.random() < 0.3:
        layout = shaken(rng, layout, others)
    if rng.random() < 0.3:
        weights[rng.randrange(D)] = shaken(rng, weights[0], others)
    if rng.random() < 0.05:
        weights.append(weights[0])
    if rng.random() < 0.5:
        layer = shaken(rng, layer, others)
    if gradients and rng.random() < 0.5:
        gradients = [shaken(rng, gradients[0], others)]
    if rng.random() < 0.1:
        segment, save = rng.choice([-1, 0, 1, 2**62]), not save
    if rng.random() < 0.2:
        return arrays_call(rng, case.kind, dtype, layout, layer)
    layers = [layer] * rng.choice([1, 1, 1, 2])
    cell = CELLS[case.kind].number if rng.random() > 0.1 else rng.randrange(-1, 7)
    return _core.unroll(cell, layout, layers, gradients, save, segment, rng.choice([1, 2, 3]))


def arrays_call(rng, kind, dtype, layout, layer):
    if isinstance(layer, LayerTensors) and isinstance(layer.weights, list):
        layer = layer._replace(weights=[tuple(map(as_array, w)) for w in layer.weights])
    layer, layout = tuple(map(as_array, layer)), tuple(map(as_array, layout))
    for array in layer:
        if isinstance(array, np.ndarray) and rng.random() < 0.03:
            array.setflags(write=False)
    name = str(dtype).removeprefix("torch.") if rng.random() < 0.95 else rng.choice(["float64", "uint16"])
    return _core.unroll_arrays(name, CELLS[kind].number, layout, layer, rng.choice([1, 2]))


def linear_call(rng):
    dtype, (N, H, V) = rng.choice(DTYPES), (small(rng) for _ in range(3))
    W, b, x, y = (torch.randn(*shape, dtype=dtype) for shape in ((V, H), (V,), (N, H), (N, V)))
    arrays = shaken(rng, LinearPass(W, b, x, y.to(computed(dtype))), [W, b, x, y])
    _core.linear(str(dtype).removeprefix("torch."), tuple(map(as_array, arrays)) if rng.random() < 0.7 else arrays)


def step_call(rng):
    kind, dtype = rng.choice(KINDS), rng.choice(DTYPES)
    case = make(kind, dtype, T=1, B=3, I=5, H=9)
    h, c = case.h0, case.c0
    others = [case.x[0], h, *case.weights[0]]
    x, *state = shaken(rng, (case.x[0], h, c), others) if rng.random() < 0.7 else (case.x[0], h, c)
    weights = shaken(rng, case.weights[0], others) if rng.random() < 0.5 else case.weights[0]
    state = tuple(state) if has_cell_state(case.kind) else next(iter(state), None)
    return (
        _core.step(CELLS[case.kind].number, x, state, [weights] * rng.choice([1, 1, 2]), rng.random() < 0.7, 1)
        is not None
    )


def head_call(rng):
    N, H, V = small(rng), small(rng), small(rng)
    dtype = rng.choice(DTYPES)
    x, W, b = (torch.randn(*shape, dtype=dtype) for shape in ((N, H), (V, H), (V,)))
    targets = torch.randint(-1, max(V, 1), (N,))
    arrays = HeadPass(
        W, b, x, targets, torch.zeros_like(x), *(t.new_zeros(t.shape, dtype=computed(dtype)) for t in (W, b))
    )
    _core.head(shaken(rng, arrays, list(arrays)), rng.choice([1, 2]))


def as_array(t):
    if not torch.is_tensor(t) or not t.is_cpu or t.layout != torch.strided or not t.numel():
        return t
    if t.storage_offset() and not t.untyped_storage().nbytes():  # torch gives numpy the address that the offset is
        return t
    return t.contiguous().view(torch.uint16).numpy() if t.dtype == torch.bfloat16 else t.numpy()


def stepper_call(rng):
    dtype = rng.choice(DTYPES)
    case = make(rng.choice(KINDS), dtype, T=1, B=2, I=5, H=9, one_hot=rng.random() < 0.5)
    if case.x.is_floating_point():
        case.x = case.x.to(computed(dtype))
    weights, V, P = case.weights[0], rng.choice([3, 5, 24]), case.h0.shape[2]
    head = (torch.randn(V, P, dtype=dtype), torch.randn(V, dtype=dtype))
    others = [case.x, *weights, *head]
    if rng.random() < 0.4:
        weights = shaken(rng, weights, others)
    if rng.random() < 0.4:
        head = shaken(rng, head, others)
    if rng.random() < 0.5:
        weights, head = tuple(map(as_array, weights)), tuple(map(as_array, head))
    layers, B = [weights] * rng.choice([1, 1, 1, 2, 0]), rng.choice([2, 2, 2, 2, 1, 0, -1, 2**62])
    stepper = _core.Stepper(
        str(dtype).removeprefix("torch."),
        [CELLS[case.kind if rng.random() < 0.95 else "GRU"].number] * len(layers),
        layers,
        rng.choice([head, None]),
        rng.choice([None, None, None, head[0]]),
        B,
        rng.random() < 0.5,
    )
    for array in (*weights, *head):
        if torch.is_tensor(array) and array.is_cpu and rng.random() < 0.5:
            array.untyped_storage().resize_(0)
    del head, layers, weights
    for _ in range(3):
        x = case.x[0] if rng.random() < 0.5 else otherwise(rng, case.x[0])
        with suppress(EXPECTED):
            stepper.step(x)
    u, written = np.full((4, 2), rng.random()), np.zeros((4, rng.choice([2, 2, 2, 3])), np.int64)
    stepper.write(choice(rng), rng.choice([-1, 0, 99]), u, written)


def choice(rng):
    number = [0.0, 1.0, 0.5, -1.0, 1e-300, np.nan, np.inf]
    integer = [-1, 0, 1, 3, 10**12, -(10**12)]
    return _core.Choice(
        rng.choice(integer), rng.choice([1.0] * 14 + number), rng.choice(integer), rng.choice([1.0, 0.5] * 7 + number),
        rng.choice([0.0, 0.5] * 7 + number), rng.random() < 0.3,
    )  # fmt: skip


def sampling_call(rng):
    n = small(rng)
    logits = np.linspace(-1, 3, n).astype(rng.choice([np.float32, np.float64, np.int64]))
    if n and rng.random() < 0.3:
        logits[rng.randrange(n)] = rng.choice([np.nan, np.inf, -np.inf]) if logits.dtype != np.int64 else 3
    logits = logits[:: rng.choice([1, 2])]
    if rng.random() < 0.5:
        _core.choose(choice(rng), logits, rng.choice([0.0, 0.5, 1.0, 2.0, -1.0, np.nan]))
    else:
        _core.shares(choice(rng), logits, np.empty(rng.choice([n, n, n + 1])))


def other_call(rng):
    shape = [rng.choice([0, 1, 3, 2**31, 2**40, 2**62, -1]) for _ in range(rng.randrange(4))]
    if rng.random() < 0.5:
        x = np.linspace(-9, 9, small(rng)).astype(rng.choice([np.float32, np.float64, np.int32]))
        y = rng.choice([x, x[1:], x[:-1], x[::2], np.empty_like(x), np.empty(3)])
        _core.activate(rng.choice(["tanh", "sigmoid", "exp"]), x, y)
    elif np.prod(shape, dtype=float) < 2**24 or np.prod(shape, dtype=float) > 2**50:
        _core.buffer(rng.choice(["float32", "float64", "int8"]), shape).fill_(1)


ENTRIES = (
    layer_call,
    layer_call,
    layer_call,
    step_call,
    head_call,
    linear_call,
    stepper_call,
    sampling_call,
    other_call,
)


def run(cases, seed=0):
    """Make so many calls; return how many of them were refused, by entry."""
    rng, refused = random.Random(seed), {entry.__name__: 0 for entry in ENTRIES}
    for k in range(cases):
        torch.manual_seed(k)
        entry = rng.choice(ENTRIES)
        try:
            good = entry(rng)
        except EXPECTED:
            good = False
        refused[entry.__name__] += good is False
    return refused


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(run(*map(int, sys.argv[1:]))))
