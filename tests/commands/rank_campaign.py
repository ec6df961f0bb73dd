"""Training in several processes and on two hosts, cut in every way.

    python -m tests.commands.rank_campaign                   some minutes
    python -m tests.commands.rank_campaign on_two_hosts      the parts that are named

Two hosts are two network namespaces, which need the command `ip` and its rights; without them those parts are left out,
and the last line says so.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.commands.command_line import unrolled
from tests.commands.test_train_together import DROPPED, ENDLESS, last_step, wait_for_step
from tests.commands.torchrun import ended, start, start_ranks, together, workers
from tests.commands.two_hosts import ADDRESSES, NotPermitted, options, two_hosts
from tests.lm.runs import metrics
from unrolled.saved.checkpoints import load_checkpoint

#: Loss that several processes may differ by, in nats per symbol, and seconds in which a run must end.
CLOSE, SOON = 1e-6, 20.0


def same(one, other):
    """Compare the losses of two runs."""
    found, wanted = ({line["step"]: line["nats"] for line in metrics(run) if "nats" in line} for run in (one, other))
    assert found.keys() == wanted.keys(), (found, wanted)
    worst = max(abs(found[step] - wanted[step]) for step in wanted)
    assert worst <= CLOSE, worst
    return f"losses differ by {worst:.1e} at most"


def alone(scratch):
    """Return the run of one process."""
    out = scratch / "alone"
    if not out.exists():
        assert unrolled("train", "sonnets", "--out", out, *DROPPED, "--max-steps", 100).returncode == 0
    return out


def three_processes(scratch):
    """Three processes find what one finds."""
    code, _, _, error = together(
        "train", "sonnets", "--out", scratch / "three", *DROPPED, "--max-steps", 100, processes=3
    )
    assert code == 0, error
    return same(scratch / "three", alone(scratch))


def resumed(scratch):
    """A run of three processes that is resumed by as many has the same bytes, with dropout too."""
    for out, limits in (("whole", (100,)), ("cut", (60, 100))):
        for limit in limits:
            begun = [] if limit == limits[0] else ["--resume"]
            data = ["sonnets", *DROPPED] if not begun else []
            code, _, _, error = together(
                "train", *data, *begun, "--out", scratch / out, "--max-steps", limit, processes=3
            )
            assert code == 0, error
    (found, _), (wanted, _) = (load_checkpoint(scratch / out) for out in ("cut", "whole"))
    kept = found.keys() - {"best"}  # the first part has measured its own end
    assert [name for name in kept if found[name].tobytes() != wanted[name].tobytes()] == []
    return f"the same bytes: {', '.join(sorted(kept))}"


def other_processor(scratch):
    """One of two processes computes with another instruction set: that is said once, and both train."""
    each = [["train", "sonnets", *DROPPED, "--max-steps", 20, "--out", scratch / "mixed"]] * 2
    found = [*map(ended, start_ranks(*each, prefixes=((), ("env", "UNROLLED_ISA=baseline"))))]
    assert [code for code, *_ in found] == [0, 0], found
    [said] = [line for _, _, lines, _ in found for line in lines]
    assert said.startswith("unrolled: note: rank 1 (pid "), said
    assert "computes with baseline and " in said
    return said.removeprefix("unrolled: note: ")


def every_rank_killed(scratch):
    """Each of three processes in turn is killed: it is named, once, and all end."""
    times = []
    for victim in range(3):
        out = scratch / f"killed-{victim}"
        process = start("train", *ENDLESS, "--out", out, processes=3)
        wait_for_step(1, out, process)
        pid = workers(process, 3)[victim]
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        code, _, said, error = ended(process)
        times.append(time.monotonic() - began)
        assert code
        assert len(said) == 1, error
        assert said[0].startswith(f"unrolled: rank {victim} (pid {pid} on "), said
        code, _, _, error = together("train", "--resume", "--out", out, "--max-steps", last_step(out) + 5)
        assert code == 0, error
    assert max(times) < SOON
    return f"all ended within {max(times):.1f} s"


def every_rank_asked(scratch):
    """Each of three processes in turn gets a SIGTERM: all end together, and the run goes on."""
    for victim in range(3):
        out = scratch / f"asked-{victim}"
        process = start("train", *ENDLESS, "--out", out, processes=3)
        wait_for_step(1, out, process)
        os.kill(workers(process, 3)[victim], signal.SIGTERM)
        code, shown, said, error = ended(process)
        assert (code, said) == (0, []), error
        assert "resume with: " in shown
        assert unrolled("train", "--resume", "--out", out, "--max-steps", last_step(out) + 5).returncode == 0
    return "all saved and went on"


def torchrun_asked(scratch):
    """torchrun itself gets the signal, and passes it on."""
    out = scratch / "torchrun"
    process = start("train", *ENDLESS, "--out", out)
    wait_for_step(1, out, process)
    process.send_signal(signal.SIGTERM)
    _, shown, said, error = ended(process)
    assert "resume with: " in shown, error
    assert not said
    return "saved"


def on_two_hosts(scratch):
    """Two hosts find what one process finds."""
    with two_hosts() as (hosts, _):
        arguments = ["train", "sonnets", *DROPPED, "--max-steps", 100]
        running = [
            start(*arguments, "--out", scratch / f"host-{k}", processes=k + 1, options=options(k, 29400), prefix=host)
            for k, host in enumerate(hosts)
        ]
        for code, _, _, error in map(ended, running):
            assert code == 0, error
    assert not (scratch / "host-1").exists()
    return same(scratch / "host-0", alone(scratch))


def line_cut(scratch):
    """The line between two hosts is cut: both end after the time-out, and name the other; the run goes on later."""
    out = scratch / "line"
    steady = ["sonnets", *DROPPED, "--checkpoint-every", "5", "--max-steps", "1000000"]
    with two_hosts() as (hosts, cut):
        each = [["train", *steady, "--rank-timeout", 6, "--out", out]] * 2
        running = start_ranks(*each, prefixes=hosts, address=ADDRESSES[0])
        wait_for_step(20, out, running[0])
        cut()
        began = time.monotonic()
        (code, _, first, _), (other, _, second, _) = map(ended, running)
    assert (code, other) == (1, 1)
    assert first[0].startswith("unrolled: rank 1 (pid "), first
    assert second == ["unrolled: the machine of rank 0 has not answered for 6 s"]
    seconds, reached = time.monotonic() - began, last_step(out)
    with two_hosts() as (hosts, _):
        arguments = ["train", "--resume", "--out", out, "--max-steps", reached + 20]
        running = [
            start(*arguments, processes=1, options=options(k, 29401), prefix=host) for k, host in enumerate(hosts)
        ]
        for code, _, _, error in map(ended, running):
            assert code == 0, error
    assert unrolled("train", *steady[:-1], reached + 20, "--out", scratch / "never-cut").returncode == 0
    return f"both ended within {seconds:.0f} s, and torchrun went on: {same(out, scratch / 'never-cut')}"


PARTS = {
    part.__name__: part
    for part in (
        three_processes,
        resumed,
        other_processor,
        every_rank_killed,
        every_rank_asked,
        torchrun_asked,
        on_two_hosts,
        line_cut,
    )
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parts, left_out = options.parse_args().parts or [*PARTS], []
    if unknown := [name for name in parts if name not in PARTS]:
        options.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name in parts:
            began = time.monotonic()
            try:
                said = PARTS[name](scratch)
            except NotPermitted as reason:
                left_out.append(str(reason))
                said = "left out"
            print(f"{name.replace('_', ' ')}: {said} ({time.monotonic() - began:.0f} s)", flush=True)
        shutil.rmtree(scratch, ignore_errors=True)
    if left_out:
        print(f"left out: {left_out[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
