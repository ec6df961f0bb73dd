"""The network that the parts of a file are, where the file does not say how they follow each other.

A state_dict, the arrays of Flax, those of Keras and the leaves of Equinox hold parts, and what joins them is a program
that is not there.  A network here is a line: each part reads what the one before it gives.  All lines that the widths
allow are looked for, those too that no network here can be.  One line is the network; of several, none is guessed, and
the error names them in the words that choose one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations, islice
from math import prod
from typing import Any, NamedTuple

from numpy.typing import NDArray

from unrolled.config.options import brief, listed, option, options
from unrolled.formats.network_of import FormatError
from unrolled.formats.told import BOTH, Told
from unrolled.notation import Kind, Weights, gate_count
from unrolled.saved.network import Head, Layer, Network

#: The cells that can be told apart by the number of their gates.
_SHOWN: tuple[Kind, ...] = ("LSTM", "GRU", "RNN_TANH")
#: Parts of the longest line that is looked for, and states of all queues.
MOST, STATES = 400, 100_000
#: Lines that a message shows, and parts.
LINES, SHOWN = 4, 12
#: The last piece of a name that only a table has, and words of one that only a head has.
_TABLE = re.compile(r"emb|.*embed.*")
_HEAD = {"head", "out", "output", "logits", "classifier", "decoder"}


class FilePart(NamedTuple):
    """One part: the layers of a recurrent one, or the matrix (O, I) of a dense one or (V, E) of a table.

    Attributes:
        name: by which a caller knows it.
        layers: lowest first; none for a matrix.
        W, b: the matrix; the bias (O), if there is one.
        is_table, is_dense: what the matrix may be.
        is_half: whether it may be one direction of two.
        series: a name by which it is counted among others; its own if empty.
    """

    name: str
    layers: tuple[Layer, ...] = ()
    W: NDArray[Any] | None = None
    b: NDArray[Any] | None = None
    is_table: bool = False
    is_dense: bool = True
    is_half: bool = False
    series: str = ""

    def widths(self, is_first: bool) -> list[tuple[int | None, int]]:
        """Return what it may read, None for symbols, which the first part alone may, and what it then gives."""
        if self.layers:
            return [(self.layers[0].I, self.layers[-1].width)]
        assert self.W is not None
        outputs, inputs = self.W.shape
        table: list[tuple[int | None, int]] = [(None, inputs)] if self.is_table and is_first else []
        return table + ([(inputs, outputs)] if self.is_dense else [])


class _Placed(NamedTuple):
    """A part in a line, and the widths of what it reads, None for symbols, and gives."""

    part: FilePart
    reads: int | None
    gives: int


def assembled(where: str, holdings: Iterable[Sequence[FilePart]], told: Told, others: Sequence[str] = ()) -> Network:
    """Return the network that the parts of a file are.

    Args:
        where: the file, for messages.
        holdings: the parts; several where they can be divided or counted in several ways.  Parts whose names differ in
            a number alone come in the order of that.
        told: what the caller says.
        others: names of what is no part of a network here, and is left out only if each part is named.
    Raises: FormatError saying what the file holds, and how to choose.
    """
    held = [[*parts] for parts in holdings]
    alone = len({frozenset(part.name for part in parts) for parts in held}) == 1
    for parts in held:
        _check(where, parts, told, others, alone=alone)
    lines, holds = _lines_of(held, told), _holds(held[0])
    if not lines:
        raise FormatError(
            f"{where}: its parts do not fit each other: {holds}; name those that do, lowest first, with "
            f"{option('embedding')}, {option('rnn')} and {option('head')}, two directions of one layer as "
            f"{option('rnn', [f'A{BOTH}B'])}"
        )
    ways = [line for line in lines if _is_network(line, halves=True)][:LINES]
    rest = [_chain(line) for line in lines if not _is_network(line, halves=True)][:LINES]
    if not ways:
        embedding, rnn, _ = _roles(lines[0])
        remedy = f"to read the recurrent part alone, say {options(_named(embedding, rnn, None))}"
        raise FormatError(f"{where}: is {' or '.join(rest)}, which no network here is: {holds}; {remedy}")
    if len(lines) > 1 or not _is_network(lines[0]):
        also = f"; it may be {' or '.join(rest)}, which no network here is" if rest else ""
        answers = ", or ".join(_answer(line, held, told) for line in ways)
        raise FormatError(f"{where}: does not say how its parts follow each other: {holds}{also}; say {answers}")
    unread = [part.name for part in held[0] if part.layers and not told.names(part.name)]
    if (others or unread) and not told.names_all:
        remedy = f"to leave it out, say {options(_named(*_roles(lines[0])))}"
        raise FormatError(
            f"{where}: it also holds {listed([*others, *unread])}, which is no part of a network here; {remedy}"
        )
    return _network(where, lines[0], told)


Line = tuple[_Placed, ...]


def one_layer(where: str, kind: Kind, weights: Weights) -> Layer:
    """Return a layer of one direction; FormatError if its weights do not fit each other."""
    layer = Layer(kind, (weights,))
    if any(w is not None and not w.size for w in weights):
        raise FormatError(f"{where}: has an array without numbers")
    try:
        Network((layer,))
    except (ValueError, IndexError) as error:
        raise FormatError(f"{where}: {str(error).removeprefix('layer 0: ')}") from None
    return layer


def kind_of(where: str, recurrent: NDArray[Any]) -> Kind:
    """Return the cell whose gates a recurrent kernel (H, G*H) stacks; FormatError if none does."""
    for kind in _SHOWN:
        if recurrent.ndim == 2 and recurrent.size and recurrent.shape[1] == gate_count(kind) * len(recurrent):
            return kind
    raise FormatError(f"{where}: its recurrent kernel is {recurrent.shape}, expected (H, G*H) with G 1, 3 or 4")


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which names sort as people count.

    >>> sorted(["cell_10", "cell_9"], key=natural)
    ['cell_9', 'cell_10']
    """
    return [(int(part[:9]), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _check(where: str, parts: list[FilePart], told: Told, others: Sequence[str], *, alone: bool) -> None:
    """Refuse names that no part has, no recurrent part, and a kind that none has.

    Args: alone: whether these are all parts there are, and not those of one division of several.
    """
    recurrent = {part.name for part in parts if part.layers}
    holds = _holds(parts)
    if not recurrent:
        beside = f", and {listed(others)}, which is no part of a network here" if others else ""
        raise FormatError(f"{where}: has no recurrent layer; it holds {holds}{beside}")
    halves = [half for name in told.rnn or () for half in _halves(name, recurrent)]
    for role, names, there in (
        ("recurrent layer", halves, recurrent),
        ("embedding", [told.embedding or None], {part.name for part in parts if part.is_table and not part.layers}),
        ("head", [told.head or None], {part.name for part in parts if part.is_dense and not part.layers}),
    ):
        for name in names:
            if name is not None and name not in there and alone:
                raise FormatError(f"{where}: no {role} is named {brief(name)}; it holds {holds}")
    kinds = {layer.kind for part in parts for layer in part.layers}
    fits = told.kind in kinds or (told.kind == "RNN_RELU" and "RNN_TANH" in kinds)
    if told.kind is not None and kinds and not fits:
        raise FormatError(
            f"{where}: {option('kind', told.kind)}, but the weights are those of {', '.join(sorted(kinds))}"
        )


def _halves(name: str, there: set[str]) -> list[str]:
    return [name] if name in there else name.split(BOTH, 1)


def _chosen(parts: list[FilePart], told: Told) -> list[FilePart]:
    """Return the parts that the caller means, those of one layer's two directions joined."""
    if told.rnn is not None:
        by_name = {part.name: part for part in parts if part.layers}
        joined = []
        for name in told.rnn:
            halves = [by_name[half] for half in _halves(name, set(by_name)) if half in by_name]
            layers = halves[0].layers if len(halves) == 1 else _joined(halves)
            if not layers:
                return []  # other parts of this file, or two that are no directions of one
            joined.append(FilePart(name, layers))
        parts = [*joined, *(part for part in parts if not part.layers)]
    if told.names_all:
        parts = [part for part in parts if part.layers or part.name in (told.embedding, told.head)]
    return parts


def _joined(halves: Sequence[FilePart]) -> tuple[Layer, ...]:
    """Return the layer whose two directions two parts are; nothing if they are none."""
    alike = [(len(half.layers), half.layers[0].kind, half.layers[0].I, half.layers[0].H) for half in halves]
    if len(halves) != 2 or alike[0] != alike[1] or any(len(h.layers) > 1 or h.layers[0].D > 1 for h in halves):
        return ()
    lower, upper = (half.layers[0] for half in halves)
    return (replace(lower, directions=lower.directions + upper.directions),)


def _lines_of(held: list[list[FilePart]], told: Told) -> list[Line]:
    """Return the first lines of any division that take what names say for certain; if there are none, of all."""
    chosen = [_chosen(parts, told) for parts in held]
    for strict in (True, False):
        lines = [line for parts in chosen for line in islice(_lines(parts, told, strict), LINES + 1)]
        if lines:
            return [*{tuple((p.part.name, p.reads, p.gives) for p in line): line for line in lines}.values()]
    return []


def _lines(parts: list[FilePart], told: Told, strict: bool) -> Iterator[Line]:
    """Yield the lines that parts make, all of them in each; `strict` ones take what names say for certain.

    Those of one name but for its number wait in a queue; a state of all queues that led to nothing is not tried again.
    """
    if not parts:
        return
    queues: dict[str, list[FilePart]] = {}
    if told.rnn is not None:  # in the order in which they are told
        queues[""] = [part for part in parts if part.layers]
        parts = [part for part in parts if not part.layers]
    for part in sorted(parts, key=lambda part: natural(part.series or part.name)):
        queues.setdefault(f"/{re.sub('[0-9]+', '#', part.series or part.name)}", []).append(part)
    if max(map(len, queues.values())) > MOST or prod(len(queue) + 1 for queue in queues.values()) > STATES:
        return
    dead: set[tuple[tuple[int, ...], int | None]] = set()

    def after(left: tuple[int, ...], below: _Placed | None) -> Iterator[Line]:
        if not any(left):
            if told.head is None or below is None or told.head == ("" if below.part.layers else below.part.name):
                yield ()
            return
        width = None if below is None else below.gives
        if (left, width) in dead or (below is not None and _is_head(below, told, strict)):
            return
        found = False
        for k, queue in enumerate(queues.values()):
            waiting = queue[len(queue) - left[k] :]
            for placed, taken in _next(waiting, width, told, strict):
                rest = tuple(n - taken * (k == j) for j, n in enumerate(left))
                for above in after(rest, placed):
                    found = True
                    yield (placed, *above)
        if not found:
            dead.add((left, width))

    yield from after(tuple(len(queue) for queue in queues.values()), None)


def _next(waiting: list[FilePart], width: int | None, told: Told, strict: bool) -> Iterator[tuple[_Placed, int]]:
    """Yield what the next of a queue may be after a width, None at the beginning, and how many parts that takes."""
    if not waiting:
        return
    part, *more = waiting
    is_table = part.name == told.embedding or (strict and part.is_table and _TABLE.fullmatch(_last(part.name)))
    candidates = []
    for reads, gives in part.widths(width is None):
        of_role = told.embedding in (None, part.name) if reads is None else part.layers or not is_table
        if of_role:
            candidates.append((_Placed(part, reads, gives), 1))
    halves = sorted(waiting[:2], key=lambda part: natural(part.name))  # the forward one is made first
    if more and part.is_half and more[0].is_half and (layers := _joined(halves)):
        both = FilePart(BOTH.join(half.name for half in halves), layers, is_half=True)
        candidates.append((_Placed(both, layers[0].I, layers[0].width), 2))
    for placed, taken in candidates:
        if width is None or placed.reads == width:
            yield placed, taken


def _is_head(placed: _Placed, told: Told, strict: bool) -> bool:
    """Return whether a part of this name can only be the last."""
    if placed.part.layers or placed.reads is None:
        return False
    return placed.part.name == told.head or (strict and bool(_HEAD & {*re.split("_", _last(placed.part.name))}))


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1].lower()


def _is_network(line: Line, *, halves: bool = False) -> bool:
    """Return whether a network here is such a line; `halves` takes two directions that are guessed."""
    first = line[0].reads is None
    middle = line[first:]
    middle = middle[:-1] if not middle[-1].part.layers else middle
    guessed = any(BOTH in placed.part.name and placed.part.is_half for placed in middle)
    return all(placed.part.layers for placed in middle) and bool(middle) and (halves or not guessed)


def _roles(line: Line) -> tuple[str | None, list[str], str | None]:
    names = [placed.part.name for placed in line]
    embedding = names[0] if line[0].reads is None else None
    head = None if line[-1].part.layers else names[-1]
    return embedding, [placed.part.name for placed in line if placed.part.layers], head


def _named(embedding: str | None, rnn: list[str], head: str | None) -> dict[str, Any]:
    return {"embedding": embedding or "", "rnn": rnn, "head": head or ""}


def _answer(line: Line, held: list[list[FilePart]], told: Told) -> str:
    """Return the least that a caller has to say for a line."""
    names = _named(*_roles(line))
    for roles in chain(combinations(("head", "embedding", "rnn"), 1), combinations(("head", "embedding", "rnn"), 2)):
        answer = {role: names[role] for role in names if role in roles}
        more: dict[str, Any] = {role: tuple(name) if role == "rnn" else name for role, name in answer.items()}
        found = _lines_of(held, told._replace(**more))
        if len(found) == 1 and _is_network(found[0]) and _roles(found[0]) == _roles(line):
            return options(answer)
    return options(names)


def _chain(line: Line) -> str:
    return " -> ".join(brief(placed.part.name) for placed in line)


def _holds(parts: Sequence[FilePart]) -> str:
    """Return each part with the widths of what it reads and gives."""

    def held(part: FilePart) -> str:
        if part.layers:
            kinds = "/".join(dict.fromkeys(layer.kind for layer in part.layers))
            return f"{brief(part.name)} ({kinds}, {part.layers[0].I} to {part.layers[-1].width})"
        assert part.W is not None
        outputs, inputs = part.W.shape
        return f"{brief(part.name)} ({f'{inputs} to {outputs}' if part.is_dense else f'{outputs} by {inputs}'})"

    shown = ", ".join(map(held, parts[:SHOWN])) or "nothing"
    return shown if len(parts) <= SHOWN else f"{shown} and {len(parts) - SHOWN} more"


def _network(where: str, line: Line, told: Told) -> Network:
    """Return the network of a line that is one."""
    layers = tuple(layer for placed in line for layer in placed.part.layers)
    elman = [placed.part.name for placed in line if any(each.kind == "RNN_TANH" for each in placed.part.layers)]
    if elman and told.kind not in ("RNN_TANH", "RNN_RELU"):
        raise FormatError(
            f"{where}: {brief(elman[0])} is an RNN, whose weights do not tell its nonlinearity; say "
            f"{option('kind', 'RNN_TANH')} or {option('kind', 'RNN_RELU')}"
        )
    if told.kind == "RNN_RELU":
        layers = tuple(replace(each, kind=told.kind) if each.kind == "RNN_TANH" else each for each in layers)
    last = line[-1].part
    if last.layers and (told.when != "each" or told.softmax):
        given = option("when", told.when) if told.when != "each" else option("softmax", True)
        raise FormatError(f"{where}: {given} is of a head, but there is none; leave it out")
    head = None if last.layers or last.W is None else Head(last.W, last.b, told.when, told.softmax)
    return Network(layers, line[0].part.W if line[0].reads is None else None, told.one_hot, head)
