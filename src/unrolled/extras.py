"""What an extra of the package brings, and what an import says that misses it."""

from __future__ import annotations

import sys
from typing import Any

#: The extras, and the modules that each brings.
EXTRAS = {
    "torch": ("torch",),
    "plot": ("matplotlib",),
    "web": ("starlette", "uvicorn", "anyio"),
    "track": ("tensorboard",),
    "onnx": ("onnx", "onnxscript"),
    "keras": ("h5py",),
    "hub": ("huggingface_hub",),
    "sweep": ("optuna",),
    "zstd": ("zstandard",),
    "parquet": ("pyarrow",),
}


def remedy(module: str | None) -> str | None:
    """Return how to install a module that comes with an extra, None for any other.

    >>> remedy("torch")
    "torch is not installed; pip install 'unrolled[torch]'"
    """
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    return None if extra is None else f"{module} is not installed; pip install 'unrolled[{extra}]'"


class Remedy:
    """A finder of modules that is asked last, when all others have found nothing: it finds nothing, but says why.

    It speaks only where code of this package imports a module; everybody else gets Python's own error, and who asks
    ``importlib.util.find_spec`` whether there is a module gets None.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError with the remedy, or find nothing."""
        said = remedy(name)
        if said is not None and _importer().startswith("unrolled."):
            raise ModuleNotFoundError(said, name=name)


def _importer() -> str:
    """Return the name of the module whose import statement is being carried out."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_globals.get("__name__") == "importlib.util":  # nobody imports: find_spec was asked
            break
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))
