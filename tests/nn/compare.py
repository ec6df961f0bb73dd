"""How close two tensors must be, in one place: promise 1 of the project."""

import torch

#: Largest error, as a share of the largest wanted value or of 1, whichever is larger; integers must be equal.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


def assert_close(name, got, want, tolerance=None):
    """Fail, by name and place, unless got equals want within the tolerance of got's type."""
    got, want = (torch.as_tensor(t).detach() for t in (got, want))
    assert got.shape == want.shape, f"{name}: shape {tuple(got.shape)}, expected {tuple(want.shape)}"
    assert got.dtype == want.dtype, f"{name}: {got.dtype}, expected {want.dtype}"
    if got.numel() == 0:
        return
    if got.is_complex():
        got, want = torch.view_as_real(got.resolve_conj()), torch.view_as_real(want.resolve_conj())
    tolerance = TOLERANCE.get(got.dtype, 0) if tolerance is None else tolerance
    got, want = got.double(), want.double()
    assert torch.equal(got.isnan(), want.isnan()), f"{name}: NaN at {_places(got)}, expected at {_places(want)}"
    got, want = got.nan_to_num(0.0), want.nan_to_num(0.0)
    error = (got - want).abs()
    worst = int(error.argmax())
    limit = tolerance * max(1.0, float(want.abs().max()))
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), error.shape)]
    assert error.flatten()[worst] <= limit, (
        f"{name}{place}: {got.flatten()[worst]:.17g}, expected {want.flatten()[worst]:.17g}; "
        f"off by {error.flatten()[worst]:.3g}, allowed {limit:.3g}"
    )


def assert_all_close(got, want, tolerance=None):
    """Compare two mappings from name to tensor (None for an absent gradient): the same names, close values."""
    assert list(got) == list(want), f"{list(got)}, expected {list(want)}"
    for name, tensor in got.items():
        assert (tensor is None) == (want[name] is None), f"{name}: {tensor}, expected {want[name]}"
        if tensor is not None:
            assert_close(name, tensor, want[name], tolerance)


def _places(t):
    return t.isnan().nonzero().tolist()[:5]
