"""What the tests of layers and cells share: ours beside torch's, states, and gradients by name."""

import pytest
import torch

import unrolled.nn

LAYERS = ("RNN", "LSTM", "GRU")


def pair(name, *arguments, **options):
    """torch's layer or cell of this name and ours, with the same weights."""
    made = []
    for module in (torch.nn, unrolled.nn):
        torch.manual_seed(5)
        made.append(getattr(module, name)(*arguments, **options))
    return made


def said_by(call):
    """Class and text of whatever is raised."""
    with pytest.raises(Exception) as caught:
        call()
    return type(caught.value), str(caught.value)


def hx(name, *shape, **options):
    """A random state of one shape for the layer or cell of this name: h, or (h, c)."""
    states = tuple(torch.randn(shape, **options) for _ in range(1 + ("LSTM" in name)))
    return states if len(states) == 2 else states[0]


def as_tuple(state):
    """A state as (h,) or (h, c)."""
    return state if isinstance(state, tuple) else (state,)


def gradients(loss, leaves, **options):
    """Gradients of a loss by the names of its leaves, None where it does not depend on one."""
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, **options)
    return dict(zip(leaves, found, strict=True))
