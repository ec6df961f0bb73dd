"""`unrolled import`: needs no torch for a format that needs none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from unrolled.commands import Flag, WrongUse, command, examples
from unrolled.commands.console import printable
from unrolled.commands.export import size_of
from unrolled.config.data import SymbolKind
from unrolled.config.options import named_as_flags, option, options, typed
from unrolled.formats.registry import FORMATS, Format, format_of
from unrolled.notation import cell_name
from unrolled.words import counted, sized

if TYPE_CHECKING:
    from typing import TypeAlias

    from unrolled.saved.network import Layer, Network, TextPart
    from unrolled.saved.vocabulary import Vocabulary

READ = {name: each for name, each in FORMATS.items() if each.reads}
#: What a head reads, as it is said.
STEPS = {
    "each": "after each step",
    "last": "after the last step",
    "last_output": "from the output at the last step",
}
if TYPE_CHECKING:
    From: TypeAlias = str
    Step: TypeAlias = str
else:
    From = Literal[tuple(READ)]
    Step = Literal[tuple(STEPS)]


def _listed() -> str:
    """Return the formats for `--help`: of each its name and the ends of its files' names."""
    width = max(map(len, READ))
    return "\n  ".join(
        ["Formats:", *(f"{name:{width}}  {each.title}: {', '.join(each.suffixes)}" for name, each in READ.items())]
    )


app = App(
    name="import",
    usage="Usage: unrolled import FILE --out FOLDER [--vocabulary FILE | --symbols SYMBOLS] [OPTIONS]",
    help_epilogue="{}\n\n{}".format(
        _listed(),
        examples(
            "unrolled import model.npz --out runs/mine",
            "unrolled import model.npz --out runs/mine --symbols 'abc \\n' --kind characters",
        ),
    ),
)


@app.default
def import_(
    file: Annotated[Path, Parameter(help="File of a network trained elsewhere, or hub:OWNER/NAME.")],
    /,
    *,
    out: Path,
    format: Annotated[From | None, Parameter(help="Format of the file; detected if left out.")] = None,
    vocabulary: Path | None = None,
    symbols: str | None = None,
    kind: SymbolKind | None = None,
    framed: Flag = False,
    embedding: str | None = None,
    rnn: list[str] | None = None,
    head: str | None = None,
    cell: Literal["RNN_TANH", "RNN_RELU"] | None = None,
    when: Step = "each",
    softmax: Flag = False,
    one_hot: Flag = False,
    overwrite: Flag = False,
) -> None:
    r"""Read a network trained elsewhere, and write it as a model folder.

    Args:
        out: Folder to write to.
        vocabulary: The vocabulary.json of a model that reads the same symbols, or the model's folder.
        symbols: The symbols that the network reads, in the order of their ids, as a text of this kind; \n is a line
            end.
        kind: What a symbol is; with --symbols, by default "symbols", separated by spaces.
        framed: The network learned sequences that end with EOS, not one stream.
        embedding: Name of the embedding in a file that does not say which part is what; '' for none.
        rnn: Name of a recurrent part, once for each, lowest first; A+B for the two directions of one layer.
        head: Name of the head; '' for none.
        cell: What an RNN computes, where a file does not say it.
        when: What the head reads: each step, h after the last step, or the output at the last step.
        softmax: A softmax follows the head.
        one_hot: Symbols are read as one-hot vectors.
        overwrite: Replace a model that is already there.
    """
    from unrolled import imports
    from unrolled.formats.text import with_vocabulary
    from unrolled.saved.network_folder import save_network

    if vocabulary is not None and (symbols is not None or kind is not None):
        raise WrongUse(f"{option('vocabulary')} says all of the symbols; leave {option('symbols')} and --kind out")
    if kind is not None and symbols is None:
        raise WrongUse(f"{option('kind', kind)} says how {option('symbols')} is read; give both")
    text = _read(vocabulary) if vocabulary else _listed_symbols(symbols, kind) if symbols is not None else None
    found = READ[format] if format else format_of(file)
    if found is None:
        raise WrongUse(f"{file} is of no format known here; say which with --format: {', '.join(READ)}")
    told: dict[str, Any] = {"embedding": embedding, "rnn": rnn, "head": head, "kind": cell, "when": when}
    given = {name: value for name, value in told.items() if value not in (None, "each")}
    given |= {name: True for name, value in (("softmax", softmax), ("one_hot", one_hot)) if value}
    with named_as_flags(renamed={"kind": "cell"}):
        network = _network(found, getattr(imports, f"from_{found.name}"), file, given)
    if network.text is not None:
        _check_own(file, network.text, text, option("vocabulary" if vocabulary else "symbols"), framed)
    elif text is not None:
        network = with_vocabulary(network, text, framed=framed)
    elif framed:
        raise WrongUse("--framed is of a network of text; give its --vocabulary or --symbols")
    print(printable(f"{file}: {found.title}"))
    for line in described(network):
        print(printable(f"  {line}"))
    save_network(out, network, overwrite=overwrite)
    print(printable(f"wrote {out}: {sized(size_of(out))}; try:"))
    for each in _next(network, out):
        print(printable(f"  {each}"))


