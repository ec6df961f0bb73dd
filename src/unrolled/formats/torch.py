"""torch: modules of its own layers alone, and state_dicts, as safetensors or as `torch.save` writes them.

A file of `torch.save` is a zip archive of one pickle and the bytes of each storage.  It is read by
`torch.load(weights_only=True)`, and only if its pickle builds nothing but tensors, dictionaries and numbers.
Source: https://docs.pytorch.org/docs/stable/notes/serialization.html; docs/deploy/torch.md.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections import deque
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from unrolled.formats.network_of import FormatError, Source, network_from
from unrolled.formats.outside_files import finished, outside_bytes, refused
from unrolled.formats.state_dict import network_in
from unrolled.formats.told import Telling, Told
from unrolled.saved.atomic_files import Tensors, pack, write_file
from unrolled.saved.network import Network

#: What the pickle of a state_dict may name, beside the storages of torch.
_GLOBALS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|"
    r"torch (Float|Double|Half|BFloat16|Long|Int|Bool)Storage"
)
#: Operations of the longest pickle, and letters of the longest name, joined of the keys of dictionaries.
MOST_OPERATIONS, LONGEST_NAME = 1_000_000, 2_000


def to_torch(source: Source, path: str | Path | None = None) -> Any:
    """Return a network as a module of torch's own layers, and write its state_dict if a path is given.

    Args: a Network, the folder of a saved model, or a module; the path of a safetensors file.
    Returns: a :class:`unrolled.nn.NetworkModule`, which gives its output and its states.
    Raises: FormatError for peepholes; CheckpointError if the file cannot be written.

    >>> from unrolled import nn
    >>> to_torch(nn.GRU(3, 5), "gru.safetensors").rnn[0]
    GRU(3, 5)
    >>> from_torch("gru.safetensors").layers[0].kind
    'GRU'
    """
    from unrolled.nn.network_module import NetworkModule

    network = network_from(source)
    if any(layer.kind == "LSTM_PEEPHOLE" for layer in network.layers):
        raise FormatError("torch cannot hold peepholes: torch.nn has no such layer")
    module = NetworkModule(network, "torch")
    if path is not None:
        write_file(path, pack({name: w.detach().numpy() for name, w in module.state_dict().items()}))
    return module


def from_torch(path: str | Path, **told: Unpack[Telling]) -> Network:
    """Read the network in a state_dict; what its names and shapes do not tell is told here.

    Args:
        path: of a safetensors file, or of one that `torch.save` wrote; that needs torch.
        kind: the kind of cell, which an RNN alone does not tell: "RNN_TANH" or "RNN_RELU".
        embedding, rnn, head: prefixes of names, "decoder.rnn", where several would do; several for `rnn`, bottom first.
            An empty one says that there is none.
        when: what the head reads: the output at "each" step; h of each direction after its "last" step, as `h_n`; or
            the output at the last step, "last_output", as `output[-1]`.
        softmax: whether a softmax follows it.
        one_hot: whether symbols are read as one-hot vectors.
    Raises: FormatError naming the file, what it holds, and what was expected.
    """
    said = Told.of(told)
    path = Path(path)
    data = outside_bytes(path)
    tensors, owners = _of_archive(path, data) if data[:2] == b"PK" else (_of_safetensors(path, data), {})
    return finished(path, lambda: network_in(str(path), tensors, said, owners))


def _of_safetensors(path: Path, data: bytes) -> Tensors:
    try:
        return safetensors.numpy.load(data)
    except KeyError as error:  # numpy has no such type
        raise refused(path, f"a tensor is of type {error.args[0]}, expected F32 or F64") from None
    except (SafetensorError, ValueError) as error:
        raise refused(path, f"neither a safetensors file nor one that torch.save writes: {error}") from None


def _of_archive(path: Path, data: bytes) -> tuple[Tensors, dict[str, str]]:
    import torch

    _check_archive(path, data)
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch documents none of what it raises
        raise refused(path, f"damaged, or no state_dict: {error}") from None
    return _collected(path, loaded, len(data))


def _check_archive(path: Path, data: bytes) -> None:
    """Refuse an archive that is packed, or whose pickle builds anything but a state_dict."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise refused(path, "its archive is compressed, as torch.save leaves none")
            names = [entry.filename for entry in entries if entry.filename.endswith("data.pkl")]
            if len(names) != 1 or sum(entry.file_size for entry in entries) > len(data):
                raise refused(path, "not the archive of torch.save: it has no data.pkl, or says more than it holds")
            pickled = archive.read(names[0])
        for count, (operation, argument, _) in enumerate(pickletools.genops(pickled)):
            if count > MOST_OPERATIONS:
                raise refused(path, f"its pickle has more than {MOST_OPERATIONS:,} operations")
            if operation.name in ("GLOBAL", "STACK_GLOBAL", "INST") and not _GLOBALS.fullmatch(str(argument)):
                raise refused(
                    path, f"its pickle names {argument!s:.80}, expected a state_dict, torch.save(m.state_dict())"
                )
    except FormatError:
        raise
    except Exception as error:  # zipfile and pickletools meet damage with whatever it leads to
        raise refused(path, f"damaged, or no file of torch.save: {error}") from None


def _collected(path: Path, loaded: Any, size: int) -> tuple[Tensors, dict[str, str]]:
    """Return the tensors of a dictionary, and of all that lies in it, by their names joined with dots.

    Returns: the tensors, and by the same names the name of the dictionary that each lies in.
    """
    import torch

    found: Tensors = {}
    owners: dict[str, str] = {}
    waiting, seen = deque([("", "", loaded)]), set()
    while waiting:
        owner, name, value = waiting.popleft()
        if isinstance(value, torch.Tensor):
            if value.numel() * value.element_size() > size:  # an expanded one, whose copy may be of any size
                raise refused(path, f"{name!r:.80} says that it is {tuple(value.shape)}, more than the file holds")
            if value.dtype not in (torch.float32, torch.float64, torch.int64):
                remedy = "save model.float()" if value.dtype.is_floating_point else "save the parameters alone"
                raise refused(path, f"{name!r:.80} is {value.dtype}, expected float32 or float64; {remedy}")
            owners[name] = owner
            found[name] = np.ascontiguousarray(value.detach().resolve_neg().numpy())
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            if len(name) > LONGEST_NAME:
                raise refused(path, f"{name!r:.80} lies in too many dictionaries; save model.state_dict()")
            seen.add(id(value))  # one may hold itself
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += ((name, f"{name}.{key}" if name else str(key), each) for key, each in items)
    return found, owners
