"""How the documentation is built: `make docs`."""

import sys
from pathlib import Path

from unrolled import __version__

sys.path.insert(0, str(Path(__file__).parent))

import elsewhere

project = "unrolled"
author = "the unrolled contributors"
copyright = f"2026, {author}"
release = __version__

extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"),
    *("docstrings", "generated", "mathml", "outside"),
]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "literal"
smartquotes = False  # two hyphens are two hyphens
napoleon_use_ivar = True
intersphinx_mapping = elsewhere.mapping()

html_theme = "furo"
html_title = f"unrolled {release}"
html_static_path = ["_static"]
