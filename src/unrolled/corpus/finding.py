"""The sources that files, folders, archives, patterns and standard input stand for."""

from __future__ import annotations

import glob
import os
import stat
import warnings
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, compress
from pathlib import Path

from unrolled.config.data import UTF_8
from unrolled.config.options import brief, option
from unrolled.corpus import tar
from unrolled.corpus.reading import PARQUET, SAMPLE, CorpusError, CorpusWarning, Source, unpacked_blocks
from unrolled.saved.checkpoints import PREPARED, is_model_or_run

#: The folder in it of what is not finished yet, and files of which it has one then.
UNFINISHED, BEGUN = "unfinished", ("plan.json", "000000.ids")
#: How the names of the files of a prepared corpus end.
OF_PREPARED = {".json", ".ids", ".ends"}


def find_sources(data: str | Path | Sequence[str | Path], include: str = "", encoding: str = UTF_8) -> list[Source]:
    """Return the sources that a path, a folder, ``-`` or a list of these stands for, in the order given.

    Args:
        data: a folder stands for all files below it that are not hidden, sorted by path; a warning names the folders
            of models, runs and prepared corpora below it, which are left out; a tar archive for the files in it; a name
            with *, ? or [ for all that match it, sorted; ``-`` for standard input.
        include: pattern of the files that are taken from a folder, "" for all.
        encoding: of all of them.

    Raises: CorpusError if a path is empty or does not exist, a folder holds no file, or standard input is named twice.

    >>> [str(source) for source in find_sources("-")]
    ['standard input']
    """
    sources = _found(data, include, encoding)
    if not sources:
        raise CorpusError("no data was named; give a file, a folder, or - to read standard input")
    if [source.path for source in sources].count(None) > 1:
        raise CorpusError("standard input is named twice; it can be read only once")
    names = [data] if isinstance(data, str | Path) else data
    if include and not any(Path(name).is_dir() for name in names):
        said = f"{option('include', include)} has no effect"
        warnings.warn(f"{said}: it chooses the files of a folder, and no folder is named", CorpusWarning, stacklevel=3)
    if again := _again(sources):
        said = f"read twice, for it is named twice, or by a link: {_first_of(again)}"
        warnings.warn(f"{said}; what is held out of it may be trained on too", CorpusWarning, stacklevel=3)
    return sources


def _found(data: str | Path | Sequence[str | Path], include: str, encoding: str) -> list[Source]:
    sources: list[Source] = []
    for name in [data] if isinstance(data, str | Path) else data:
        path = Path(name)
        if not str(name):  # Path makes the folder of the process of it
            raise CorpusError("the name of a file is empty; give its path, or . for the folder that you are in")
        if str(name) == "-":
            sources.append(Source(None, encoding=encoding))
        elif (path / PREPARED).is_file():
            raise CorpusError(
                f"{path}: a prepared corpus, which is read on its own; name the data itself, or only this folder"
            )
        elif _is_unfinished(path):
            raise CorpusError(
                f"{path}: a corpus that is not finished; prepare it again, and it continues where it stopped"
            )
        elif path.is_dir() and not include and is_model_or_run(path):
            raise CorpusError(
                f"{path}: a model or a run, which is not read as data; name the data, or choose files in it with "
                f"{option('include')}"
            )
        elif path.is_dir():
            files = _files(path, include)
            if not files:
                which = f"no file {include}" if include else "no file"
                raise CorpusError(f"{path}: the folder holds {which}; name a folder of text files, or the files")
            sources += chain.from_iterable(_of_file(file, True, encoding) for file in files)
        elif (path.parent / PREPARED).is_file() and path.suffix in OF_PREPARED and any(path.parent.glob("*.ids")):
            raise CorpusError(f"{path}: a part of the prepared corpus {path.parent}; name that folder")
        elif path.exists():
            sources += _of_file(path, False, encoding)
        elif glob.has_magic(str(name)):
            if not (matching := sorted(glob.glob(str(name), recursive=True))):
                raise CorpusError(f"{name}: no file matches; check the pattern")
            sources += _found(matching, include, encoding)
        else:
            hint = "; data is read from files, so download it first" if "://" in str(name) else ""
            raise CorpusError(f"{name}: no such file; check the path, or give - to read standard input{hint}")
    return sources


def _again(sources: Sequence[Source]) -> list[Source]:
    """Return the sources that are the same as one before them, by whatever name."""
    seen, again = set(), []
    for source in sources:
        if source.path is None:
            continue
        found = source.path.stat()
        place = (found.st_dev, found.st_ino, source.stretch)
        if place in seen and stat.S_ISREG(found.st_mode):
            again.append(source)
        seen.add(place)
    return again


