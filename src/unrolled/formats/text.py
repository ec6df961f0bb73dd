"""From a network that was trained elsewhere on symbols to a network of text: what its vocabulary has to do with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.formats.network_of import FormatError
from unrolled.saved.network import Head, Network, TextPart
from unrolled.saved.vocabulary import Vocabulary
from unrolled.words import counted

#: The logit of a symbol that is never predicted; e to this is 0.
NEVER = -1e4


def with_vocabulary(network: Network, vocabulary: Vocabulary, *, framed: bool = False) -> Network:
    """Return the network of text that a network of symbols is with this vocabulary.

    A network that knows the symbols of the vocabulary alone gets EOS and UNK: it never predicts them, and reads them as
    zeros.  One that reads vectors as wide as the vocabulary reads symbols as one-hot vectors.  Its head predicts after
    each symbol, and gives logits, of which generation takes the softmax itself.

    Args: the network; its symbols, in the order of its ids; whether it learned sequences that end with EOS.
    Raises: FormatError if the network and the vocabulary do not fit each other, or it has no head or a layer that reads
        backward.
    """
    V, data = len(vocabulary), len(vocabulary.symbols)
    if network.head is None:
        raise FormatError("the network has no head, so it predicts no symbols; import it without a vocabulary")
    if not network.is_steppable:
        raise FormatError("a layer reads backward, so there is no next symbol; import it without a vocabulary")
    if network.width != network.I or network.I not in (V, data):
        raise FormatError(
            f"the network reads {counted(network.I, 'symbol')} and predicts {network.width:,}, but the vocabulary has "
            f"{data:,}, or {V:,} with EOS and UNK; give all symbols that it was trained on, in the order of their ids"
        )
    if framed and data == network.I:
        raise FormatError(
            f"the network knows {counted(data, 'symbol')}, and EOS is none of them, so it learned no framed sequences"
        )
    network = replace(
        network, one_hot=network.embedding is None, head=replace(network.head, when="each", softmax=False)
    )
    if data == network.I:
        network = _with_eos_and_unk(network)
    start = np.full(V, -np.log(data), np.float32)
    start[data:] = NEVER
    return replace(network, text=TextPart(vocabulary, framed, start))


def _with_eos_and_unk(network: Network) -> Network:
    assert network.head is not None
    layers, E, head = network.layers, network.embedding, network.head
    if E is not None:
        E = _two_more(E, 0)
    else:
        widened = tuple(w._replace(W_ih=_two_more(w.W_ih.T, 0).T) for w in layers[0].directions)
        layers = (replace(layers[0], directions=widened), *layers[1:])
    b = np.zeros(len(head.W), network.dtype) if head.b is None else head.b
    return replace(network, layers=layers, embedding=E, head=Head(_two_more(head.W, 0), _two_more(b, NEVER)))


def _two_more(rows: NDArray[Any], value: float) -> NDArray[Any]:
    return np.concatenate([rows, np.full((2, *rows.shape[1:]), value, rows.dtype)])
