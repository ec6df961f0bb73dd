"""Links from signatures to the documentation of torch and NumPy, without asking their sites when the pages are built.

Sphinx takes such links from inventories, files that other sites publish.  This one is written here, of the names that
signatures of this package mention.
"""

import tempfile
import zlib
from pathlib import Path

TORCH, NUMPY = "https://docs.pytorch.org/docs/stable/", "https://numpy.org/doc/stable/"
SITES = {
    "torch": (TORCH, {
        "torch.Tensor": "tensors.html#torch.Tensor",
        "torch.device": "tensor_attributes.html#torch.device",
        "torch.dtype": "tensor_attributes.html#torch.dtype",
        "torch.nn.Module": "generated/torch.nn.Module.html#torch.nn.Module",
        "torch.nn.RNNBase": "generated/torch.nn.RNNBase.html#torch.nn.RNNBase",
        "torch.nn.modules.rnn.RNNBase": "generated/torch.nn.RNNBase.html#torch.nn.RNNBase",
        "torch.nn.utils.rnn.PackedSequence":
            "generated/torch.nn.utils.rnn.PackedSequence.html#torch.nn.utils.rnn.PackedSequence",
    }),
    "numpy": (NUMPY, {
        "numpy.ndarray": "reference/generated/numpy.ndarray.html#numpy.ndarray",
        "numpy.typing.NDArray": "reference/typing.html#numpy.typing.NDArray",
        "numpy.int64": "reference/arrays.scalars.html#numpy.int64",
        "numpy.float64": "reference/arrays.scalars.html#numpy.float64",
    }),
}  # fmt: skip


def inventory(name, uris):
    """Return an inventory as bytes, in the format of Sphinx's version 2."""
    lines = "".join(f"{target} py:class 1 {uri} -\n" for target, uri in uris.items())
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    return head.encode() + zlib.compress(lines.encode())


def mapping():
    """Return the value of `intersphinx_mapping`."""
    folder = Path(tempfile.mkdtemp())
    for name, (_, uris) in SITES.items():
        (folder / f"{name}.inv").write_bytes(inventory(name, uris))
    return {name: (site, str(folder / f"{name}.inv")) for name, (site, _) in SITES.items()}
