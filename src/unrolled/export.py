"""Export: functions that write a network in another format.  docs/deploy.md walks through each.

Each function takes a :class:`unrolled.saved.network.Network`, the folder of a saved model, or a module.
"""

from unrolled.formats.c_header import to_c
from unrolled.formats.equinox import to_equinox
from unrolled.formats.flax import to_flax
from unrolled.formats.html import to_html
from unrolled.formats.hub import push_to_hub, to_hub
from unrolled.formats.keras import to_keras
from unrolled.formats.nam import to_nam
from unrolled.formats.onnx import to_onnx
from unrolled.formats.onnx_translation import onnx_translations
from unrolled.formats.pt2 import to_pt2
from unrolled.formats.rtneural import to_rtneural
from unrolled.formats.torch import to_torch

__all__ = [
    "onnx_translations",
    "push_to_hub",
    "to_c",
    "to_equinox",
    "to_flax",
    "to_html",
    "to_hub",
    "to_keras",
    "to_nam",
    "to_onnx",
    "to_pt2",
    "to_rtneural",
    "to_torch",
]
