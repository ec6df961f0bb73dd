"""The arrays of min-char-rnn, run by its own forward pass."""

import numpy as np
import pytest

from tests.formats.equations import outputs
from unrolled.formats.arrays import write_arrays
from unrolled.formats.network_of import FormatError
from unrolled.formats.registry import format_of
from unrolled.imports import from_char_rnn

H, V = 5, 7


def arrays():
    rng = np.random.default_rng(0)
    shapes = {"Wxh": (H, V), "Whh": (H, H), "Why": (V, H), "bh": (H, 1), "by": (V, 1)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def theirs(Wxh, Whh, Why, bh, by, inputs):
    """The forward pass of the gist, line for line."""
    h, ys = np.zeros((H, 1)), []
    for t in inputs:
        x = np.zeros((V, 1))
        x[t] = 1
        h = np.tanh(np.dot(Wxh, x) + np.dot(Whh, h) + bh)
        ys.append(np.dot(Why, h) + by)
    return np.array(ys)[..., 0]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_arrays_compute_what_they_computed_there(suffix, tmp_path):
    write_arrays(tmp_path / f"x{suffix}", arrays())
    network = from_char_rnn(tmp_path / f"x{suffix}")
    ids = np.array([3, 0, 6, 6, 1])
    assert network.reads_symbols
    np.testing.assert_allclose(outputs(network, ids[:, None])[:, 0], theirs(**arrays(), inputs=ids), atol=1e-12)
    assert format_of(tmp_path / f"x{suffix}").name == "char_rnn"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Wxh": None}, "has arrays 'Whh', 'Why', 'bh', 'by', expected Wxh, Whh, Why, bh, by"),
        ({"Wxh": np.ones((H, V, 1))}, r"Wxh is \(5, 7, 1\), expected a matrix"),
        ({"bh": np.ones((H, 2))}, r"bh is \(5, 2\), expected \(N, 1\)"),
        ({"bh": np.ones(6)}, r"b_ih is \(6,\)"),
        ({"Why": np.ones((V, 4))}, r"head: W is \(7, 4\)"),
        ({"by": np.full(V, np.nan)}, "has 7 non-finite numbers"),
    ],
)
def test_arrays_that_are_no_network_are_refused(change, said, tmp_path):
    path = tmp_path / "bad.npz"
    write_arrays(path, {name: w for name, w in (arrays() | change).items() if w is not None})
    with pytest.raises(FormatError, match=said) as error:
        from_char_rnn(path)
    assert str(error.value).startswith(f"{path}: ")
