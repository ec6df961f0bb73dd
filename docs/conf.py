"""How the documentation is built: `make docs`."""

from unrolled import __version__

project = "unrolled"
author = "the unrolled contributors"
copyright = f"2026, {author}"
release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"unrolled {release}"
