"""Out of this package: what writes a network in another format.  docs/deploy.md walks through each.

Each function takes a :class:`unrolled.saved.network.Network`, the folder of a saved model, or a module.
"""

from unrolled.formats.c_header import to_c
from unrolled.formats.html import to_html
from unrolled.formats.nam import to_nam
from unrolled.formats.rtneural import to_rtneural

__all__ = ["to_c", "to_html", "to_nam", "to_rtneural"]
