"""Every command of docs/scale.md runs as it stands there, with less data, smaller models and fewer steps."""

import re
import shlex
import shutil

import pytest
import zstandard

pytest.importorskip("optuna", reason="needs [sweep]")

from tests.commands.command_line import unrolled
from tests.commands.torchrun import ROOT, ended, free_port, start
from tests.commands.two_hosts import ADDRESSES, NotPermitted, two_hosts

PAGE = (ROOT / "docs" / "scale.md").read_text()
TEXT = "so long as men can breathe or eyes can see\nso long lives this and this gives life to thee\n" * 30
#: What is smaller here than on the page.
SMALLER = {
    "--minutes 60": "--max-steps 3 --hidden-size 4 --batch-size 4",
    "--vocabulary-size 16000": "--vocabulary-size 300",
    "--trials 50": "--trials 3",
    "--nproc-per-node 4": "--nproc-per-node 1",
    "data.txt --out": "data.txt --max-steps 3 --hidden-size 4 --batch-size 4 --out",
    "10.0.0.1": ADDRESSES[0],
    "max_steps = 2000": "max_steps = 3",
    "low = 64, high = 512": "low = 4, high = 8",
}


def smaller(words):
    """Return a part of the page as it is run here."""
    for large, small in SMALLER.items():
        words = words.replace(large, small)
    return words


def blocks(language):
    """The blocks of the page in a language."""
    return [smaller(block) for block in re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)]


def commands():
    """The commands of each block, as words."""
    return [[shlex.split(line, comments=True) for line in block.splitlines()] for block in blocks("sh")]


def torchrun(words, prefix=()):
    """Start the processes of a command that begins with torchrun."""
    module = words.index("-m")
    options, (processes, *rest) = words[1:module], words[words.index("--nproc-per-node") + 1 :]
    options = options[: options.index("--nproc-per-node")] or ["--standalone"]
    assert rest[:2] == ["-m", "unrolled"]
    return start(*rest[2:], processes=int(processes), options=options, prefix=prefix)


def run_on_hosts(each):
    """Run a command of torchrun for each of several hosts, side by side."""
    port = str(free_port())
    each = [[port if word == "29500" else word for word in words] for words in each]
    with two_hosts() as (hosts, _):
        for code, _, _, error in map(ended, [torchrun(*pair) for pair in zip(each, hosts, strict=True)]):
            assert code == 0, error


def run(words):
    """Run a command of one process, or of several on this machine."""
    if words[0] == "torchrun":
        code, _, _, error = ended(torchrun(words))
        assert code == 0, error
        return
    assert words[0] == "unrolled"
    done = unrolled(*words[1:])
    assert done.returncode == 0, done.stderr.decode()


def test_commands_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text(TEXT)
    (tmp_path / "data.txt").write_text(TEXT)
    (tmp_path / "wikipedia.txt.zst").write_bytes(zstandard.compress(TEXT.encode()))
    [toml] = blocks("toml")
    (tmp_path / "sweep.toml").write_text(toml)
    for block in commands():
        shutil.rmtree("runs", ignore_errors=True)
        if block[0][:2] == ["unrolled", "prepare"]:  # each block begins anew
            shutil.rmtree("corpora", ignore_errors=True)
        if "--node-rank" in block[0]:
            try:
                run_on_hosts(block)
            except NotPermitted as reason:
                pytest.skip(f"all but the last: {reason}")
            continue
        for words in block:
            if words[:2] != ["pip", "install"]:
                run(words)


def test_nothing_of_the_page_is_left_out():
    programs = [words[0] for block in commands() for words in block]
    assert {*programs} == {"unrolled", "torchrun", "pip"}
    assert [large for large in SMALLER if large not in PAGE] == []
