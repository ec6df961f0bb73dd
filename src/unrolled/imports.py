"""Into this package: what reads a network that was trained elsewhere.

Each function returns a :class:`unrolled.saved.network.Network`; no code in a file is run.
"""

from unrolled.formats.nam import from_nam
from unrolled.formats.onnx import from_onnx
from unrolled.formats.rtneural import from_rtneural
from unrolled.formats.torch import from_torch

__all__ = ["from_nam", "from_onnx", "from_rtneural", "from_torch"]
