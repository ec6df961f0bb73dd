"""Folders of networks that somebody made to do harm, with their checksums right, for the runtime and the C library."""

import functools
import json
import random
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np

from tests.formats.damaged_files import changed
from tests.lies import RAW, lying_tensors, lying_value
from tests.saved import hostile_folders
from tests.saved.networks import networks
from tests.saved.seal import FILES, resealed, sealed
from unrolled import runtime
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.narrow import narrowed
from unrolled.saved.network_folder import save_network

#: How the matrices of a network are kept.
WEIGHTS = (None, "int8", "bfloat16")


@functools.cache
def _originals():
    """Return the JSON of config.json and of vocabulary.json, and the tensors, of every network in every type."""
    found, place = [], Path(tempfile.mkdtemp())
    for number, (_, network) in enumerate(networks()):
        for weights in WEIGHTS if network.dtype == np.float32 else (None,):
            folder = place / f"{number}{weights}"
            save_network(folder, narrowed(network, weights) if weights else network)
            config, vocabulary, tensors = (folder / name if (folder / name).exists() else None for name in FILES)
            found.append((config.read_bytes(), vocabulary and vocabulary.read_bytes(), tensors.read_bytes()))
    shutil.rmtree(place)
    return found


def make(number, folder):
    """Write the folder of a case: one in three is of a text model, as hostile_folders.py makes them."""
    draw = random.Random(number)
    if draw.random() < 0.3:
        return hostile_folders.make(number, folder)
    config, vocabulary, tensors = draw.choice(_originals())
    config, vocabulary = json.loads(config), vocabulary and json.loads(vocabulary)
    config = {key: value for key, value in config.items() if key not in ("format_version", "sha256")}
    way = draw.randrange(8)
    if way < 3:
        config = lying_value(draw, config)
    elif way == 3 and vocabulary:
        vocabulary = lying_value(draw, vocabulary)
    elif way < 6:
        tensors = lying_tensors(draw, tensors)
    elif way == 6:  # the header above all
        size = struct.unpack("<Q", tensors[:8])[0]
        header = changed(draw, tensors[8 : 8 + size])
        tensors = struct.pack("<Q", len(header)) + header + tensors[8 + size :]
    else:
        tensors = changed(draw, tensors)
    raw = draw.choice(RAW)
    files = sealed(config, vocabulary, tensors, raw) if isinstance(config, dict) else {"config.json": raw}
    if draw.random() < 0.15:
        files["config.json"] = resealed(changed(draw, files["config.json"]))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return None


def verdict(folder):
    """Load a network and read a sequence and steps; return "works" or "refused".  Another outcome is an error."""
    try:
        model = runtime.load(folder)
    except CheckpointError as error:
        said = str(error)
        assert str(folder) in said, said
        assert "\n" not in said, said
        assert len(said) < 1000 + len(str(folder)), said
        return "refused"
    network = model.network
    x = np.zeros(3, np.int64) if network.reads_symbols else np.zeros((3, network.I), network.dtype)
    model.feed(x)
    if network.is_steppable:
        model.step(x[0])
    return "works"


def campaign(numbers, judge=verdict):
    """Return how often `judge` reached each verdict."""
    return hostile_folders.campaign(numbers, make, judge)
