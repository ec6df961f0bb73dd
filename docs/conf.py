"""How the documentation is built: `make docs`."""

import sys
from pathlib import Path

from unrolled import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "unrolled"
author = "the unrolled contributors"
copyright = f"2026, {author}"
release = __version__

extensions = ["myst_parser", "mathml"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"unrolled {release}"
html_static_path = ["_static"]
