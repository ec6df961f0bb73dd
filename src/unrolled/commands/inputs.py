"""Resolve, record and re-read a run's inputs, and read what a trained model is given as its own data was read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from unrolled.commands import WrongUse
from unrolled.config.data import DataConfig, Format, ReadingConfig
from unrolled.config.options import note_idle, option, typed
from unrolled.words import counted

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.saved.vocabulary import Text, Vocabulary

#: The sign for standard input.
STANDARD_INPUT = "-"
#: The words for data that comes with the package.
PACKAGED = ("sonnets", "anbn")
#: Shares of UNK from which other data is refused, because it was most likely read in another way, and noted.
FOREIGN, NOTED = 0.5, 0.02
#: The options of every command that gives a trained model data to read.
Reading: TypeAlias = Annotated[ReadingConfig, Parameter(name="*", group="Data")]


def read(data: Sequence[str], config: DataConfig, vocabulary: Vocabulary | None = None, extend: bool = False) -> Corpus:
    """Return the corpus of files, folders, standard input or data that comes with the package.

    Args: data, as :func:`named` or :func:`origin` has it; how to read it; the vocabulary of a model that it is for, and
        whether to extend that.
    Raises: CorpusError naming the file and what is wrong with it.
    """
    from unrolled.corpus.anbn import anbn
    from unrolled.corpus.corpus import Corpus
    from unrolled.corpus.sonnets import sonnets

    if [*data] == ["sonnets"]:
        return Corpus.from_text(sonnets(), config, vocabulary=vocabulary, extend=extend)
    if [*data] == ["anbn"]:
        return Corpus.from_sequences(anbn(), config, vocabulary=vocabulary, extend=extend)
    return Corpus.read(list(data), config, vocabulary=vocabulary, extend=extend)


def named(data: Sequence[str]) -> list[str]:
    """Return names as they were typed such that a word for data of the package stands for that alone.

    A file of that name, or a folder of data, becomes ./sonnets; the folder of a run may be called by the word too.
    """
    from unrolled.saved.checkpoints import is_model_or_run

    def is_data(path: Path) -> bool:
        return path.is_file() or (path.is_dir() and any(path.iterdir()) and not is_model_or_run(path))

    return [f"./{name}" if name in PACKAGED and is_data(Path(name)) else name for name in data]


def note_unread(config: DataConfig, corpus: Corpus, names: Sequence[str] = ()) -> None:
    """Warn of options that do nothing for the data of a corpus; `names` are its files, if they are not its sources."""
    from unrolled.corpus.prepared import is_prepared

    names = names or corpus.sources
    if not is_prepared(names[0]):  # all was decided when it was prepared
        as_bytes = corpus.vocabulary.tokenizer.reads_bytes
        format = _format(names, config)
        note_idle(config, config.without_effect(format, as_bytes, corpus.stream))


def _format(names: Sequence[str], config: DataConfig) -> Format:
    from unrolled.corpus.reading import Source
    from unrolled.corpus.records import format_of

    return format_of([Source(Path(name)) for name in names], config)


def origin(data: Sequence[str], config: DataConfig, corpus: Corpus) -> dict[str, Any]:
    """Return what config.json records of a run's data, valid from any working folder.

    >>> from unrolled.corpus.corpus import Corpus
    >>> origin(["sonnets"], DataConfig(), Corpus.from_text("abab" * 30))["sources"]
    ['sonnets']
    """
    named = [_recorded(name) for name in data]
    return {"data": asdict(config), "sources": named, "fingerprint": corpus.fingerprint}


def _recorded(name: str) -> str:
    """Return the path by which a source can be read again; a pipe, which can be read once only, is standard input's."""
    from unrolled.saved.atomic_files import recorded

    path = Path(name)
    if name in PACKAGED:
        return name
    if name == STANDARD_INPUT or (path.exists() and not path.is_file() and not path.is_dir()):
        return STANDARD_INPUT
    if not path.exists() and not has_magic(name):
        return name
    place = recorded(path)
    if not Path(place).is_absolute():
        said = "the path of this folder is not UTF-8, so the run records only the names in it; resume it from here"
        warnings.warn(said, stacklevel=2)
    return place


