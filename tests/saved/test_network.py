"""What a network is made of is checked where it is made, and the message names the part."""

import numpy as np
import pytest

from unrolled.notation import Weights
from unrolled.saved.network import Head, Layer, Network

W = np.ones((2, 2), np.float32)
ROW = np.ones(2, np.float32)


def elman(**options):
    return Layer("RNN_TANH", (Weights(W, W),), **options)


@pytest.mark.parametrize(
    ("parts", "error", "said"),
    [
        ({"layers": elman()}, TypeError, "layers is a Layer, expected Sequence"),
        ({"layers": ()}, ValueError, "a network needs at least one layer"),
        ({"layers": (elman(), None)}, TypeError, "layer 1 is a NoneType, expected Layer"),
        ({"layers": (Layer("ELMAN", (Weights(W, W),)),)}, ValueError, "kind 'ELMAN', expected one of RNN_TANH"),
        ({"layers": (Layer("GRU", ()),)}, ValueError, "a layer has one direction or two"),
        ({"layers": (Layer("GRU", Weights(W, W)),)}, TypeError, "direction of layer 0 is a ndarray, expected Weights"),
        ({"layers": (Layer("GRU", (None,)),)}, TypeError, "a direction of layer 0 is a NoneType"),
        ({"layers": (Layer("GRU", (Weights(W, [[1.0]]),)),)}, TypeError, "W_hh of layer 0 is a list, expected ndarray"),
        ({"layers": (Layer("RNN_TANH", (Weights(W, W), Weights(W, ROW))),)}, ValueError, "each of matrices"),
        ({"layers": (elman(initial=ROW),)}, TypeError, "initial of layer 0 is a ndarray, expected Sequence"),
        ({"layers": (elman(initial=(ROW,)),)}, TypeError, "a direction of initial of layer 0 is a ndarray"),
        ({"layers": (elman(initial=((None,),)),)}, TypeError, "a state in initial of layer 0 is a NoneType"),
        ({"layers": (elman(initial=((ROW, ROW),)),)}, ValueError, "initial holds, of each direction of a RNN_TANH, h"),
        ({"layers": (elman(initial=()),)}, ValueError, "initial holds, of each direction of a RNN_TANH, h"),
        ({"head": W}, TypeError, "head is a ndarray, expected Head"),
        ({"head": Head([[1.0, 2.0]])}, TypeError, "W of the head is a list, expected ndarray"),
        ({"head": Head(W, [1.0, 2.0])}, TypeError, "b of the head is a list, expected ndarray"),
        ({"head": Head(W, when="never")}, ValueError, "when is 'never'; it must be one of each, last"),
        ({"embedding": [[1.0, 2.0]]}, TypeError, "embedding is a list, expected ndarray"),
        ({"embedding": ROW}, ValueError, r"embedding is \(2,\), expected \(V, E\)"),
        ({"embedding": np.ones((2, 3, 2), np.float32)}, ValueError, r"embedding is \(2, 3, 2\), expected \(V, E\)"),
    ],
)
def test_network_of_parts_that_are_none_is_refused_with_their_place(parts, error, said):
    with pytest.raises(error, match=said):
        Network(**({"layers": (elman(),)} | parts))
