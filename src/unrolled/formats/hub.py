"""The Hugging Face hub: a model's folder and a card, README.md, that says what it is and how well it predicts.

A model on the hub is a folder as `save_pretrained` writes it, so one that is downloaded is loaded as any other; nothing
in it is run.  The names of methods and options are those of huggingface_hub's ModelHubMixin.
Source: https://huggingface.co/docs/huggingface_hub/guides/integrations, https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from unrolled.config.checks import check_value
from unrolled.config.options import brief
from unrolled.formats.network_of import FormatError, Source, network_from
from unrolled.formats.registry import HUB
from unrolled.notation import cell_name
from unrolled.saved.atomic_files import write_file
from unrolled.saved.measured import load_measured
from unrolled.saved.network import Network
from unrolled.saved.network_folder import load_network, save_network
from unrolled.words import counted, rounded

#: The files of a model, and its card.
FILES, CARD = ["config.json", "vocabulary.json", "model.safetensors"], "README.md"
#: Words that YAML does not read as text.
_YAML = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


def to_hub(source: Source, folder: str | Path, *, license: str = "", overwrite: bool = False) -> None:
    """Write a folder for the hub: the model and its card.

    The card has the figures that training recorded in the folder of the model, if there are any.  Of the paths that a
    model records, those of its data, its tokenizer and the model that it started from, only the last names are kept.

    Args:
        source: what is written.
        folder: created if need be.
        license: as the hub has it, "apache-2.0" or "mit"; left out of the card if it is empty.
        overwrite: replace a model that is already there.

    Raises: CheckpointError if a model is there and overwrite is False, or the files cannot be written.
    """
    check_value("license", license, str)
    network = network_from(source)
    measured = load_measured(source) if isinstance(source, (str, Path)) else None
    save_network(folder, replace(network, origin=_without_folders(network.origin or {})), overwrite=overwrite)
    write_file(Path(folder) / CARD, card(network, measured, license).encode())


def from_hub(name: str | Path, **options: Any) -> Network:
    """Return the network of a model on the hub.

    Args: its id, OWNER/NAME, perhaps after "hub:", or its folder; options as of :func:`downloaded`.
    Raises: FormatError if it is not there or is none; CheckpointError if its files are damaged.
    """
    return load_network(name if Path(name).is_dir() else downloaded(str(name).removeprefix(HUB), **options))


def is_id(name: str) -> bool:
    """Return whether a name is an id of the hub, OWNER/NAME, and no folder that is there.

    >>> is_id("somebody/sonnets"), is_id("runs/../sonnets"), is_id("/runs"), is_id("sonnets")
    (True, False, False, False)
    """
    return re.fullmatch(r"[\w.-]*\w[\w.-]*/[\w.-]*\w[\w.-]*", name, re.ASCII) is not None and not Path(name).exists()


def downloaded(
    repo_id: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """Return the folder that holds the files of a model on the hub; they are downloaded once.

    Args: as of huggingface_hub's `snapshot_download`.
    Raises: FormatError if there is no such model or revision, or the hub cannot be reached; ModuleNotFoundError without
        huggingface_hub.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{repo_id}: is no folder here, and {error}", name=error.name) from None
    try:
        folder = str(
            huggingface_hub.snapshot_download(
                repo_id,
                allow_patterns=FILES,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
        )
    except errors.GatedRepoError:
        raise FormatError(f"{repo_id}: its authors let only some people read it; ask for access on its page") from None
    except errors.RepositoryNotFoundError:
        raise FormatError(
            f"{repo_id}: is no folder here, and not on the hub, or not public; check the name, or run `hf auth login`"
        ) from None
    except errors.RevisionNotFoundError:
        raise FormatError(f"{repo_id}: has no revision {brief(revision)}") from None
    except Exception as error:  # of the network, of the id, of the cache
        said = str(error).strip().partition("\n")[0]
        raise FormatError(
            f"{repo_id}: is no folder here, and cannot be had from the hub: {said or type(error).__name__}"
        ) from None
    if not (Path(folder) / "config.json").exists():
        raise FormatError(f"{repo_id}: has no config.json, so it is no model of this package")
    return Path(folder)


def push_to_hub(
    source: Source,
    repo_id: str,
    *,
    commit_message: str = "Push a model of unrolled",
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
    license: str = "",
) -> str:
    """Upload a model and its card to the hub; return the address of the commit.

    Args: what is pushed; the id, made if it is not there yet; options as of ModelHubMixin's `push_to_hub`, and the
        license as of :func:`to_hub`.
    Raises: FormatError if the hub refuses it or cannot be reached; ModuleNotFoundError without huggingface_hub.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "model"
        to_hub(source, folder, license=license)
        try:
            api = HfApi(token=token)
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            done = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                allow_patterns=[*FILES, CARD],
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
            )
        except Exception as error:  # of the network, of the id, of the account
            said = str(error).strip().partition("\n")[0]
            raise FormatError(f"{repo_id}: cannot be pushed to the hub: {said or type(error).__name__}") from None
    return str(done.commit_url)


def _without_folders(origin: dict[str, Any]) -> dict[str, Any]:
    """Return what a model records of where it comes from, its paths without the folders of this machine.

    >>> _without_folders({"sources": ["/home/ann/a.txt"], "started_from": {"folder": "/home/ann/runs/b"}})
    {'sources': ['a.txt'], 'started_from': {'folder': 'b'}}
    """
    kept = dict(origin)
    if isinstance(sources := kept.get("sources"), list):
        kept["sources"] = [Path(str(name)).name for name in sources]
    for section, key in (("data", "tokenizer"), ("started_from", "folder")):
        if isinstance(values := kept.get(section), dict) and key in values:
            kept[section] = values | {key: Path(str(values[key])).name}
    return kept


def card(network: Network, measured: dict[str, Any] | None, license: str = "") -> str:
    """Return the card of a model: what the hub lists it under, what it is, how well it predicts, how to use it.

    >>> import numpy as np
    >>> from unrolled.notation import Weights
    >>> from unrolled.saved.network import Layer
    >>> layer = Layer("RNN_TANH", (Weights(np.ones((2, 3)), np.eye(2)),))
    >>> print(*card(Network((layer,)), None, "mit").splitlines()[:6], sep=chr(10))
    ---
    library_name: unrolled
    license: mit
    tags:
    - unrolled
    - rnn
    """
    kinds = dict.fromkeys(layer.kind for layer in network.layers)
    tags = ["unrolled", *(cell_name(kind).lower().replace(" ", "-") for kind in kinds)]
    head = ["---", "library_name: unrolled"]
    head += [f"license: {_plain(license)}"] if license else []
    head += ["pipeline_tag: text-generation"] if network.text is not None else []
    head += ["tags:", *(f"- {tag}" for tag in dict.fromkeys(tags)), "---", ""]
    return "\n".join([*head, *_described(network), *_figures(measured), *_use(network)]) + "\n"


def _plain(license: str) -> str:
    """Return a license that cannot be read as anything else in the head of a card."""
    words = license.replace("-", "").replace(".", "")
    is_text = any(c.isalpha() for c in words) and license.lower() not in _YAML
    if not words.isalnum() or not license.isascii() or not is_text or re.fullmatch(r"[\d.]*e-?\d+", license):
        raise FormatError(f"license is {brief(license)}; expected a name as of the hub, such as apache-2.0 or mit")
    return license


def _described(network: Network) -> Iterator[str]:
    sizes = ", ".join(
        f"{cell_name(layer.kind)} of {counted(layer.H, 'unit')}" + " in both directions" * (layer.D == 2)
        for layer in network.layers
    )
    numbers = counted(sum(w.size for w in network.tensors().values()), "number")
    if network.text is None:
        yield f"# Recurrent network\n\n{sizes}; {numbers} of {network.dtype}."
        return
    vocabulary = network.text.vocabulary
    unit = "sequences that end with EOS" if network.text.framed else "one stream"
    yield f"# Language model\n\nPredicts the next of {len(vocabulary):,} {vocabulary.kind}; it learned {unit}."
    yield f"{sizes}; {numbers} of {network.dtype}."


def _figures(measured: dict[str, Any] | None) -> Iterator[str]:
    if measured is None:
        return
    of = f"{counted(measured['symbols'], 'symbol')} of {measured['of']}"
    yield f"\n## How well it predicts\n\nBits for each of {of}:\n"
    yield "| predictor | bits/symbol |\n|---|--:|"
    for name, each in {"**this model**": measured, **measured["baselines"]}.items():
        yield f"| {name} | {'infinite' if each['bits'] is None else rounded(each['bits'], 3)} |"


def _use(network: Network) -> Iterator[str]:
    yield "\n## Use\n\n```python"
    if network.model_config() is not None:
        yield "from unrolled.lm import SequenceModel\n"
        yield 'model = SequenceModel.from_pretrained("OWNER/NAME")  # the id of this page\nprint(*model.generate())'
    else:
        yield "import unrolled\n"
        yield 'network = unrolled.imports.from_hub("OWNER/NAME")  # the id of this page'
    yield "```"