def text_only(sources: Sequence[Source]) -> list[Source]:
    """Return the sources without what is not text in a folder; a warning names what is left out.

    Raises: CorpusError if nothing is left.
    """
    binary = [source.in_folder and _is_binary(source) for source in sources]
    skipped = [*compress(sources, binary)]
    kept = [source for source, left_out in zip(sources, binary, strict=True) if not left_out]
    if skipped:
        said = f"not text, and so skipped: {_first_of(skipped)}"
        if not kept:
            raise CorpusError(f"{said}; nothing is left to read")
        warnings.warn(f"{said}; {option('include')} chooses files by a pattern", CorpusWarning, stacklevel=4)
    return kept


def _walk(folder: Path, ours: Collection[Path]) -> tuple[list[Path], list[Path]]:
    """Return what a folder names and does not give: what may not be read in it, and links to folders or to nothing.

    Args: the folder; those below it that are left out.
    """
    refused: list[str] = []
    links: list[str] = []
    errors: list[OSError] = []
    left_out = {*map(str, ours)}
    for parent, folders, files in os.walk(folder, onerror=errors.append):
        folders[:] = [n for n in folders if not n.startswith(".") and os.path.join(parent, n) not in left_out]
        links += [path for path in (os.path.join(parent, n) for n in folders) if os.path.islink(path)]
        for path in (os.path.join(parent, n) for n in files if not n.startswith(".")):
            if not os.access(path, os.R_OK):  # of a link, what it leads to
                (refused if os.path.exists(path) else links).append(path)
    refused += [error.filename for error in errors]
    return sorted(map(Path, refused)), sorted(map(Path, links))


def _of_file(path: Path, in_folder: bool, encoding: str) -> Iterator[Source]:
    """Yield what a file holds: itself, or the files of an archive."""
    if not tar.is_tar(path):
        yield Source(path, in_folder, encoding)
        return
    try:
        members, links = tar.members(path)
    except (tar.TarError, OSError) as error:
        raise CorpusError(f"{path}: {error}") from None
    if not members:
        raise CorpusError(f"{path}: the archive holds no file")
    if links:
        said = f"{path}: links in the archive, and so skipped: {_first_of(links)}"
        warnings.warn(said, CorpusWarning, stacklevel=5)
    for member in members:
        yield Source(path, True, encoding, (member.start, member.stop), member.name)


def _files(folder: Path, include: str) -> list[Path]:
    """Return the files below a folder that are data, sorted by path."""
    try:
        found = [p for p in folder.rglob(include or "*") if p.is_file() and not _hidden(p.relative_to(folder))]
    except (ValueError, NotImplementedError) as error:
        raise CorpusError(f"{option('include')} is {brief(include)}: {error}; write it as in *.txt") from None
    inner = {parent for p in found for parent in p.parents if folder in parent.parents}
    ours = {each for each in inner if is_model_or_run(each) or (each / PREPARED).is_file() or _is_unfinished(each)}
    if ours:
        said = f"of a model, a run or a prepared corpus, and so skipped: {_first_of(sorted(ours))}"
        warnings.warn(said, CorpusWarning, stacklevel=5)
    refused, links = _walk(folder, ours)
    unreadable = {*refused}
    for left_out, why in ((refused, "may not be read"), (links, "links to folders or to nothing")):
        if left_out:
            warnings.warn(f"{why}, and so skipped: {_first_of(left_out)}", CorpusWarning, stacklevel=5)
    return sorted(p for p in found if ours.isdisjoint(p.parents) and p not in unreadable)


def _first_of(names: Sequence[object]) -> str:
    """Return the first of several names, and how many more there are."""
    return f"{names[0]}" + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")


def _is_unfinished(folder: Path) -> bool:
    """Return whether a folder is that of a corpus whose preparation goes on, or was interrupted."""
    return any((folder / UNFINISHED / name).is_file() for name in BEGUN)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_binary(source: Source) -> bool:
    """Return whether a file begins as no text does; a byte that is not UTF-8 is no sign, for its text can be mended.

    Parquet is none, and not meant to be.
    """
    if source.suffix == PARQUET:
        return False
    try:
        start = next(unpacked_blocks(source), b"")[: 8 * SAMPLE]
    except CorpusError:
        return True
    return b"\0" in start and source.is_utf8
