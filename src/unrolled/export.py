"""Out of this package: what writes a network in another format.  docs/deploy.md walks through each.

Each function takes a :class:`unrolled.saved.network.Network`, the folder of a saved model, or a module.
"""

from unrolled.formats.html import to_html as to_html
