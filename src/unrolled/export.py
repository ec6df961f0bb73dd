"""Out of this package: what writes a network in another format.  docs/deploy.md walks through each.

Each function takes a :class:`unrolled.saved.network.Network`, the folder of a saved model, or a module.
"""

from unrolled.formats.html import to_html as to_html
from unrolled.formats.onnx import to_onnx as to_onnx
from unrolled.formats.onnx_translation import onnx_translations as onnx_translations
from unrolled.formats.pt2 import to_pt2 as to_pt2
from unrolled.formats.torch import to_torch as to_torch
