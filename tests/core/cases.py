"""Layer calls for the tests of the core: made from a seed, run in the core and by the equations, compared by bits."""

from dataclasses import dataclass, field, replace

import torch

from tests.nn.compare import assert_all_close
from unrolled.core.fields import Layout, Weights
from unrolled.nn import fused, reference
from unrolled.notation import has_cell_state, weight_shapes

KINDS = ["RNN_TANH", "RNN_RELU", "LSTM", "LSTM projected", "LSTM_PEEPHOLE", "LSTM_PEEPHOLE projected", "GRU"]
DTYPES = [torch.float32, torch.float64, torch.bfloat16]
#: Sizes that are divided among threads in different ways (csrc/division-inl.h), the last one summed in several chunks.
#: All are large enough that threads are woken: `test_every_case_is_shared_with_other_threads` checks it.
DIVISIONS = {
    "rows": {"T": 23, "B": 29, "I": 27, "H": 47},
    "panels": {"T": 41, "B": 2, "I": 37, "H": 211},
    "recurrences": {"T": 23, "B": 3, "I": 37, "H": 109, "D": 2},
    "many chunks": {"T": 83, "B": 29, "I": 7, "H": 27},
}
WITH_OPTIONS = {"T": 23, "B": 29, "I": 17, "H": 33, "D": 2}


@dataclass
class Case:
    """One layer call: D directions over x (T, B, I), and the gradients that come from above."""

    kind: str
    x: torch.Tensor
    h0: torch.Tensor
    c0: torch.Tensor | None
    weights: list[Weights]
    dy: torch.Tensor
    dh_n: torch.Tensor
    dc_n: torch.Tensor | None
    layout: dict = field(default_factory=dict)  # lengths, reset, batch_sizes
    reset_state: tuple = (None, None)  # h and c, as h0 and c0

    @property
    def B(self):
        return self.h0.shape[1]

    def rows(self, chosen):
        """The same call with these rows of the batch alone, in this order."""

        def pick(t, axis=1):
            return None if t is None else t.index_select(axis, torch.as_tensor(chosen))

        axes = {"lengths": 0, "reset": 1}
        layout = {name: pick(t, axes[name]) for name, t in self.layout.items()}
        return replace(
            self, x=pick(self.x), h0=pick(self.h0), c0=pick(self.c0), layout=layout, dy=pick(self.dy),
            dh_n=pick(self.dh_n), dc_n=pick(self.dc_n), reset_state=tuple(map(pick, self.reset_state)),
        )  # fmt: skip

    def forward(self, save=False, segment=0):
        """Outputs by name, and all tensors of the call."""
        layout, states = Layout(**self.layout), (self.h0, self.c0)
        layer = fused.forward(self.kind, layout, self.x, *states, self.weights, save, segment, self.reset_state)
        return {"y": layer.y, "h_n": layer.h_n, "c_n": layer.c_n}, layer

    def run(self, segment=0):
        """Outputs and all gradients by name, from the training path; in segments, saving no gates."""
        out, layer = self.forward(True, segment)
        assert not segment or layer.gates.numel() == 0
        layout, upstream = Layout(**self.layout), (self.dy, self.dh_n, self.dc_n)
        found = fused.backward(self.kind, layout, layer, *upstream, segment=segment)
        return {**out, **by_name(found)}


def by_name(found):
    """The gradients of a call by name."""
    gradients = {f"d{n} {d}": g for d, dw in enumerate(found.weights) for n, g in dw._asdict().items()}
    states = {"dh0": found.dh_0, "dc0": found.dc_0, "dh_reset": found.dh_reset, "dc_reset": found.dc_reset}
    return {"dx": found.dx, **states, **gradients}


def make(kind, dtype, *, T=7, B=5, I=3, H=9, D=1, seed=0, one_hot=False, reset_state=False, **layout):
    """A case with odd sizes and dense random numbers; a reset returns to zeros or, with `reset_state`, to such ones."""
    cell, proj_size = kind.split()[0], H // 2 if "projected" in kind else 0
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    shapes = weight_shapes(cell, I, H, proj_size=proj_size)
    weights = [Weights(**{name: normal(*s) * H**-0.5 for name, s in shapes.items()}) for _ in range(D)]
    P = proj_size or H
    x = torch.randint(I, (T, B), generator=generator) if one_hot else normal(T, B, I)
    c0, dc_n = (normal(D, B, H), normal(D, B, H)) if has_cell_state(cell) else (None, None)
    case = Case(cell, x, normal(D, B, P), c0, weights, normal(T, B, D * P), normal(D, B, P), dc_n, layout)
    if reset_state:
        case.reset_state = (normal(D, B, P), normal(D, B, H) if has_cell_state(cell) else None)
    return case


def assert_same_bits(got, want, only=None):
    """Fail unless two mappings from name to tensor are equal in every bit, signs of zero and NaN included."""
    for name in only or want:
        a, b = got[name], want[name]
        if a is None and b is None:
            continue
        assert a.shape == b.shape, f"{name}: shape {tuple(a.shape)}, expected {tuple(b.shape)}"
        assert a.dtype == b.dtype, f"{name}: {a.dtype}, expected {b.dtype}"
        bits = {8: torch.int64, 4: torch.int32, 2: torch.int16}[a.element_size()]
        wrong = (a.contiguous().view(bits) != b.contiguous().view(bits)).nonzero()
        assert not len(wrong), (
            f"{name}{wrong[0].tolist()}: {a[tuple(wrong[0])]:.17g}, expected {b[tuple(wrong[0])]:.17g}; "
            f"{len(wrong)} of {a.numel()} elements differ"
        )


def assert_computes_the_equations(case, got):
    """Fail unless the results of a case, by name, are those of the equations within the tolerance of its type."""
    want = from_equations(case)
    if case.kind == "RNN_RELU" and case.dy.dtype == torch.bfloat16:  # where h is rounded to 0, or a 0 away from it,
        got, want = ({name: found[name] for name in ("y", "h_n")} for found in (got, want))  # gradients jump:
    assert_all_close(got, want)  # tests/nn/test_bfloat16.py compares those with the equations along the rounded h


def from_equations(case):
    """Outputs and gradients of a case, computed by the equations in float64 and rounded to its own type."""

    def wide(t):
        return t if t is None or not t.is_floating_point() else t.to(torch.float64, copy=True).requires_grad_()

    x, h0, c0, *to = map(wide, (case.x, case.h0, case.c0, *case.reset_state))
    weights = [Weights._make(map(wide, direction)) for direction in case.weights]
    y, h_n, c_n, _ = reference.layer(case.kind, Layout(**case.layout), x, h0, c0, weights, reset_state=to)
    outputs = {"y": y, "h_n": h_n, "c_n": c_n}
    leaves = {"dx": x, "dh0": h0, "dc0": c0, **dict(zip(("dh_reset", "dc_reset"), to, strict=True))}
    leaves |= {f"d{n} {d}": w for d, direction in enumerate(weights) for n, w in direction._asdict().items()}
    wanted = {name: t for name, t in leaves.items() if t is not None and t.requires_grad}
    above = {"y": case.dy, "h_n": case.dh_n, "c_n": case.dc_n}
    ends = {name: o for name, o in outputs.items() if o is not None}
    found = torch.autograd.grad([*ends.values()], [*wanted.values()], [above[name].double() for name in ends])
    results = {**outputs, **dict.fromkeys(leaves), **dict(zip(wanted, found, strict=True))}
    return {name: t if t is None else t.to(case.dy.dtype) for name, t in results.items()}
