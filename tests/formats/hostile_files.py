"""Files of other formats that somebody made to do harm: each gives a network, or is refused by its name.

    python -m tests.formats.hostile_files onnx --cases 100000

tests/formats/test_hostile_files.py runs a few.  A case is reproduced by its number: `--first 4711 --cases 1`.
"""

import argparse
import collections
import functools
import io
import random
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import torch

from tests.saved.networks import networks
from unrolled.export import to_onnx, to_torch
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_onnx, from_torch
from unrolled.saved.network import Network

#: Networks whose files are spoiled.
SEEDS = ["LSTM-3-5", "GRU-two-ways", "LSTM-initial", "projected", "mixed", "head-last-True", "text-GRU", "GRU-one-hot"]
#: Numbers that sizes and indices become.
NUMBERS = [0, 1, -1, 2, 3, 5, 20, 2**15, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63), -(2**31)]

OPERATORS = ["If", "Mul", "Expand", "Tile", "Gather", "Slice", "Concat"]


def flip(draw, data):
    """Change a few bits."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 8])):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(draw, data):
    """Cut the file off, lengthen it, or leave a piece out or in twice."""
    a, b = sorted(draw.choices(range(len(data)), k=2))
    return draw.choice([data[:a], data + draw.randbytes(draw.randint(1, 30)), data[:a] + data[b:], data[:b] + data[a:]])


def splice(draw, data):
    """Put other bytes in the place of some."""
    at, n = draw.randrange(len(data)), draw.choice([1, 2, 4, 8])
    new = draw.choice([b"\xff" * n, b"\x00" * n, draw.randbytes(n), b"\xff\xff\xff\xff\x7f"[:n]])
    return data[:at] + new + data[at + n :]


def lie(draw, data):
    """Change the meaning of an ONNX model and leave its form right."""
    model = onnx.ModelProto.FromString(data)
    try:
        for _ in range(draw.choice([1, 1, 2])):
            _lie(draw, model.graph)
        return model.SerializeToString()
    except (TypeError, UnicodeDecodeError):  # a name that is no text any more
        return data


def _lie(draw, graph):
    node, tensor = draw.choice(graph.node), draw.choice(graph.initializer)
    names = [*(each for n in graph.node for each in (*n.input, *n.output)), ""]
    ways = [
        lambda: node.input.__setitem__(draw.randrange(len(node.input)), draw.choice(names)),
        lambda: node.input.append(draw.choice(names)),
        lambda: node.output.__setitem__(0, draw.choice(names)),
        lambda: setattr(node, "op_type", draw.choice([*OPERATORS, *(n.op_type for n in graph.node)])),
        lambda: graph.node.append(draw.choice(graph.node)),
        lambda: graph.node.remove(node),
        lambda: (
            tensor.dims.__setitem__(draw.randrange(len(tensor.dims)), draw.choice(NUMBERS)) if tensor.dims else None
        ),
        lambda: tensor.dims.append(draw.choice(NUMBERS)),
        lambda: setattr(tensor, "data_type", draw.choice([1, 6, 7, 9, 10, 11, 16, 0, 99])),
        lambda: setattr(tensor, "raw_data", tensor.raw_data[: draw.randrange(len(tensor.raw_data) + 1)]),
        lambda: setattr(tensor, "raw_data", _numbers(draw, tensor)),
        lambda: setattr(tensor, "name", draw.choice(names)),
        lambda: _attribute(draw, node),
        lambda: graph.input[0].type.tensor_type.shape.dim.add(dim_value=draw.choice([1, 3, 2**40])),
        lambda: setattr(graph.output[0], "name", draw.choice(names)),
    ]
    draw.choice(ways)()


def _numbers(draw, tensor):
    """Bytes of as many numbers, which are sizes or not finite."""
    if tensor.data_type == 7:
        return np.array(draw.choices(NUMBERS, k=len(tensor.raw_data) // 8), np.int64).tobytes()
    return np.full(len(tensor.raw_data) // 4, draw.choice([np.nan, np.inf, 3e38, 0.0]), np.float32).tobytes()


def _attribute(draw, node):
    if not node.attribute:
        return
    attribute = draw.choice(node.attribute)
    attribute.i = draw.choice([n for n in NUMBERS if n < 2**63])
    attribute.type = draw.choice([attribute.type, 1, 2, 3, 4, 5, 7, 8])
    if attribute.ints:
        attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(NUMBERS)


@functools.cache
def seeds(format):
    """Good files of a format, in bytes."""
    found = []
    for name, network in networks():
        if name in SEEDS:
            found.append(_written(format, network))
    return found


def _written(format, network):
    if format == "torch":
        file = io.BytesIO()
        torch.save(to_torch(network).state_dict(), file)
        return file.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        (to_onnx if format == "onnx" else to_torch)(network, path)
        return path.read_bytes()


READERS = {"onnx": from_onnx, "torch": from_torch, "safetensors": from_torch}
SPOILS = {"onnx": [flip, cut, splice, lie, lie, lie], "torch": [flip, cut, splice], "safetensors": [flip, cut, splice]}


def make(format, number):
    """Return the bytes of a case."""
    draw = random.Random(number)
    data = draw.choice(seeds(format))
    for _ in range(draw.choice([0, 1, 1, 1, 2])):
        spoil = draw.choice(SPOILS[format])
        if len(data) < 2 or (spoil is lie and not _is_whole(data)):
            continue
        data = spoil(draw, data)
    return data


def _is_whole(data):
    try:
        graph = onnx.ModelProto.FromString(data).graph
    except Exception:
        return False
    return bool(graph.node and graph.initializer and graph.input and graph.output and all(n.input for n in graph.node))


def verdict(format, path):
    """Read a file; return "works" or "refused".  Any other outcome is an error, and is not caught."""
    try:
        network = READERS[format](path)
    except FormatError as error:
        said = str(error)
        assert said.startswith(f"{path}: "), said
        assert "\n" not in said, said
        assert len(said) < 1000, said
        return "refused"
    assert isinstance(network, Network)
    assert all(np.isfinite(w).all() for w in network.tensors().values())
    return "works"


def campaign(format, numbers):
    """Return how often each verdict was reached."""
    found = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for number in numbers:
            path.write_bytes(make(format, number))
            try:
                found[verdict(format, path)] += 1
            except BaseException:
                print(f"{format}, case {number}")
                raise
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=READERS)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = campaign(given.format, range(given.first, given.first + given.cases))
    counted = ", ".join(f"{n:,} {name}" for name, n in sorted(found.items()))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    print(f"{given.cases:,} files in {time.monotonic() - began:.0f} s: {counted}; memory grew by {grown} MB")


if __name__ == "__main__":
    main()
