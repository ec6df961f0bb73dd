"""Checks of the arguments of a layer or cell, each with its error message.

Where torch checks, class and text are torch's own: people match on them.  Where torch does not, the message says
where, what was given, what was expected and what to do.  fit.py checks whether the tensors of one layer fit each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.nn.reach import is_traced

#: Types narrower than float32, which are stored, and never computed with alone.
HALF = (torch.float16, torch.bfloat16)
#: Types that autocast casts; it leaves float64 and complex numbers alone.
CAST = (torch.float32, *HALF)


def no_projection(proj_size: object) -> None:
    """Raise ValueError if an RNN or GRU is asked for a projection, by position or by name.

    >>> no_projection(None)
    """
    if proj_size is not None:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


def nonlinearity_kind(nonlinearity: str) -> str:
    """Return the kind of cell behind an Elman layer's `nonlinearity`.

    Raises: ValueError for anything but "tanh" and "relu".

    >>> nonlinearity_kind("relu")
    'RNN_RELU'
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
    return f"RNN_{nonlinearity.upper()}"


def is_one_hot(x: Tensor) -> bool:
    """Return whether a tensor holds one-hot indices and so lacks the feature axis.

    >>> is_one_hot(torch.tensor([2, 0]))
    True
    """
    return x.dtype is torch.int64


def is_tensor(x: object) -> bool:
    """Return whether torch's functions take an object for a tensor: it is one, or overrides them.

    >>> is_tensor(torch.zeros(3)), is_tensor([0.0])
    (True, False)
    """
    return isinstance(x, Tensor) or hasattr(x, "__torch_function__")


def conversion(x: Tensor) -> str:
    """Return the end of a message about integers that cannot be read: what to do with them; "" for other numbers.

    >>> conversion(torch.zeros(3, dtype=torch.int32))
    '; integers are read as symbols if they are int64: input.long()'
    """
    if x.is_floating_point() or x.is_complex():
        return ""
    if is_one_hot(x):
        return "; int64 is read as symbols: for features, input.float()"
    return "; integers are read as symbols if they are int64: input.long()"


def rank(name: str, x: Any, lowest: int) -> bool:
    """Return whether x is batched: `lowest` axes (features included) is one sequence, `lowest` + 1 a batch of them.

    Raises: TypeError if x is no tensor; NotImplementedError if it is a nested one; ValueError for any other number of
        axes.

    >>> rank("LSTM", torch.zeros(5, 3, 4), lowest=2)
    True
    """
    if isinstance(x, Tensor):
        if x.is_nested:
            raise NotImplementedError(
                f"{name}: input is a nested tensor; give torch.nested.to_padded_tensor(input, 0.0) and lengths="
            )
    elif not is_tensor(x):
        raise TypeError(f"{name}: Expected input to be a Tensor or PackedSequence, got {type(x).__name__}")
    axes: int = x.dim() + is_one_hot(x)
    if axes not in (lowest, lowest + 1):
        one = " of one-hot indices" if is_one_hot(x) else ""
        expected = f"{lowest - is_one_hot(x)}D or {lowest + 1 - is_one_hot(x)}D"
        tensor = " tensor" if name == "RNN" else ""  # torch words it so for this class alone
        raise ValueError(f"{name}: Expected input{one} to be {expected}, got {x.dim()}D{tensor} instead{conversion(x)}")
    return axes == lowest + 1


def dense(name: str, t: Tensor) -> None:
    """Raise NotImplementedError for a tensor that is sparse or in a layout of oneDNN's.

    >>> dense("x", torch.zeros(3))
    """
    if t.layout not in (torch.strided, torch.jagged):
        raise NotImplementedError(f"{name} has the layout {t.layout}, which only torch's reads; give its to_dense()")


def packed(x: Tensor, batch_sizes: Tensor, lengths: Any) -> None:
    """Raise unless a PackedSequence has one row of data for each step of each sequence.

    Raises: RuntimeError for a malformed or empty PackedSequence, ValueError if `lengths` came with it.

    >>> packed(torch.zeros(3, 4), torch.tensor([2, 1]), None)
    """
    if lengths is not None:
        raise ValueError("lengths cannot be given with a PackedSequence, which carries its own; leave lengths out")
    expected = 1 if is_one_hot(x) else 2
    if x.dim() != expected:
        raise RuntimeError(f"input must have {expected} dimensions, got {x.dim()}{conversion(x)}")
    if batch_sizes.dtype != torch.int64 or batch_sizes.dim() != 1 or batch_sizes.device.type != "cpu":
        raise RuntimeError(
            f"PackedSequence: batch_sizes is {described(batch_sizes)} on {batch_sizes.device}, expected torch.int64 of "
            "shape (T,) on the cpu; make it with torch.nn.utils.rnn.pack_padded_sequence"
        )
    has_steps(len(batch_sizes))
    if not is_traced(x, batch_sizes):
        packed_values(x, batch_sizes)


