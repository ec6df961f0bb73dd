"""Folders of models that somebody made to do harm, with their checksums right: each loads and works, or is refused.

    python -m tests.saved.hostile_folders --cases 100000

Meant for a core that was built with the address sanitizer (`make asan` says how); tests/saved/test_hostile_folders.py
runs a few.  A case is reproduced by its number: `--first 4711 --cases 1`.
"""

import argparse
import collections
import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.lies import RAW, lying_tensors
from tests.saved.seal import FILES, MARK, sealed
from unrolled import runtime
from unrolled.config.model import ModelConfig
from unrolled.saved.atomic_files import CheckpointError, pack
from unrolled.saved.tensors import model_tensors
from unrolled.saved.vocabulary import Vocabulary

#: Options, symbols and kind of the models that are spoiled.
MODELS = [
    ({"cell": "lstm", "hidden_size": 5}, "abcdefgh", "characters"),
    ({"cell": "gru", "hidden_size": 3, "embedding_size": 2, "learned_initial_state": True}, "ab", "symbols"),
    ({"cell": "rnn", "hidden_size": 4, "embedding_size": 4, "tied": True, "num_layers": 2}, "abc", "characters"),
    ({"cell": "rnn", "hidden_size": 7, "nonlinearity": "relu"}, ["61", "62", "c3", "a9"], "bytes"),
    ({"cell": "lstm", "hidden_size": 2, "num_layers": 3, "learned_initial_state": True}, ["so", "long", "\n"], "words"),
]
#: The ends of what is said of numbers that are finite and whose products are not.
OVERFLOWED = ("the model's weights are damaged or its training diverged", "every logit is -inf")
#: What a number or a word of a JSON file is replaced by.
VALUES = [
    0, 1, 2, 3, 4, 5, 7, 8, -1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**9, 10**40, 0.5, -0.0, 1e-320, 1e308, 3.0,
    True, False, None, "", "auto", "lstm", "gru", "rnn", "relu", "bytes", "words", "symbols", "characters", "LSTM",
    "\x1b[31m", "\u202e", "x" * 5000, [], [1], {}, {"a": 1}, [[]],
]  # fmt: skip
SYMBOLS = [
    "", " ", "a", "a b", "EOS", "UNK", "\n", "\r", "\x00", "\x1b]0;x\x07", "\u202e", "\ufffd", "zz", "ff", "é", "🙂",
    "e\u0301", "x" * 9999, 1, None, MARK,
]  # fmt: skip
NAMES = ["", "x", " start", "START", "\x1b[2J", "a" * 9999]
SURPLUS = ["head.weight", "embedding.weight", "initial.0", "initial.1", "rnn.weight_ih_l9", "rnn.peephole_l0", "y"]
OPTIONS = ["dropout", "checkpoint_steps", "hidden_size", "num_layers", "embedding_size", "new"]
PLACES = ["/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem", "/etc", "nowhere"]


class Case:
    """The parts of one folder, before they are written."""

    def __init__(self, draw):
        self.draw = draw
        options, symbols, kind = draw.choice(MODELS)
        vocabulary = Vocabulary(symbols, kind)
        random_numbers = np.random.default_rng(draw.getrandbits(32))
        self.tensors = {
            name: random_numbers.normal(size=shape).astype(dtype)
            for name, dtype, _, shape in model_tensors(ModelConfig(**options), len(vocabulary))
        }
        self.config = {"model": {**options}, "framed": draw.random() < 0.5}
        self.vocabulary = json.loads(vocabulary.to_json())
        self.packed = None  # in place of the tensors
        self.after = lambda folder: None  # what is done to the written folder

    def write(self, folder):
        packed = pack(self.tensors) if self.packed is None else self.packed
        for name, data in sealed(self.config, self.vocabulary, packed, self.draw.choice(RAW)).items():
            (folder / name).write_bytes(data)
        self.after(folder)


def spoil_shape(case):
    """Cut, tile, turn or stretch one tensor."""
    name = case.draw.choice([*case.tensors])
    case.tensors[name] = reshaped(case.draw, case.tensors[name])


def reshaped(draw, w):
    if not w.ndim:
        return w[None]
    ways = [
        lambda: w[: draw.randrange(len(w) + 1)],
        lambda: np.concatenate([w] * draw.randint(2, 4)),
        lambda: w[..., : draw.randrange(w.shape[-1] + 1)],
        lambda: np.concatenate([w, w], -1),
        lambda: w.T,
        lambda: w[None],
        lambda: w.ravel(),
        lambda: w.ravel()[:1].reshape(()) if w.size else w,
        lambda: w[:0],
    ]
    return draw.choice(ways)()


def spoil_symbols(case):
    """Give every tensor with a row a symbol, or some of them, another number of rows."""
    V = len(case.tensors["head.bias"]) if case.tensors.get("head.bias", np.zeros(())).ndim else 0
    n = case.draw.choice([0, 1, max(V - 1, 0), V + 1, 2 * V, 3 * V])
    for name, w in case.tensors.items():
        if w.ndim and len(w) == V and w.size and case.draw.random() < 0.8:
            case.tensors[name] = np.resize(w, (n, *w.shape[1:]))


def spoil_layers(case):
    """Say another size and change nothing else, or change the recurrent tensors and say nothing."""
    for name in [name for name in case.tensors if case.draw.random() < 0.5]:
        case.tensors[name] = reshaped(case.draw, case.tensors[name])


def spoil_dtype(case):
    names = [*case.tensors] if case.draw.random() < 0.3 else [case.draw.choice([*case.tensors])]
    dtype = case.draw.choice([np.float64, np.float16, np.int64, np.int8, np.uint8, np.bool_, np.uint64])
    for name in names:
        case.tensors[name] = case.tensors[name].astype(dtype)


