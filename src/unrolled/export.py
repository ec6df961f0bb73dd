"""Out of this package: what writes a network in another format.  docs/deploy.md walks through each.

Each function takes a :class:`unrolled.saved.network.Network`, the folder of a saved model, or a module.
"""

from unrolled.formats.equinox import to_equinox as to_equinox
from unrolled.formats.flax import to_flax as to_flax
from unrolled.formats.hub import push_to_hub as push_to_hub
from unrolled.formats.hub import to_hub as to_hub
from unrolled.formats.keras import to_keras as to_keras