def packed_reset(reset: PackedSequence, input: Any) -> Tensor:
    """Return the data of a packed reset, which must be packed as the input is.

    Raises: ValueError if it is not.
    """
    as_input = isinstance(input, PackedSequence)
    if as_input and not is_traced(reset.data, input.data):
        pairs = zip(reset[1:3], input[1:3], strict=True)  # batch sizes; the order of the rows, or None
        as_input = all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in pairs)
    if not as_input:
        raise ValueError("reset is packed otherwise than the input; pack both with the same lengths and enforce_sorted")
    return reset.data


def packed_values(x: Tensor, batch_sizes: Tensor, states: Sequence[Tensor] = ()) -> None:
    """Raise RuntimeError unless batch sizes fit the data of a PackedSequence, and the states their largest.

    >>> packed_values(torch.zeros(3, 4), torch.tensor([2, 1]), [torch.zeros(1, 2, 6)])
    """
    sizes = batch_sizes.tolist()
    if sum(sizes) != len(x) or sizes[-1] < 0 or any(later > earlier for earlier, later in pairwise(sizes)):
        raise RuntimeError(
            f"PackedSequence: batch_sizes must not be negative or increase and must sum to the {len(x)} rows of "
            f"data, got {sizes}; make it with torch.nn.utils.rnn.pack_padded_sequence"
        )
    state_shapes(states, [(s.shape[0], sizes[0], s.shape[2]) for s in states])


def states(name: str, hx: Any, count: int, argument: str = "hx") -> Sequence[Tensor]:
    """Return an argument that is a state as a sequence of `count` tensors: (h_0,) or, for LSTM, (h_0, c_0).

    Raises: TypeError if it is not that many tensors.

    >>> len(states("LSTM", (torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)), 2))
    2
    """
    given = hx if count == 2 else (hx,)
    if not isinstance(given, (tuple, list)) or len(given) != count or not all(map(is_tensor, given)):
        came = type(hx).__name__
        if isinstance(hx, (tuple, list)):
            came += f" of ({', '.join(type(h).__name__ for h in hx)})"
        expected = "a pair of tensors (h_0, c_0)" if count == 2 else "one tensor h_0"
        raise TypeError(f"{name}: Expected {argument} to be {expected}, got {came}")
    return given


def state_ranks(given: Sequence[Tensor], batched: bool, x: Tensor) -> None:
    """Raise RuntimeError unless every state has three axes for a batch x and two for a single sequence.

    >>> state_ranks([torch.zeros(1, 3, 4)], True, torch.zeros(5, 3, 2))
    """
    expected = 3 if batched else 2
    if any(h.dim() != expected for h in given):
        for_input = "batched 3-D" if batched else "unbatched 2-D"
        if len(given) == 2:
            ranks = ", ".join(f"{h.dim()}-D" for h in given)
            raise RuntimeError(
                f"For {for_input} input, hx and cx should also be {expected}-D but got ({ranks}) tensors{conversion(x)}"
            )
        came = f"{given[0].dim()}-D tensor{conversion(x)}"
        raise RuntimeError(f"For {for_input} input, hx should also be {expected}-D but got {came}")


def types_clash(t: Tensor, W: Tensor, autocast: bool) -> bool:
    """Return whether a tensor's type does not fit the weights'; autocast lets float32 and the half types mix."""
    return t.dtype != W.dtype and not (autocast and {t.dtype, W.dtype} <= {*CAST})


def features(x: Tensor, W: Tensor, input_size: int, autocast: bool) -> None:
    """Raise ValueError unless a dense input has the type of the weights, RuntimeError unless it has their width.

    >>> features(torch.zeros(5, 3, 4), torch.zeros(6, 4), 4, autocast=False)
    """
    if is_one_hot(x):
        return
    if types_clash(x, W, autocast):
        raise ValueError(
            f"RNN input dtype ({x.dtype}) does not match weight dtype ({W.dtype}). "
            f"Convert input: input.to({W.dtype}), or convert model: model.to({x.dtype}){conversion(x)}"
        )
    if x.shape[-1] != input_size:
        raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {input_size}, got {x.shape[-1]}")