def _network(found: Format, reader: Callable[..., Network], file: Path, given: Mapping[str, Any]) -> Network:
    """Return what a reader finds with what the user says of the file."""
    if given and "told" not in signature(reader).parameters:
        raise WrongUse(f"{options(given)}: a file of {found.title} says this itself; leave it out")
    return reader(file, **given)


def _check_own(file: Path, own: TextPart, vocabulary: Vocabulary | None, name: str, framed: bool) -> None:
    """Refuse what contradicts the text that a file says itself."""
    if vocabulary is not None and vocabulary != own.vocabulary:
        raise WrongUse(f"{name}: {file} says itself which symbols it reads, {own.vocabulary}; leave it out")
    if framed and not own.framed:
        raise WrongUse(f"--framed: {file} says itself that it learned one stream; leave it out")


def described(network: Network) -> Iterator[str]:
    """Yield what a network reads, each of its layers, what it gives, and how many numbers it has."""
    width = None if network.embedding is None else network.embedding.shape[1]
    through = "one-hot" if width is None else f"through an embedding of {width}"
    yield (
        f"reads {counted(network.I, 'symbol')}, {through}" if network.reads_symbols else f"reads vectors of {network.I}"
    )
    for number, layer in enumerate(network.layers):
        yield f"layer {number}: {_described(layer)}"
    if network.head is not None:
        what = "probabilities" if network.head.softmax else "numbers"
        when = STEPS[network.head.when]
        yield f"head: {network.width:,} {what} {when}"
    if network.text is not None:
        yield f"text: {network.text.vocabulary!r}"
    yield f"{counted(sum(w.size for w in network.tensors().values()), 'number')}, {network.dtype}"


def _described(layer: Layer) -> str:
    options = {
        "both directions": layer.D == 2,
        f"projected to {layer.P}": layer.is_projected,
        "no biases": not layer.has_bias,
        "learned initial state": layer.initial is not None,
    }
    return ", ".join(
        [
            f"{cell_name(layer.kind)}, {counted(layer.H, 'unit')} that read {layer.I:,}",
            *(o for o, yes in options.items() if yes),
        ]
    )


def _next(network: Network, out: Path) -> list[str]:
    if network.text is None:
        return [f"in Python: unrolled.runtime.load({str(out)!r})"]
    return [command(name, out) for name in ("generate", "serve")]


def _listed_symbols(symbols: str, kind: SymbolKind | None) -> Vocabulary:
    from unrolled.saved.tokenizers import tokenizer
    from unrolled.saved.vocabulary import Vocabulary

    kind = "symbols" if kind in (None, "auto") else kind
    return Vocabulary(tokenizer(kind).listed(typed(symbols, exactly=True)), kind)


def _read(path: Path) -> Vocabulary:
    from unrolled.formats.network_of import FormatError
    from unrolled.formats.outside_files import outside_bytes
    from unrolled.saved.visible import unmarked
    from unrolled.saved.vocabulary import Vocabulary

    path = path / "vocabulary.json" if path.is_dir() else path
    data = outside_bytes(path)
    try:
        return Vocabulary.from_json(unmarked(data))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from None
