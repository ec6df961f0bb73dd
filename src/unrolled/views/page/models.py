"""GET /api/models: the models of this server and its limits; and the models as the other endpoints use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import numpy as np
from anyio import CapacityLimiter
from msgspec import Meta, Struct
from numpy.typing import NDArray

from unrolled.config.options import brief
from unrolled.config.server import Limits
from unrolled.lm.model import SequenceModel
from unrolled.runtime.text import TextModel
from unrolled.saved.atomic_files import in_utf8
from unrolled.saved.vocabulary import Ids
from unrolled.views.page.errors import RequestError
from unrolled.webpage.cards import UNITS, ModelCard, model_card
from unrolled.words import counted, told_apart


class ServerLimits(Struct, frozen=True):
    """The limits of this server."""

    body_bytes: Annotated[int, Meta(description="Largest request, in bytes.")]
    text_symbols: Annotated[int, Meta(description="Longest text or prompt, in symbols.")]
    written_symbols: Annotated[int, Meta(description="Most symbols of one generation.")]
    writing_seconds: Annotated[float, Meta(description="Longest time of one generation, in seconds.")]
    units: Annotated[int, Meta(description="Most units whose values one request may ask for.")]


class Models(Struct, frozen=True):
    """Every model of this server, in the order they were named, and its limits."""

    models: list[ModelCard]
    limits: ServerLimits


@dataclass(frozen=True)
class ServedModel:
    """One model under its name: in the form that views read, and in the form that generates."""

    card: ModelCard
    model: SequenceModel
    runtime: TextModel

    @classmethod
    def of(cls, name: str, model: SequenceModel) -> ServedModel:
        """Prepare a model for serving; it must not be trained while it is served.

        Raises: ValueError if a weight is not finite, or the name cannot be part of a URL.
        """
        if name in ("", ".", "..") or "/" in name or any("\ud800" <= c <= "\udfff" for c in name):
            raise ValueError(f"a model is named {brief(name)}, which cannot be part of a URL; give it another name")
        for weight, values in model.tensors().items():
            if not np.isfinite(values).all():
                raise ValueError(f"{name}: {weight} holds NaN or inf, so the model cannot be shown; train it again")
        parameters = sum(p.numel() for p in model.parameters())
        card = model_card(name, model.config, model.vocabulary, parameters=parameters, framed=model.framed)
        return cls(card, model.eval(), model.runtime())

    def encode(self, text: str, limits: Limits) -> Ids:
        """Return the ids of a text.

        Raises: RequestError 413 if there are more than the limits allow.
        """
        ids = self.model.vocabulary.encode(text)
        if len(ids) > limits.text_symbols:
            came, most = counted(len(ids), "symbol"), f"{limits.text_symbols:,}"
            raise RequestError(413, f"the text has {came}, and this server reads at most {most}; shorten it")
        return ids

    def check_layer(self, layer: int) -> None:
        """Raise RequestError 400 if there is no such layer."""
        if layer >= self.card.L:
            raise RequestError(400, f"layer is {layer}; the model has layers 0 to {self.card.L - 1}")

    def check_finite(self, *rows: NDArray[Any]) -> None:
        """Raise RequestError 422 if an array holds NaN or inf, which neither JSON nor a picture can hold."""
        for values in rows:
            wrong = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
            if wrong.size:
                where = f"after {counted(int(wrong[0]), 'symbol')} the state of {self.card.name} is no longer finite"
                raise RequestError(422, f"{where}, so there is nothing to show; shorten the text")


@dataclass(frozen=True)
class Service:
    """What every endpoint works with: the models by name, the limits, and the threads that compute."""

    models: Mapping[str, ServedModel]
    limits: Limits
    threads: CapacityLimiter
    ending: Event  #: set when the server ends

    def find(self, name: str) -> ServedModel:
        """Return the model of a name.

        Raises: RequestError 404 if there is none.
        """
        if name not in self.models:
            raise RequestError(404, f"there is no model {name!r}; there is {', '.join(self.models)}")
        return self.models[name]


def models(service: Service) -> Models:
    """Return the models and the limits of this server."""
    limits = {name: getattr(service.limits, name, UNITS) for name in ServerLimits.__struct_fields__}
    return Models([served.card for served in service.models.values()], ServerLimits(**limits))


def load(folders: Iterable[Path]) -> dict[str, SequenceModel]:
    """Load models; each is named after its folder, a second one of the same name gets a number too.

    Raises: CheckpointError naming the file and what is wrong with it.
    """
    named = [*folders]
    names = told_apart(in_utf8(folder.resolve().name) for folder in named)
    return {name: SequenceModel.from_pretrained(folder) for name, folder in zip(names, named, strict=True)}
