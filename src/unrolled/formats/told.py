"""What a caller says of a file that does not say it: which part is what, and what weights do not tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict, get_type_hints

from unrolled.config.checks import check_value
from unrolled.config.options import brief, option
from unrolled.notation import Kind
from unrolled.saved.network import When

#: Between the names of the two directions of one layer.
BOTH = "+"


class Telling(TypedDict, total=False):
    """What a caller may say of a file that does not say it, as :func:`unrolled.imports.from_torch` explains."""

    kind: Kind | None
    embedding: str | None
    rnn: str | Sequence[str] | None
    head: str | None
    when: When
    softmax: bool
    one_hot: bool


class Told(NamedTuple):
    """What a caller says of a file that does not say it; a name is "" for a part that is missing, None to be found."""

    embedding: str | None = None
    rnn: tuple[str, ...] | None = None
    head: str | None = None
    kind: Kind | None = None
    when: When = "each"
    softmax: bool = False
    one_hot: bool = False

    @classmethod
    def of(cls, telling: Telling) -> Told:
        """Return what a caller says; TypeError or ValueError naming the argument that is no such value."""
        hints = get_type_hints(Telling)
        for name, value in telling.items():
            if name not in hints:
                raise TypeError(f"there is no argument {name!r}; expected {', '.join(hints)}")
            if name != "rnn":
                check_value(name, value, hints[name])
        rnn = telling.get("rnn")
        if not isinstance(rnn, str | Sequence | None) or rnn in ([], ()):
            raise TypeError(f"rnn is {brief(rnn)}, expected a name or a list of names, or None")
        names = (rnn,) if isinstance(rnn, str) else rnn if rnn is None else tuple(rnn)
        for each in names or ():
            check_value("rnn", each, str)
        halves = [half for each in names or () for half in each.split(BOTH, 1)]
        if twice := next((each for each in halves if halves.count(each) > 1), ""):
            raise ValueError(f"rnn names {brief(twice)} twice, expected each part once, lowest first")
        return cls(**telling | {"rnn": names})  # type: ignore[arg-type]

    def given(self) -> list[str]:
        """Return what is told, as the caller writes it."""
        return [option(name, value) for name, value in self._asdict().items() if value != Told._field_defaults[name]]

    def names(self, part: str) -> bool:
        """Return whether this recurrent part, or one direction of two, is among those told; if none are, each is."""
        return self.rnn is None or any(part in (each, *each.split(BOTH, 1)) for each in self.rnn)

    @property
    def names_all(self) -> bool:
        """Whether each part of the network is named, so that others may be left out."""
        return None not in (self.embedding, self.rnn, self.head)
