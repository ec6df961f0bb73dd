"""One HTML file: a text network, and the page of `unrolled serve` around it; a browser shows it without a server.

The page computes in JavaScript what the server would, from weights that stand in it as base64 of little-endian numbers,
and writes what `unrolled generate` writes with the same options and seed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import Number, StoredWeights, check_value, number_in
from unrolled.config.generation import GenerationConfig
from unrolled.config.server import Limits
from unrolled.core.bfloat16 import narrowed
from unrolled.core.int8 import quantised
from unrolled.formats.network_of import FormatError, Source, network_from, refuse
from unrolled.notation import GATES
from unrolled.saved.atomic_files import in_utf8, write_file
from unrolled.saved.network import Network
from unrolled.saved.starts import unwritten
from unrolled.webpage.cards import JACOBIAN_WORK, LAGS, MOST, SHOWN, UNITS, model_card
from unrolled.webpage.one_file import one_file

#: The limits of a server that are a page's too: they are what a reader can look over, not what a machine can bear.
_LIMITS = ("text_symbols", "written_symbols", "writing_seconds")
#: The options of a text that a page writes, with their types and ranges: those of a server.
_OPTIONS = {
    each: hint
    for each, hint in get_type_hints(GenerationConfig, include_extras=True).items()
    if each not in ("beam_width", "stop")
}

#: The arrays that one becomes in the page, by how it is kept: `data`, of int8 with the `scale` of each row.
_KEPT: dict[StoredWeights, Callable[[NDArray[Any]], dict[str, NDArray[Any]]]] = {
    "float32": lambda w: {"data": w.astype("<f4")},
    "bfloat16": lambda w: {"data": narrowed(w).astype("<u2")},
    "int8": lambda w: {"data": (matrix := quantised(w)).q, "scale": matrix.scale.astype("<f4")},
}


def to_html(source: Source, path: str | Path, *, name: str | None = None, weights: StoredWeights | None = None) -> None:
    """Write a text network as a page that needs no server: open it from disk, or send it by mail.

    Args:
        source: a network, the folder of a saved model, or a module.
        path: the file.
        name: what the page calls it; the name of the folder, or of the file, if left out.
        weights: how the numbers of matrices are stored, float32, bfloat16 or int8; by default as the network is saved.
            The page computes in float32 with each of them.

    Raises: FormatError, before anything is written, if a page cannot show the network.

    >>> import tempfile
    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> path = Path(tempfile.mkdtemp()) / "small.html"
    >>> to_html(SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab", "characters")).network(), path)
    >>> "<script" in path.read_text(encoding="utf-8")
    True
    """
    check_value("weights", weights, StoredWeights | None)
    check_value("name", name, str | None)
    network = network_from(source)
    weights = weights or network.narrow or "float32"
    folder = in_utf8(Path(source).resolve().name) if isinstance(source, str | Path) else Path(path).stem
    write_file(path, one_file(_described(network, name or folder, weights)).encode("utf-8"))


def _described(network: Network, name: str, weights: StoredWeights) -> dict[str, Any]:
    """Return the network in JSON values, as alone/service.js reads it."""
    refuse(
        "an HTML page",
        network,
        two_ways="it has no next step; train a network that reads forward",
        projection="train one without",
        peepholes="train an LSTM without",
    )
    config, text = network.model_config(), network.text
    if text is None:
        raise FormatError("an HTML page cannot hold a network without a vocabulary: there is nothing to type")
    if config is None or network.head is None:
        raise FormatError(
            "an HTML page cannot hold this network: it needs layers of one kind and size, and a head that predicts the "
            "next symbol after each step"
        )
    kind, limits = config.kind, asdict(Limits())
    tensors = _tensors(network)
    parameters = sum(w.size for each, w in tensors.items() if each != "start")
    card = model_card(name, config, text.vocabulary, parameters=parameters, framed=text.framed)
    return {
        "card": msgspec.to_builtins(card),
        "limits": {each: limits[each] for each in _LIMITS} | {"units": UNITS},
        "options": {each: getattr(GenerationConfig, each) for each in _OPTIONS},
        "ranges": {each: _range(number) for each, hint in _OPTIONS.items() if (number := number_in(hint))},
        "shown": SHOWN,
        "most": MOST,
        "lags": LAGS,
        "jacobian_work": JACOBIAN_WORK,
        "gates": GATES[kind],
        "vocabulary": {"kind": text.vocabulary.kind, "nfc": text.vocabulary.nfc, "symbols": text.vocabulary.symbols},
        "unwritten": np.flatnonzero(unwritten(text.start, text.vocabulary.unk_id, text.framed)).tolist(),
        "network": {
            "kind": kind,
            "L": config.num_layers,
            "H": config.hidden_size,
            "tensors": {each: _kept(w, weights if w.ndim == 2 else "float32") for each, w in tensors.items()},
        },
    }


def _range(number: Number) -> dict[str, Any]:
    """Return the numbers that an option may be, and the words for them."""
    low, is_open = (number.bounds.gt, True) if number.bounds.ge is None else (number.bounds.ge, False)
    return {"low": low, "open": is_open, "high": number.bounds.le, "whole": number.kind is int, "legal": str(number)}


def _tensors(network: Network) -> dict[str, NDArray[Any]]:
    """Return the arrays that the page needs, by their stored names; a head that is the embedding is left out.

    Raises: FormatError if a number is not finite in float32.
    """
    assert network.head is not None
    assert network.text is not None
    layers = tuple(layer.biased() for layer in network.layers)
    tensors = replace(network, layers=layers).tensors() | {"start": network.text.start}
    tensors.setdefault("head.bias", np.zeros(len(network.head.W)))
    if network.embedding is not None and np.array_equal(network.embedding, network.head.W):
        del tensors["head.weight"]
    with np.errstate(over="ignore"):
        tensors = {each: w.astype(np.float32) for each, w in tensors.items()}
    for each, w in tensors.items():
        if not np.isfinite(w).all():
            raise FormatError(f"an HTML page cannot show this network: {each} is not finite in float32; train it again")
    return tensors


def _kept(w: NDArray[Any], kept: StoredWeights) -> dict[str, str]:
    arrays = {name: b64encode(array.tobytes()).decode("ascii") for name, array in _KEPT[kept](w).items()}
    return {"kept": kept} | arrays
