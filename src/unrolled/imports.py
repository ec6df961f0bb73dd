"""Into this package: what reads a network that was trained elsewhere.

Each function returns a :class:`unrolled.saved.network.Network`; no code in a file is run.
"""

from unrolled.formats.char_rnn import from_char_rnn as from_char_rnn
from unrolled.formats.equinox import from_equinox as from_equinox
from unrolled.formats.flax import from_flax as from_flax
from unrolled.formats.hub import from_hub as from_hub
from unrolled.formats.keras import from_keras as from_keras
