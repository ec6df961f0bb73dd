"""A network that goes from one format into the next, through all that hold it, still computes the same numbers."""

import random

import numpy as np
import pytest

from tests.formats.equations import inputs, outputs
from tests.saved.networks import networks
from unrolled import export, imports
from unrolled.formats.network_of import FormatError
from unrolled.formats.registry import FORMATS

NETWORKS = dict(networks())
#: Every format that is written and read, by each end of a name.
WAYS = [(each.name, end) for each in FORMATS.values() if each.writes and each.reads for end in each.suffixes]
#: Those that hold arrays alone, so that the rest is told; and what a head is called where its name does not say it.
ARRAYS = {"torch", "flax", "equinox"}
HEADS = {".weights.h5": "dense"}


def told(name, end, network):
    """Return what arrays do not say of a network."""
    if name not in ARRAYS and end != ".weights.h5":
        return {}
    elman = [layer.kind for layer in network.layers if layer.kind.startswith("RNN")]
    head = network.head
    found = {"kind": elman[0] if elman else None, "one_hot": network.one_hot, "head": HEADS.get(end) if head else ""}
    return found | ({} if head is None else {"when": head.when, "softmax": head.softmax})


def turned(network, name, end, folder):
    """Return a network as it comes back from a format; None if it cannot hold it."""
    path = folder / f"x{end}"
    try:
        getattr(export, f"to_{name}")(network, path)
    except FormatError as error:
        if "cannot hold" in str(error):
            return None
        raise
    return getattr(imports, f"from_{name}")(path, **told(name, end, network))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_goes_through_all_formats_that_hold_it(name, tmp_path):
    network = NETWORKS[name]
    holding = [way for way in WAYS if turned(network, *way, tmp_path) is not None]
    random.Random(name).shuffle(holding)
    x = inputs(network)
    vectors = np.eye(network.I)[x] if network.reads_symbols and network.embedding is None else x
    expected, there = outputs(network, x), network
    for number, way in enumerate(holding):
        folder = tmp_path / str(number)
        folder.mkdir()
        there = turned(there, *way, folder)
        assert there is not None, f"{way} holds what was written, and not what came back from {holding[:number]}"
        found = outputs(there, x if there.reads_symbols else vectors)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=f"after {holding[: number + 1]}")
    assert len(holding) > 1
