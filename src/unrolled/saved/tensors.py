"""Which tensors a file must hold: the one rule that every reader of tensors checks them by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.config.model import ModelConfig
from unrolled.notation import CELLS, SHAPES, gate_count, stored_name, weight_shapes
from unrolled.saved.atomic_files import CheckpointError, Tensors
from unrolled.saved.vocabulary import Vocabulary
from unrolled.words import counted

#: Faults that one message names.
NAMED = 3


class Expected(NamedTuple):
    """The name of a tensor, its type, its shape in letters and in numbers."""

    name: str
    dtype: npt.DTypeLike
    letters: tuple[str, ...]
    shape: tuple[int, ...]


def model_tensors(model: ModelConfig, V: int, dtype: npt.DTypeLike = np.float32) -> Iterator[Expected]:
    """Yield what the file of a model with V symbols holds, one tensor after the other.

    >>> [each.name for each in model_tensors(ModelConfig(cell="gru", hidden_size=2), 5)][:4]
    ['start', 'head.bias', 'head.weight', 'rnn.weight_ih_l0']
    >>> each = next(each for each in model_tensors(ModelConfig(hidden_size=2), 5) if each.name == "rnn.weight_ih_l0")
    >>> each.letters, each.shape
    (('G*H', 'V'), (8, 5))
    """
    H, L, E, kind = model.hidden_size, model.num_layers, model.embedding_size, model.kind
    sizes = {"V": V, "E": E, "H": H, "L": L, "1": 1, "G*H": gate_count(kind) * H}

    def expected(name: str, *letters: str) -> Expected:
        return Expected(name, dtype, letters, tuple(sizes[letter] for letter in letters))

    yield expected("start", "V")
    yield expected("head.bias", "V")
    if not model.tied:
        yield expected("head.weight", "V", "H")
    if E:
        yield expected("embedding.weight", "V", "E")
    for k in range(len(CELLS[kind].states) if model.learned_initial_state else 0):
        yield expected(f"initial.{k}", "L", "1", "H")
    for layer in range(L):
        own = {"I": "H" if layer else "E" if E else "V", "P": "H"}  # what these letters of a layer stand for
        for weight in weight_shapes(kind, 1, 1):
            yield expected(f"rnn.{stored_name(weight, layer)}", *(own.get(each, each) for each in SHAPES[weight]))


def for_more_symbols(tensors: Tensors, model: ModelConfig, own: Vocabulary, more: Vocabulary) -> Tensors:
    """Return the tensors of a model for a vocabulary that has all symbols of its own, in any order, and more.

    The rows of its own symbols stay as they are; a new one has the mean of all rows, and no text starts with it.

    >>> from unrolled.config.model import ModelConfig
    >>> few, more = Vocabulary("ab"), Vocabulary("abc")
    >>> for_more_symbols({"head.bias": np.array([1.0, 2, 3, 6])}, ModelConfig(), few, more)["head.bias"].tolist()
    [1.0, 2.0, 3.0, 3.0, 6.0]
    """
    id_of = {symbol: k for k, symbol in enumerate(more.symbols)}
    places = [*map(id_of.__getitem__, own.symbols), more.eos_id, more.unk_id]
    spread = dict(tensors)
    for name, _, letters, _ in model_tensors(model, len(own)):
        if "V" in letters and name in tensors:
            axis, new = letters.index("V"), np.min if name == "start" else np.mean
            spread[name] = np.repeat(new(tensors[name], axis=axis, keepdims=True), len(more), axis)
            np.moveaxis(spread[name], axis, 0)[places] = np.moveaxis(tensors[name], axis, 0)
    return spread


def faults(tensors: Tensors, expected: Iterable[Expected]) -> Iterator[str]:
    """Yield what is wrong with tensors: one that is missing, surplus, of another type or shape, or not finite.

    >>> list(faults({"b": np.zeros(3)}, [Expected("b", np.float64, ("V",), (2,))]))
    ["'b' is float64 (3,), expected float64 (V) = (2,)"]
    """
    surplus = {*tensors}
    for name, dtype, letters, shape in expected:
        surplus.discard(name)
        wanted = f"expected {np.dtype(dtype)} ({', '.join(letters)}) = {shape}"
        if name not in tensors:
            yield f"{name!r} is missing, {wanted}"
        elif tensors[name].shape != shape or tensors[name].dtype != dtype:
            yield f"{name!r} is {tensors[name].dtype} {tensors[name].shape}, {wanted}"
        elif wrong := _not_finite(tensors[name]):
            yield f"{name!r} has {counted(wrong, 'non-finite number')}"
    yield from (f"{name!r} is not expected" for name in sorted(surplus))


def check_tensors(file: Path, tensors: Tensors, expected: Iterable[Expected], sizes: str) -> None:
    """Refuse the tensors of a file that are not those expected; `sizes` says what decides the expected shapes.

    Raises: CheckpointError naming the file and the first faults.
    """
    found = [*islice(faults(tensors, expected), NAMED + 1)]  # a config may ask for any number of layers
    if found:
        more = ["and more"] if len(found) > NAMED else []
        raise CheckpointError(
            f"{file}: {'; '.join(found[:NAMED] + more)}; the sizes are those of {sizes}; "
            "restore the folder from a copy, or train the model again"
        )


def _not_finite(tensor: npt.NDArray[Any]) -> int:
    return int(np.count_nonzero(~np.isfinite(tensor))) if tensor.dtype.kind == "f" else 0
