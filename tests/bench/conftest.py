"""The benches are scripts beside the package; their tests import them as their neighbours do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
