"""The arguments of a call of the model: their checks, each with its error message, and whether the embedding is called.

The layers check what is handed on to them (nn/checks.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.corpus.batching import IGNORED
from unrolled.nn import checks, reference
from unrolled.nn.modules import beyond_weights

_SYMBOLS = "an int64 tensor of shape (T, B)"


def check_symbols(ids: Any) -> None:
    """Raise unless symbols have the axes (T, B), or vectors in their place (T, B, V).

    Raises: TypeError if they are not a tensor, ValueError for other axes.

    >>> check_symbols(torch.tensor([[0, 1]]))
    """
    if not isinstance(ids, Tensor):
        raise TypeError(f"ids must be {_SYMBOLS}, got {checks.described(ids)}")
    vectors = ids.is_floating_point()
    if ids.dim() != 2 + vectors or not (vectors or checks.is_one_hot(ids)):
        remedy = "; give ids[:, None] for one sequence" if ids.dim() == 1 else ""
        raise ValueError(f"ids must be {_SYMBOLS}, got {checks.described(ids)}{remedy or checks.conversion(ids)}")


def as_hx(state: Any, count: int) -> Tensor | Sequence[Tensor] | None:
    """Return a state of `count` tensors as the layers take it; None, for zeros, if it is empty.

    Raises: TypeError if it is not that many.

    >>> as_hx((), 1) is None, as_hx((torch.zeros(1, 3, 6),), 1).shape
    (True, torch.Size([1, 3, 6]))
    """
    if not isinstance(state, (tuple, list)) or len(state) not in (0, count):
        came = f"{len(state)} tensors" if isinstance(state, (tuple, list)) else type(state).__name__
        raise TypeError(
            f"state must be a tuple, {'(h, c)' if count == 2 else '(h,)'}, as a call returns it, got {came}"
        )
    return (state if count == 2 else state[0]) if state else None


def predicted(targets: Any, logits: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the targets (T, B), IGNORED past the length of a row.

    Raises: ValueError if they have another shape than the symbols.

    >>> predicted(torch.tensor([[3], [4]]), torch.zeros(2, 1, 5), torch.tensor([1])).flatten().tolist() == [3, IGNORED]
    True
    """
    shape = tuple(logits.shape[:-1])
    if not isinstance(targets, Tensor) or targets.shape != shape:
        raise ValueError(
            f"targets must be {checks.form(torch.int64, shape)}, like the ids, got {checks.described(targets)}"
        )
    if lengths is None:
        return targets
    return torch.where(reference.alive(lengths, shape[0], False), targets, IGNORED)


def is_called(embedding: torch.nn.Module | None) -> bool:
    """Return whether an embedding does more than look up rows of its matrix, or gives that another gradient.

    >>> is_called(torch.nn.Embedding(9, 4)), is_called(torch.nn.Embedding(9, 4, padding_idx=0))
    (False, True)
    """
    if embedding is None:
        return False
    otherwise = isinstance(embedding, torch.nn.Embedding) and (
        embedding.padding_idx is not None or embedding.scale_grad_by_freq or embedding.sparse
    )
    return otherwise or bool(beyond_weights(embedding, hooks_after=True))
