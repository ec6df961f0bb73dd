"""Folders of models whose checksums are right, whatever their files hold."""

import json
import struct
from pathlib import Path

from unrolled.saved.atomic_files import FORMAT_VERSION, sha256
from unrolled.saved.model import BLANK

FILES = ("config.json", "vocabulary.json", "model.safetensors")
#: Stands in a JSON value for bytes that no writer of JSON would write.
MARK = "put something else here"


def sealed(config, vocabulary, tensors, raw=b""):
    """Return the files of a model, from JSON values and the bytes of its tensors; `raw` stands where MARK was.

    A vocabulary of None is none.
    """
    write = lambda value: json.dumps(value).encode().replace(json.dumps(MARK).encode(), raw)  # noqa: E731
    parts = {} if vocabulary is None else {"vocabulary.json": write(vocabulary)}
    parts |= {"model.safetensors": tensors}
    sums = {"config.json": BLANK} | {name: sha256(part) for name, part in parts.items()}
    described = write({"format_version": FORMAT_VERSION, "sha256": sums} | config)
    return {"config.json": described.replace(BLANK.encode(), sha256(described).encode(), 1)} | parts


def change(folder, **parts):
    """Change the values of config.json or vocabulary.json, or the bytes of the tensors, by a function of them.

    Args: folder; functions by the names config, vocabulary and tensors.  The checksums are made right again.
    """
    folder = Path(folder)
    config, vocabulary = (
        json.loads((folder / name).read_bytes()) if (folder / name).exists() else None for name in FILES[:2]
    )
    whole = {
        "config": {key: value for key, value in config.items() if key not in ("format_version", "sha256")},
        "vocabulary": vocabulary,
        "tensors": (folder / FILES[2]).read_bytes(),
    }
    whole |= {name: by(whole[name]) for name, by in parts.items()}
    for name, data in sealed(**whole).items():
        (folder / name).write_bytes(data)


def resealed(config):
    """Return the bytes of a config.json with its own sum, wherever it stands, made right again; as they are without."""
    own = config.rpartition(b'"config.json": "')[2][:64]
    blank = config.replace(own, BLANK.encode(), 1)
    return config.replace(own, sha256(blank).encode(), 1) if len(own) == 64 else config


def spoiled(data, change):
    """Return the bytes of a safetensors file whose tensors by name, (type, shape, bytes), were changed."""
    n = struct.unpack("<Q", data[:8])[0]
    header, values = json.loads(data[8 : 8 + n]), data[8 + n :]
    tensors = {k: (v["dtype"], v["shape"], values[slice(*v["data_offsets"])]) for k, v in header.items()}
    change(tensors)
    header, body = {}, b""
    for name, (kind, shape, each) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(each)]}
        body += each
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body