def embedding(E: Any, x: Tensor, W: Tensor, input_size: int) -> None:
    """Raise unless an embedding (V, I) fits the weights and the input holds indices into it.

    Raises: TypeError if it is no tensor; ValueError for another shape, type or device, or an input of vectors.

    >>> embedding(torch.zeros(9, 4), torch.tensor([[8], [0]]), torch.zeros(6, 4), 4)
    """
    if not isinstance(E, Tensor):
        raise TypeError(f"embedding must be a tensor of shape (V, input_size = {input_size}), got {described(E)}")
    dense("embedding", E)
    if not is_one_hot(x):
        raise ValueError(
            f"embedding is given, so input must be an int64 tensor of indices, got {described(x)}{conversion(x)}"
        )
    if E.dim() != 2 or E.shape[1] != input_size or E.dtype != W.dtype or E.device != W.device:
        raise ValueError(
            f"embedding is {described(E)} on {E.device}, expected {W.dtype} of shape (V, input_size = {input_size}) "
            f"on {W.device}"
        )


def state_shapes(given: Sequence[Tensor], expected: Sequence[tuple[int, int, int]]) -> None:
    """Raise RuntimeError unless every state has its expected shape (L*D, B, P) or (L*D, B, H).

    >>> state_shapes([torch.zeros(1, 3, 4)], [(1, 3, 4)])
    """
    for k, (h, shape) in enumerate(zip(given, expected, strict=True)):
        if h.shape != shape:
            which = f"hidden[{k}]" if len(given) == 2 else "hidden"
            raise RuntimeError(f"Expected {which} size {shape}, got {list(h.shape)}")


def state_types(states: Sequence[Tensor], x: Tensor, W: Tensor, autocast: bool) -> None:
    """Raise RuntimeError unless every state lies on the input's device and has the type of the weights.

    >>> state_types([torch.zeros(1, 3, 4)], torch.zeros(5, 3, 4), torch.zeros(4, 4), autocast=False)
    """
    for s in states:
        if s.device != x.device:
            raise RuntimeError(
                "Input and hidden tensors are not at the same device, "
                f"found input tensor at {x.device} and hidden tensor at {s.device}"
            )
        if types_clash(s, W, autocast):
            raise RuntimeError(
                f"hx dtype ({s.dtype}) does not match weight dtype ({W.dtype}). Convert hx: hx.to({W.dtype})"
            )


def same_device(x: Tensor, W: Tensor) -> None:
    """Raise RuntimeError unless input and weights are on one device.

    >>> same_device(torch.zeros(5, 3, 4), torch.zeros(6, 4))
    """
    if W.device != x.device:
        raise RuntimeError(
            "Input and parameter tensors are not at the same device, "
            f"found input tensor at {x.device} and parameter tensor at {W.device}"
        )


def has_steps(T: int) -> None:
    """Raise RuntimeError for a sequence without a step.

    >>> has_steps(1)
    """
    if T == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")


def lengths_and_reset(x: Tensor, batch_first: bool, lengths: Any, reset: Any) -> None:
    """Raise unless `lengths` is None or has an entry for each row, and `reset` None or one for each row and step.

    Raises: TypeError for another type, ValueError for another shape or device.

    >>> lengths_and_reset(torch.zeros(5, 3, 4), False, torch.tensor([5, 0, 2]), torch.zeros(5, 3, dtype=torch.bool))
    """
    if lengths is not None:
        shape = tuple(x.shape[:1] if batch_first else x.shape[1:2])
        how = "; give lengths.long()" if isinstance(lengths, Tensor) else "; give torch.as_tensor(lengths)"
        _entries("lengths", lengths, torch.int64, shape, "one entry for each row of the batch", x.device, how)
    if reset is not None:
        resets(x, reset)


