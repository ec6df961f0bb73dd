"""Two network namespaces, joined by a pair of virtual interfaces: two hosts for all that the network knows."""

import os
import shutil
import subprocess
from contextlib import contextmanager

ADDRESSES = ("10.77.31.1", "10.77.31.2")


class NotPermitted(Exception):
    """This machine does not let us make network namespaces."""


def ip(*words):
    """Run `ip`."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPermitted(f"no network namespaces: ip {' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def two_hosts():
    """Yield the words that run a command on each of two hosts, and a function that cuts the line between them.

    Raises: NotPermitted with the reason, if this machine does not let us.
    """
    if not shutil.which("ip"):
        raise NotPermitted("no network namespaces: there is no command ip")
    names = [f"unrolled-{os.getpid()}-{host}" for host in "ab"]
    lines = [f"u{os.getpid()}{host}" for host in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", lines[0], "netns", names[0], "type", "veth", "peer", "name", lines[1], "netns", names[1])
        for name, line, address in zip(names, lines, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", line)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", line, "up")
        yield (
            [["ip", "netns", "exec", name] for name in names],
            lambda: ip("-n", names[1], "link", "set", lines[1], "down"),
        )
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def options(node, port):
    """Options of torchrun for one of the hosts."""
    return ["--nnodes=2", f"--node-rank={node}", f"--master-addr={ADDRESSES[0]}", f"--master-port={port}"]
