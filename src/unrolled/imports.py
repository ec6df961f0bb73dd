"""Import: functions that read a network trained elsewhere.

Each function returns a :class:`unrolled.saved.network.Network`; no code in a file is run.
"""

from unrolled.formats.char_rnn import from_char_rnn
from unrolled.formats.equinox import from_equinox
from unrolled.formats.flax import from_flax
from unrolled.formats.hub import from_hub
from unrolled.formats.keras import from_keras
from unrolled.formats.nam import from_nam
from unrolled.formats.onnx import from_onnx
from unrolled.formats.rtneural import from_rtneural
from unrolled.formats.torch import from_torch

__all__ = [
    "from_char_rnn",
    "from_equinox",
    "from_flax",
    "from_hub",
    "from_keras",
    "from_nam",
    "from_onnx",
    "from_rtneural",
    "from_torch",
]