def spoil_names(case):
    """Drop, rename, swap or add a tensor."""
    names = [*case.tensors]
    name, other = case.draw.choice(names), case.draw.choice(names)
    way = case.draw.randrange(4)
    if way == 0:
        del case.tensors[name]
    elif way == 1:
        case.tensors[case.draw.choice(NAMES)] = case.tensors.pop(name)
    elif way == 2:
        case.tensors[name], case.tensors[other] = case.tensors[other], case.tensors[name]
    else:
        case.tensors[case.draw.choice(SURPLUS)] = case.tensors[name]


def spoil_numbers(case):
    """Put numbers that are not finite, or that make others so, into some tensors."""
    number = case.draw.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e-45, 0.0])
    for name in [name for name in case.tensors if case.draw.random() < 0.4]:
        w = case.tensors[name] = np.array(case.tensors[name])
        if w.size and w.dtype.kind == "f":
            w.flat[case.draw.randrange(w.size) if case.draw.random() < 0.5 else slice(None)] = number


def spoil_config(case):
    """Replace, drop or add a key of config.json."""
    places = [(case.config, key) for key in ("model", "framed", "sources", "data", "training")]
    places += [(case.config["model"], key) for key in (*case.config["model"], *OPTIONS)]
    place, key = case.draw.choice(places)
    if case.draw.random() < 0.2:
        place.pop(key, None)
    else:
        place[key] = case.draw.choice([*VALUES, MARK])


def spoil_vocabulary(case):
    """Make the vocabulary longer, shorter, or of other symbols or kind."""
    symbols = case.vocabulary.get("symbols")
    way = case.draw.randrange(5)
    if way == 0 or not isinstance(symbols, list) or not symbols:
        key = case.draw.choice(["kind", "nfc", "symbols", "format_version", "new"])
        case.vocabulary[key] = case.draw.choice([*VALUES, MARK])
    elif way == 1:
        symbols += case.draw.choices(SYMBOLS, k=case.draw.randint(1, 3))
    elif way == 2:
        del symbols[case.draw.randrange(len(symbols)) :]
    elif way == 3:
        symbols[case.draw.randrange(len(symbols))] = case.draw.choice([*SYMBOLS, symbols[0]])
    else:
        case.vocabulary.pop(case.draw.choice([*case.vocabulary]))


def spoil_header(case):
    """Let the header of model.safetensors lie."""
    case.packed = lying_tensors(case.draw, pack(case.tensors))


def spoil_bytes(case):
    """Cut model.safetensors off, or lengthen it."""
    data = pack(case.tensors)
    case.packed = data[: case.draw.randrange(len(data))] if case.draw.random() < 0.7 else data + bytes(8)


def spoil_file(case):
    """Put something else in the place of a file."""
    name, way = case.draw.choice(FILES), case.draw.randrange(7)

    def after(folder):
        path = folder / name
        path.unlink()
        if way == 1:
            path.mkdir()
        elif way == 2:
            os.mkfifo(path)
        elif way == 3:
            path.symlink_to(path)
        elif way == 4:
            path.symlink_to(case.draw.choice(PLACES))
        elif way == 5:
            path.symlink_to(folder / case.draw.choice(FILES))
        elif way == 6:
            path.write_bytes(case.draw.choice(RAW))

    case.after = after


SPOILS = [
    spoil_shape, spoil_symbols, spoil_layers, spoil_dtype, spoil_names, spoil_numbers, spoil_config, spoil_vocabulary,
    spoil_header, spoil_bytes, spoil_file,
]  # fmt: skip


def make(number, folder):
    """Write the folder of a case; return the names of what was done to it."""
    draw = random.Random(number)
    case = Case(draw)
    spoils = draw.choices(SPOILS, k=draw.choice([0, 1, 1, 1, 2, 3]))
    for spoil in spoils:
        if isinstance(case.config.get("model"), dict):
            spoil(case)
    case.write(folder)
    return [spoil.__name__ for spoil in spoils]


def verdict(folder):
    """Load a model, write and score with it; return "works", "refused" or, where its numbers overflow, "diverged".

    Any other outcome is an error, and is not caught.
    """
    try:
        model = runtime.load(folder)
    except CheckpointError as error:
        said = str(error)
        assert str(folder) in said, said
        assert any(name in said for name in FILES), said
        assert "\n" not in said, said
        return "refused"
    try:
        text = "".join(model.vocabulary.symbols[:3]) + "ab"
        model.generate(text, max_length=6, seed=1)
        model.generate(max_length=3, count=3, strategy="greedy", allow_unk=True)
        model.generate(text, max_length=3, strategy="beam")
        "".join(model.stream(text, max_length=3, top_k=2))
        assert not np.isnan(model.score(text).bits).any()
    except ValueError as error:
        if not str(error).endswith(OVERFLOWED):
            raise
        return "diverged"
    return "works"


def campaign(numbers, make=make, judge=verdict):
    """Return how often `judge` reached each verdict on the folders that `make(number, folder)` writes."""
    found = collections.Counter()
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        with np.errstate(all="ignore"):
            for number in numbers:
                folder = place / str(number)
                folder.mkdir()
                done = []
                try:
                    done = make(number, folder)
                    found[judge(folder)] += 1
                except BaseException:
                    print(f"case {number}: {done}")
                    raise
                shutil.rmtree(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    found = campaign(range(given.first, given.first + given.cases))
    counted = ", ".join(f"{n:,} {name}" for name, n in sorted(found.items()))
    print(f"{given.cases:,} folders in {time.monotonic() - began:.0f} s: {counted}")


if __name__ == "__main__":
    main()
