"""Measure tanh and sigmoid on every float32 there is, on every instruction set: about ten minutes on one core.

python -m tests.core.full_sweep
"""

import numpy as np

from tests.core.ulp import WORST, activate, floats, truth, ulp_errors
from unrolled import _core

PATTERNS, CHUNK = 1 << 32, 1 << 22


def main():
    """Print the worst error of each function on each instruction set, and fail if one is above what is stated."""
    worst = {}
    for first in range(0, PATTERNS, CHUNK):
        x = floats(first, first + CHUNK)
        nan = np.isnan(x)
        x[np.abs(x) < np.finfo(np.float32).tiny] = 0
        for function in ("tanh", "sigmoid"):
            want = truth(function, x)
            for name in _core.instruction_sets():
                _core.force_instruction_set(name)
                y = activate(function, x)
                assert (np.isnan(y) == nan).all(), f"{function} on {name}: NaN out is not NaN in"
                errors = np.where(nan, 0, ulp_errors(y, want))
                k = int(errors.argmax())
                worst[name, function] = max(worst.get((name, function), (0.0, 0.0)), (float(errors[k]), float(x[k])))
    for (name, function), (error, x) in worst.items():
        print(f"{name:10} {function:8} {error:.3f} ULP at {x!r}")
    assert max(error for error, _ in worst.values()) <= WORST


if __name__ == "__main__":
    main()