def resets(x: Tensor, reset: Any) -> None:
    """Raise unless `reset` is a bool tensor with an entry for each row, and step, of the input.

    Raises: TypeError for another type, of which only the caller knows what it means; ValueError for another shape or
        device.

    >>> resets(torch.zeros(3, 4), torch.tensor([False, True, False]))
    """
    how = "give torch.as_tensor(reset)"
    if isinstance(reset, Tensor):
        how = "give reset.bool()"
        if reset.is_floating_point():
            how += " if 1 marks a reset, reset == 0 if 1 marks a state that is kept, as (1 - done) does"
    shape = tuple(x.shape if is_one_hot(x) else x.shape[:-1])
    _entries("reset", reset, torch.bool, shape, "that of input without its features", x.device, f"; {how}")


def _entries(
    name: str, given: Any, dtype: torch.dtype, shape: Sequence[int], why: str, device: torch.device, how: str = ""
) -> None:
    if not isinstance(given, Tensor) or given.dtype != dtype:
        raise TypeError(f"{name} must be {form(dtype, shape)}, got {described(given)}{how}")
    dense(name, given)
    if given.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, {why}, got {tuple(given.shape)}")
    if given.device != device:
        raise ValueError(f"{name} must be on the input's device {device}, got {given.device}")


def reset_states(given: Sequence[Tensor], shapes: Sequence[Sequence[int]], W: Tensor, autocast: bool) -> None:
    """Raise ValueError unless the state that a reset returns to, h or h and c, has its expected shapes and type.

    >>> reset_states([torch.zeros(1, 3, 6)], [(1, 3, 6)], torch.zeros(18, 6), autocast=False)
    """
    for s, which, shape in zip(given, "hc", shapes, strict=False):
        dense(f"{which} of reset_state", s)
        if s.shape != tuple(shape) or types_clash(s, W, autocast) or s.device != W.device:
            raise ValueError(
                f"{which} of reset_state is {described(s)} on {s.device}, expected {form(W.dtype, shape)} on "
                f"{W.device}, as for hx"
            )


def has_reset(reset: Any) -> None:
    """Raise ValueError unless `reset` says when to return to the `reset_state` that is given.

    >>> has_reset(torch.tensor([[False, True]]))
    """
    if reset is None:
        raise ValueError("reset_state is given without reset, which says before which steps the state returns to it")


def cell(x: Tensor, states: Sequence[Tensor], W: Tensor, hidden_size: int, autocast: bool) -> None:
    """Raise RuntimeError, in the words of torch's cells, unless input (B, I) and states (B, H) fit the weights.

    >>> cell(torch.zeros(3, 4), [torch.zeros(3, 6)], torch.zeros(6, 4), 6, autocast=False)
    """
    if not is_one_hot(x) and x.shape[1] != W.shape[1]:
        raise RuntimeError(f"input has inconsistent input_size: got {x.shape[1]} expected {W.shape[1]}{conversion(x)}")
    for k, s in enumerate(states):
        if s.shape[0] != x.shape[0]:
            raise RuntimeError(f"Input batch size {x.shape[0]} doesn't match hidden{k} batch size {s.shape[0]}")
        if s.shape[1] != hidden_size:
            raise RuntimeError(f"hidden{k} has inconsistent hidden_size: got {s.shape[1]}, expected {hidden_size}")
    if not is_one_hot(x) and types_clash(x, W, autocast):  # torch names a size before a type
        raise RuntimeError(
            f"input dtype ({x.dtype}) does not match weight dtype ({W.dtype}). Convert input: input.to({W.dtype})"
            f"{conversion(x)}"
        )
    state_types(states, x, W, autocast)
    same_device(x, W)


def cell_state_ranks(name: str, given: Sequence[Tensor]) -> None:
    """Raise ValueError unless every state of a cell has one or two axes.

    >>> cell_state_ranks("GRUCell", [torch.zeros(3, 6)])
    """
    for k, h in enumerate(given):
        if h.dim() not in (1, 2):
            which = f"hx[{k}]" if len(given) == 2 else "hidden"
            raise ValueError(f"{name}: Expected {which} to be 1D or 2D, got {h.dim()}D instead")


def described(value: Any) -> str:
    """Return the type and shape of a tensor, or the type of anything else, for a message."""
    return form(value.dtype, value.shape) if isinstance(value, Tensor) else type(value).__name__


def form(dtype: torch.dtype, shape: Sequence[int]) -> str:
    """Return a type and shape in words, for a message."""
    name = str(dtype).removeprefix("torch.")
    return f"{'an' if name[0] == 'i' else 'a'} {name} tensor of shape {tuple(shape)}"
