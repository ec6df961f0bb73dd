"""How far a result is from the truth, in units in the last place (ULP) of the result's type."""

import numpy as np
from mpmath import mp

from unrolled import _core

#: The claim of csrc/math-inl.h: no result is further off than this, of either function, in either type.
WORST = 2.6

EXACT = {"tanh": mp.tanh, "sigmoid": lambda x: 1 / (1 + mp.exp(-x))}
#: Exact enough to judge a float32: a double's own error is 1e-9 of a float's last place.
IN_DOUBLE = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}


def activate(function, x):
    """The kernels' own tanh or sigmoid, on the instruction set in use."""
    y = np.empty_like(x)
    _core.activate(function, x, y)
    return y


def floats(first, last, stride=1):
    """The float32 numbers whose bit patterns are first, first + stride, ... below last."""
    return np.arange(first, last, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)


def truth(function, x):
    """The function of finite float32 x, in double."""
    with np.errstate(over="ignore"):
        return IN_DOUBLE[function](x.astype(np.float64))


def ulp_errors(got, want):
    """Distance of each float32 from the truth (double) in ULP; zero is exact where the truth is a denormal."""
    smallest = np.finfo(np.float32).tiny
    place = np.spacing(np.abs(want).astype(np.float32)).astype(np.float64)
    flushed = (np.abs(want) < smallest) & (np.abs(got) <= smallest)
    return np.where(flushed, 0.0, np.abs(got - want) / place)


def ulp_error_of_double(function, x, got):
    """Distance of one double from the truth, worked out to 40 digits."""
    with mp.workdps(40):
        want = EXACT[function](mp.mpf(float(x)))
        if abs(want) < np.finfo(np.float64).tiny and abs(got) <= np.finfo(np.float64).tiny:
            return 0.0
        return float(abs(mp.mpf(float(got)) - want) / mp.mpf(float(np.spacing(abs(float(want))))))
