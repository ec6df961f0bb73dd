"""What every writer of a format takes, and the words in which it refuses what its format cannot hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from unrolled.saved.network import Layer, Network
from unrolled.saved.network_folder import load_network
from unrolled.words import one_line

#: A network, the folder of a saved one, or a module that :func:`unrolled.nn.network_of` knows.
Source: TypeAlias = Network | str | Path | Any


class FormatError(ValueError):
    """A format cannot hold a network, or a file of it is damaged or holds something else; the message says what."""

    def __init__(self, said: str) -> None:
        super().__init__(one_line(said))


def network_from(source: Source) -> Network:
    """Return the network that a source is.

    Raises: CheckpointError for a folder that holds none; TypeError for a module that is none.
    """
    if isinstance(source, Network):
        return source
    if isinstance(source, (str, Path)):
        return load_network(source)
    from unrolled.nn.network import network_of  # here, because a folder is exported without torch

    return network_of(source)


def refuse(format: str, network: Network, **lacking: str) -> None:
    """Raise FormatError if a network has something that a format cannot hold.

    Args:
        format: its name, for the message.
        network: the network.
        lacking: by what the format cannot hold, one of `PARTS` or `OF_NETWORK`, what to do instead.

    >>> import numpy as np
    >>> from unrolled.notation import Weights
    >>> from unrolled.saved.network import Layer
    >>> both_ways = Network((Layer("RNN_TANH", (Weights(np.ones((2, 3)), np.eye(2)),) * 2),))
    >>> refuse("C", both_ways, two_ways="it has no next step")
    Traceback (most recent call last):
        ...
    unrolled.formats.network_of.FormatError: C cannot hold the reverse direction of layer 0: it has no next step
    """
    for part, reason in lacking.items():
        if part in OF_NETWORK and OF_NETWORK[part][0](network):
            raise FormatError(f"{format} cannot hold {OF_NETWORK[part][1]}: {reason}")
        for number, layer in enumerate(network.layers):
            if part in PARTS and PARTS[part][0](layer):
                raise FormatError(f"{format} cannot hold {PARTS[part][1]} of layer {number}: {reason}")


def refuse_not_finite(format: str, network: Network) -> None:
    """Raise FormatError if a network has a number that no text of decimal numbers can hold.

    >>> import numpy as np
    >>> from unrolled.notation import Weights
    >>> from unrolled.saved.network import Layer
    >>> network = Network((Layer("RNN_TANH", (Weights(np.ones((2, 3)), np.full((2, 2), np.nan)),)),))
    >>> refuse_not_finite("RTNeural", network)
    Traceback (most recent call last):
        ...
    unrolled.formats.network_of.FormatError: RTNeural cannot hold rnn.weight_hh_l0: a number in it is not finite
    """
    for name, w in network.tensors().items():
        if not np.isfinite(w).all():
            raise FormatError(f"{format} cannot hold {name}: a number in it is not finite")


#: What a network may have beside its layers, as `PARTS`.
OF_NETWORK: dict[str, tuple[Callable[[Network], bool], str]] = {
    "symbols": (lambda network: network.reads_symbols, "symbols"),
    "last": (lambda network: network.head is not None and network.head.when != "each", "a head after the last step"),
    "last_output": (
        lambda network: network.head is not None and network.head.when == "last_output",
        "a head that reads the output at the last step",
    ),
    "softmax": (lambda network: network.head is not None and network.head.softmax, "the softmax"),
}
#: What a layer may have: how that is seen, and what a message calls it.
PARTS: dict[str, tuple[Callable[[Layer], bool], str]] = {
    "two_ways": (lambda layer: layer.D == 2, "the reverse direction"),
    "projection": (lambda layer: layer.is_projected, "the projection"),
    "initial": (lambda layer: layer.initial is not None, "the learned initial state"),
    "peepholes": (lambda layer: layer.kind == "LSTM_PEEPHOLE", "the peepholes"),
    "relu": (lambda layer: layer.kind == "RNN_RELU", "the ReLU cell"),
    "elman": (lambda layer: layer.kind == "RNN_TANH", "the tanh cell"),
    "gru": (lambda layer: layer.kind == "GRU", "the GRU"),
    "float64": (lambda layer: layer.directions[0].W_ih.dtype == "float64", "the float64 weights"),
}
