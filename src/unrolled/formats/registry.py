"""Every other format: its name, its files, what it can hold, and how a file of it is told from others.

`unrolled export --help` shows this table, so nothing is imported here.  A format is a file beside this one, and a row.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Format(NamedTuple):
    """One format; `unrolled.export.to_NAME` writes it, `unrolled.imports.from_NAME` reads it."""

    name: str
    title: str
    holds: str  #: what a network may have there, in one line
    suffixes: tuple[str, ...]  #: ends of names of its files, the first that of one without a name
    then: str  #: what loads a file of it: {out} is the file, {quoted} in Python, {word} in a shell
    extra: str = ""  #: the extra that it needs, if any
    writes: bool = True
    reads: bool = True
    is_folder: bool = False
    weights: tuple[str, ...] = ()  #: how its matrices may be kept, where there is a choice
    signs: tuple[bytes, ...] = ()  #: one of them stands at the beginning or the end of every file of it


#: By name, in the order in which the help lists them.
FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format(
            "onnx",
            "ONNX",
            "every network; text with its vocabulary",
            (".onnx",),
            "in Python: onnxruntime.InferenceSession({quoted})",
            extra="onnx",
        ),
        Format(
            "c",
            "C99",
            "one direction, head after each step; one header without dependencies",
            (".h",),
            'in C: #include "{out}"',
            reads=False,
            weights=("float32", "int8"),
        ),
        Format(
            "html",
            "one HTML page",
            "text models of one direction; shows them and writes, without a server",
            (".html",),
            "open {out} in a browser",
            reads=False,
            weights=("float32", "bfloat16", "int8"),
        ),
        Format(
            "rtneural",
            "RTNeural",
            "LSTM, GRU, head after each step; vectors",
            (".json",),
            "in C++: RTNeural::json_parser::parseJson",
            signs=(b'"in_shape"',),
        ),
        Format(
            "nam",
            "Neural Amp Modeler",
            "LSTM with its initial state, head; one number in and one out",
            (".nam",),
            "load {out} in the plug-in",
        ),
        Format(
            "torch",
            "torch",
            "every network but peepholes, as a state_dict",
            (".safetensors", ".pt", ".pth"),
            "in Python: module.load_state_dict(safetensors.torch.load_file({quoted}))",
            extra="torch",
            signs=(b"weight_ih",),
        ),
        Format(
            "pt2",
            "torch.export",
            "every network but peepholes, as a program",
            (".pt2",),
            "in Python: torch.export.load({quoted}).module()",
            extra="torch",
            reads=False,
        ),
        Format(
            "keras",
            "Keras 3",
            "RNN, LSTM, GRU, both directions, embedding, head with softmax",
            (".keras", ".weights.h5"),
            "in Python: keras.models.load_model({quoted})",
            extra="keras",
            signs=(b"model.weights.h5",),
        ),
        Format(
            "flax",
            "Flax",
            "RNN, LSTM, GRU, both directions, embedding, head",
            (".flax.safetensors", ".npz", ".safetensors"),
            "in Python: flax.traverse_util.unflatten_dict(safetensors.flax.load_file({quoted}), '/')",
            signs=(b"/kernel", b".kernel"),
        ),
        Format(
            "equinox",
            "Equinox",
            "LSTM, GRU, embedding, head",
            (".eqx",),
            "in Python: eqx.tree_deserialise_leaves('{out}', like=model)",
        ),
        Format(
            "hub",
            "Hugging Face hub",
            "every network; a folder with a model card",
            ("-hub",),
            "hf upload OWNER/NAME {word}",
            is_folder=True,
        ),
        Format(
            "char_rnn",
            "min-char-rnn",
            "one layer of RNN that reads one-hot symbols, head",
            (".npz", ".safetensors"),
            "",
            writes=False,
            signs=(b"Wxh",),
        ),
    )
}
#: What stands before an id of the Hugging Face hub in the place of a file.
HUB = "hub:"
#: Bytes at the beginning of a file, and at its end, in which a sign is looked for; a zip lists its parts at its end.
LOOKED_AT = 1 << 16


def format_of(file: Path) -> Format | None:
    """Return the format of a file by the end of its name and by its sign; None if no format here has such files.

    >>> format_of(Path("runs/x.mp3")) is None
    True
    """
    if file.parts[:1] and file.parts[0].startswith(HUB):
        return FORMATS["hub"]
    fitting = [each for each in FORMATS.values() if each.reads and file.name.endswith(each.suffixes)]
    if len(fitting) == 1 or not file.is_file():
        return fitting[0] if fitting else None
    with file.open("rb") as opened:
        seen = opened.read(LOOKED_AT)
        opened.seek(max(len(seen), opened.seek(0, 2) - LOOKED_AT))
        seen += opened.read(LOOKED_AT)
    signed = [each for each in fitting or FORMATS.values() if each.reads and any(sign in seen for sign in each.signs)]
    return next(iter(signed or fitting), None)
