"""Initial weights that suit recurrent layers better than torch's uniform ones."""

from __future__ import annotations

from itertools import chain
from typing import Literal, TypeVar

import torch
from torch.nn import init

from unrolled.config.checks import Real, check_value
from unrolled.nn.cells import NAMES, RecurrentCell
from unrolled.nn.modules import overwrite, refuse_sharded
from unrolled.nn.recurrent_layer import RecurrentLayer
from unrolled.notation import gate_parameters

_Layer = TypeVar("_Layer", bound="RecurrentLayer | RecurrentCell")


@torch.no_grad()
def init_(
    layer: _Layer,
    recurrent: Literal["orthogonal", "identity", "glorot"] = "orthogonal",
    forget_bias: float = 1.0,
) -> _Layer:
    """Set a layer's weights in place, gate by gate, from torch's global random stream.

    Input and projection weights are Glorot uniform, biases and other vectors zero.

    Args:
        layer: a layer or cell of this package; if `fully_shard` has sharded its weights, all processes get those of
            the first.
        recurrent: each gate's block of W_hh: "orthogonal" keeps the length of a state, "identity" suits a relu RNN,
            "glorot" is as the input weights.
        forget_bias: LSTM's b_if, so that the cell remembers from the start; the other cells have no such gate.
    Returns: the same layer.
    Raises: TypeError for another module; ValueError for another `recurrent`, a computed weight or a bias that
        is not a number, or for pieces of weights, as FSDP makes them.
    Source: orthogonal: Saxe et al. 2014; identity: Le et al. 2015; forget bias: Gers et al. 2000.

    >>> from unrolled.nn import LSTM
    >>> lstm = init_(LSTM(4, 6))
    >>> lstm.b_if.tolist(), torch.allclose(lstm.W_hi @ lstm.W_hi.T, torch.eye(6), atol=1e-5)
    ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], True)
    """
    check_value("forget_bias", forget_bias, Real)
    if not isinstance(layer, (RecurrentLayer, RecurrentCell)):
        raise TypeError(f"init_ expected a layer or cell of unrolled.nn, got {type(layer).__qualname__}")
    fill = {"orthogonal": init.orthogonal_, "identity": init.eye_, "glorot": init.xavier_uniform_}
    check_value("recurrent", recurrent, str)
    if recurrent not in fill:
        raise ValueError(f"recurrent is {recurrent!r}, expected one of {', '.join(map(repr, fill))}")
    names = [*chain.from_iterable(layer._all_weights)] if isinstance(layer, RecurrentLayer) else NAMES
    computed = [name for name in names if name not in layer._parameters]
    if computed:
        raise ValueError(
            f"{computed[0]} is computed from others, as by a parametrization or pruning; call init_ before that"
        )
    refuse_sharded(layer, "init_", distributed=False)
    kind = layer.kind
    for name in names:
        parameter = layer._parameters[name]
        if parameter is None:
            continue
        # of a type that has a QR decomposition, which 16 bits have not
        dtype = parameter.dtype if parameter.dtype.itemsize >= 4 else torch.float32
        values = torch.zeros(parameter.shape, dtype=dtype, device=parameter.device)
        if name.startswith("weight_hr"):
            init.xavier_uniform_(values)
        for known, stem, k in gate_parameters(kind):
            block = values[k * layer.hidden_size : (k + 1) * layer.hidden_size]
            if name.startswith(stem) and block.dim() == 1:
                block.fill_(forget_bias if known == "b_if" else 0.0)
            elif name.startswith(stem):
                fill[recurrent if stem == "weight_hh" else "glorot"](block)
        overwrite(parameter, values)
    return layer
