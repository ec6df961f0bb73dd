"""The C library of the package, by way of ctypes."""

import ctypes
import os
from pathlib import Path

import unrolled

PACKAGE = Path(unrolled.__file__).parent
INCLUDE = PACKAGE / "include"
#: Where an installed library is, also beside the package's own folder, and where a build leaves it.
PLACES = [*map(Path, unrolled.__path__), PACKAGE.parents[1] / "build" / "dev"]
LIBRARY = next((found for place in PLACES for found in place.glob("libunrolled.*")), None)
#: Rows and steps that `run` takes.
ROWS, STEPS = 2, 3

_SIGNATURES = {
    "load": (ctypes.c_void_p, [ctypes.c_char_p]),
    "free": (None, [ctypes.c_void_p]),
    "error": (ctypes.c_char_p, []),
    "reads_symbols": (ctypes.c_int, [ctypes.c_void_p]),
    "input": (ctypes.c_size_t, [ctypes.c_void_p]),
    "width": (ctypes.c_size_t, [ctypes.c_void_p]),
    "state_size": (ctypes.c_size_t, [ctypes.c_void_p]),
    "open": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t]),
    "close": (None, [ctypes.c_void_p]),
    "feed": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]),
    "feed_symbols": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]),
    "get_state": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]),
}


class CLibrary:
    """The functions of unrolled.h by their names without the prefix."""

    def __init__(self):
        library = ctypes.CDLL(str(LIBRARY))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, f"unrolled_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def run(self, folder):
        """Load a model, step two rows three times, look at a state, and free all; return the error, or nothing."""
        model = self.load(os.fsencode(folder))
        if model is None:
            return self.error().decode(errors="replace")
        x = (ctypes.c_char * (8 * ROWS * STEPS * self.input(model)))()  # zeros: vectors, and symbols
        y = (ctypes.c_float * (ROWS * STEPS * self.width(model)))()
        state = (ctypes.c_float * self.state_size(model))()
        stream = self.open(model, ROWS)
        feed = self.feed_symbols if self.reads_symbols(model) else self.feed
        failed = stream is None or feed(stream, x, STEPS, y) or self.get_state(stream, ROWS - 1, state)
        error = self.error().decode(errors="replace") if failed else None
        self.close(stream)
        self.free(model)
        return error