def is_recorded(data: Sequence[str], saved: Mapping[str, Any]) -> bool:
    """Return whether some of other data is, by its name, what a model was trained on.

    >>> is_recorded(["sonnets"], {"sources": ["sonnets"]})
    True
    """
    return not {*map(_recorded, named(data))}.isdisjoint(saved.get("sources") or [])


def read_again(folder: Path, saved: Mapping[str, Any], vocabulary: Vocabulary) -> Corpus:
    """Return the corpus that a model was trained on, from what its config.json records.

    Raises: CorpusError if that data cannot be read, or is no longer what the model was trained on.
    """
    from unrolled.corpus.reading import CorpusError
    from unrolled.saved.model import section

    sources, config = saved.get("sources"), saved.get("data")
    if not sources or config is None or STANDARD_INPUT in sources:
        raise CorpusError(f"{folder}: the model's config.json records no files that it was trained on")
    try:
        corpus = read(sources, section(DataConfig, "data", config), vocabulary)
    except CorpusError as error:
        raise CorpusError(f"the model's own data cannot be read again: {error}") from None
    if saved.get("fingerprint", corpus.fingerprint) != corpus.fingerprint:
        raise CorpusError(f"{', '.join(sources)}: changed since the model was trained on it")
    return corpus


def read_other(data: Sequence[str], reading: ReadingConfig, saved: Mapping[str, Any], vocabulary: Vocabulary) -> Corpus:
    """Return the corpus of other data, read as the model's own was, all of it in the training split.

    Raises: CorpusError if it has another shape than the model learned, or if most of its symbols are unknown.
    """
    from unrolled.corpus.reading import CorpusError

    refuse_held_out(data)
    config = _whole(reading, saved, data)
    corpus = read(named(data), config, vocabulary)
    note_idle(reading, reading.without_effect(_format(corpus.sources, config), vocabulary.tokenizer.reads_bytes))
    refuse_other_shape(corpus, data, saved["framed"])
    inputs, ids = ", ".join(data), corpus.train.ids
    unk = float((ids == vocabulary.unk_id).sum() / max(1, (ids != vocabulary.eos_id).sum()))
    if unk > FOREIGN:
        ways = ", ".join(map(option, ("lines", "format", "column")))
        raise CorpusError(
            f"{inputs}: the model knows only {1 - unk:.0%} of its symbols, so nothing would be measured; read it as "
            f"the training data was ({ways}), or take data in the same {vocabulary.kind}"
        )
    if unk > NOTED:
        warnings.warn(f"{inputs}: {unk:.1%} of the symbols are unknown to the model and read as UNK", stacklevel=2)
    return corpus


def refuse_held_out(data: Sequence[str]) -> None:
    """Refuse a prepared corpus with parts held out, for other data is measured whole.

    Raises: CorpusError naming the folder and how to prepare it.
    """
    from unrolled.corpus.prepared import is_prepared, read_index
    from unrolled.corpus.reading import CorpusError

    if len(data) == 1 and is_prepared(data[0]):
        prepared = read_index(Path(data[0]))[0].data
        shares = {name: prepared.get(name, getattr(DataConfig(), name)) for name in ("validation", "test")}
        if any(shares.values()):
            were, whole = (
                " ".join(option(name, share) for name, share in each.items())
                for each in (shares, dict.fromkeys(shares, 0))
            )
            said = f"{data[0]}: prepared with {were}, but other data is measured whole"
            raise CorpusError(f"{said}; prepare it again with {whole}")


def refuse_other_shape(corpus: Corpus, data: Sequence[str], framed: bool) -> None:
    """Refuse a stream for a model that learned sequences, and sequences for one that learned a stream.

    Raises: CorpusError naming the data and the option that reads it otherwise.
    """
    from unrolled.corpus.reading import CorpusError

    if corpus.stream == framed:
        shapes = {True: "one stream", False: "sequences that each end with EOS"}
        remedy = option("lines", True) if corpus.stream else f"{option('format', 'text')} {option('lines', False)}"
        learned = shapes[not corpus.stream]
        raise CorpusError(
            f"{', '.join(data)}: read as {shapes[corpus.stream]}, but the model learned {learned}; use {remedy}"
        )


