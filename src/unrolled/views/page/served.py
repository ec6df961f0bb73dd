"""The models of one server: each in the form that is looked into, and in the form that writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unrolled.config.server import Limits
from unrolled.lm.model import SequenceModel
from unrolled.notation import GATES, LONG_NAMES
from unrolled.runtime.model import RuntimeModel
from unrolled.saved.vocabulary import Ids
from unrolled.views.page.messages import ArrayCard, ModelCard
from unrolled.views.page.refusals import Refusal

#: What a gate or state lies between; it is (-1, 1) if it is not named here.
BOUNDS: Mapping[str, tuple[float | None, float | None]] = dict.fromkeys("iforz", (0, 1)) | {"c": (None, None)}


@dataclass(frozen=True)
class Served:
    """One model under its name."""

    card: ModelCard
    seen: SequenceModel
    writer: RuntimeModel

    @classmethod
    def of(cls, name: str, model: SequenceModel) -> Served:
        """Make a model ready to be served; it is not to learn on.

        Raises: ValueError if a weight is not finite, for nothing could be shown or written.
        """
        for weight, values in model.tensors().items():
            if not np.isfinite(values).all():
                raise ValueError(f"{name}: {weight} holds NaN or inf, so the model cannot be shown; train it again")
        kind, config = model.config.kind, model.config
        arrays = dict.fromkeys([*GATES[kind], *(["c"] if kind == "LSTM" else []), "h"])
        card = ModelCard(
            name=name,
            kind=kind,
            L=config.num_layers,
            H=config.hidden_size,
            V=len(model.vocabulary),
            parameters=sum(p.numel() for p in model.parameters()),
            symbols=model.vocabulary.kind,
            framed=model.framed,
            arrays=[ArrayCard(a, LONG_NAMES[a], *_bounds(kind, a)) for a in arrays],
        )
        return cls(card, model.eval(), model.runtime())

    def encode(self, text: str, limits: Limits) -> Ids:
        """Return the ids of a text.

        Raises: Refusal 413 if there are more than the limits let in.
        """
        ids = self.seen.vocabulary.encode(text)
        if len(ids) > limits.text_symbols:
            came, most = f"{len(ids):,} symbols", f"{limits.text_symbols:,}"
            raise Refusal(413, f"the text has {came}, and this server reads at most {most}; shorten it")
        return ids


def _bounds(kind: str, array: str) -> tuple[float | None, float | None]:
    return (0, None) if kind == "RNN_RELU" else BOUNDS.get(array, (-1, 1))


def load(folders: Iterable[Path]) -> dict[str, SequenceModel]:
    """Load models; each is called by its folder's name, a second one of the same name by a number as well.

    Raises: CheckpointError naming the file and what is wrong with it.
    """
    models: dict[str, SequenceModel] = {}
    for folder in folders:
        base = folder.resolve().name
        again = sum(name == base or name.startswith(f"{base}-") for name in models)
        models[f"{base}-{again + 1}" if again else base] = SequenceModel.from_pretrained(folder)
    return models
