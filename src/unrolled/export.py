"""Out of this package: what writes a network in another format.  docs/deploy.md walks through each.

Each function takes a :class:`unrolled.saved.network.Network`, the folder of a saved model, or a module.
"""

from unrolled.formats.equinox import to_equinox
from unrolled.formats.flax import to_flax
from unrolled.formats.html import to_html
from unrolled.formats.hub import push_to_hub, to_hub
from unrolled.formats.keras import to_keras

__all__ = ["push_to_hub", "to_equinox", "to_flax", "to_html", "to_hub", "to_keras"]