def read_text(model: Path, text: str | None, file: Path | None, reading: ReadingConfig) -> Sequence[Text]:
    r"""Return what a model is given to read, one text for each sequence: a text as typed, standard input or a file.

    In a typed text \n is a line end.  A file, a folder or an archive is read as the model's training data was, unless
    options say otherwise.

    Raises: WrongUse if there is no text or more than one; CorpusError naming the file and what is wrong with it.
    """
    if (text is None) == (file is None):
        raise WrongUse("give one text to read: the text itself, - for standard input, or --file")
    from unrolled.corpus import finding
    from unrolled.corpus import reading as files
    from unrolled.corpus.records import format_of, records
    from unrolled.saved.model import SavedModel

    loaded = SavedModel.load(model)
    config = _whole(reading, loaded.origin, [str(file or STANDARD_INPUT)])
    as_bytes = loaded.vocabulary.tokenizer.reads_bytes
    if text is not None and text != STANDARD_INPUT:
        note_idle(reading, reading.without_effect(None, as_bytes))
        return _divided(typed_for(loaded.vocabulary, text), config)
    sources = finding.find_sources(file or STANDARD_INPUT, config.include, config.encoding)
    sources = sources if as_bytes else finding.text_only(sources)
    format = format_of(sources, config)
    note_idle(reading, reading.without_effect(format, as_bytes))
    texts: list[Text] = []
    for source in sources:
        if format != "text" or config.separator:
            texts += [record for _, record in records(source, format, config)]
        else:
            whole = b"".join(files.byte_blocks(source)) if as_bytes else "".join(files.text_blocks(source))
            texts += _divided(whole, config)
    return texts


def typed_for(vocabulary: Vocabulary, text: str) -> str:
    """Return a text as it was meant that was typed for a model.

    Carriage returns stay where it reads them: one of bytes does, and one trained in Python on text with them.
    """
    return typed(text, exactly=vocabulary.tokenizer.reads_bytes or "\r" in vocabulary.symbols)


def _divided(text: str | bytes, config: DataConfig) -> Sequence[Text]:
    return lines(text) if config.lines else [text]


def lines(text: str | bytes) -> list[str] | list[bytes]:
    """Return the lines of a text, each a sequence, without empty ones."""
    if isinstance(text, str):
        return [line for line in text.split("\n") if line]
    return [line for line in text.split(b"\n") if line]


def refuse_several(texts: Sequence[Text], file: Path | None) -> None:
    """Refuse more than one sequence: the model reads each from its start, and a picture has one axis of time.

    Raises: WrongUse naming the file.
    """
    if len(texts) > 1:
        where = "the text" if file is None else str(file)
        raise WrongUse(f"{where} has {counted(len(texts), 'sequence')}, and one is shown; give that one as the text")


def joined(texts: Sequence[Text]) -> str | bytes:
    """Return several sequences as one text."""
    if texts and all(isinstance(text, bytes) for text in texts):
        return b"\n".join(text for text in texts if isinstance(text, bytes))
    return "\n".join(text if isinstance(text, str) else " ".join(map(str, text)) for text in texts)


def note_unknown(vocabulary: Vocabulary, texts: Sequence[Text], folder: Path | None = None) -> None:
    """Warn of symbols that a model does not know, with its folder if it is one of several."""
    from unrolled.runtime.unknown import unknown_note

    if said := unknown_note(vocabulary, *texts):
        warnings.warn(said if folder is None else f"{folder}: {said}", stacklevel=2)


def _whole(reading: ReadingConfig, saved: Mapping[str, Any], data: Sequence[str]) -> DataConfig:
    from unrolled.corpus.records import as_named
    from unrolled.saved.model import section

    own = section(DataConfig, "data", saved.get("data") or {})  # holds: a model is not loaded otherwise
    if not (reading.lines or reading.separator):
        own = as_named(saved.get("sources") or [], own, data)
    return replace(reading.over(own, saved["framed"]), split_by="auto", validation=0.0, test=0.0)
