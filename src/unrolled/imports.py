"""Into this package: what reads a network that was trained elsewhere.

Each function returns a :class:`unrolled.saved.network.Network`; no code in a file is run.
"""

from unrolled.formats.onnx import from_onnx as from_onnx
from unrolled.formats.torch import from_torch as from_torch
