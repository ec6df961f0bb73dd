"""Folders that are full, closed or in the way: one sentence, and nothing overwritten or left half-made."""

import ctypes
import os
import resource
import shutil
import subprocess

import pytest

from tests.commands.command_line import SMALL, contents, refusal, unrolled


def test_existing_folder_is_left_alone(run):
    out, _ = run
    before = contents(out)
    assert "the folder is not empty" in refusal(1, "train", "sonnets", "--out", out, *SMALL)
    assert contents(out) == before


def no_rights_of_root():
    """Give up root's right to write where the permissions forbid it; a command that is not root has none."""
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
    if os.geteuid() == 0:
        ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


@pytest.mark.parametrize("place", ["run", "deep/run"])
def test_folder_that_cannot_be_written_is_named(place, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    probe = subprocess.run(["touch", str(closed / "probe")], preexec_fn=no_rights_of_root, stderr=subprocess.PIPE)
    if probe.returncode == 0:
        pytest.skip("this user may write anywhere, and may not give that up")
    error = refusal(1, "train", "sonnets", "--out", closed / place, *SMALL, before=no_rights_of_root)
    assert error.startswith(f"{closed / place}: cannot write: Permission denied; name a folder that you can write to")
    assert not list(closed.iterdir())


def test_file_in_the_place_of_the_folder_is_named_and_kept(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        assert refusal(1, "train", "sonnets", "--out", place, *SMALL).startswith(f"{place}: cannot write: ")
    assert (tmp_path / "file").read_text() == "in the way"


def disk_of(size):
    """Refuse to write any file beyond this size, as a full disk does; a real one needs a mount, and so root."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [0, 5000])
def test_full_disk_leaves_no_trace_of_a_run_that_could_not_begin(size, tmp_path):
    """No file fits, or some do: weights of 9 KB and the state of the optimiser of 28 KB do not."""
    error = refusal(1, "train", "sonnets", "--out", tmp_path / "run", *SMALL, before=disk_of(size))
    assert "cannot write: File too large; raise the limit on file sizes" in error
    assert not (tmp_path / "run").exists()


def test_full_disk_in_mid_run_keeps_the_last_checkpoint(run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    before = contents(out)
    latest = (
        out / "checkpoints" / (out / "checkpoints" / "latest").read_text().split('"checkpoint": "')[1].split('"')[0]
    )
    size = (latest / "training.safetensors").stat().st_size - 1
    go_on = ["train", "--resume", "--out", out, "--max-steps", "16", "--checkpoint-every", "2"]
    assert "cannot write: File too large" in refusal(1, *go_on, before=disk_of(size))
    assert contents(out) == before
    assert unrolled(*go_on).returncode == 0
