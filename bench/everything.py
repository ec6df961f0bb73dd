"""Every bench in order, then the picture and the tables: what `make bench` runs.

    python bench/everything.py            about fifty minutes on two idle cores
    python bench/everything.py --quick    about four; writes nothing

The parity tests come first.  If they are red, or a bench meets a result that differs from the peer's, nothing is
reported and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from harness import DRIVER, ROOT, load

PARITY = ("tests/nn/test_layers_match_torch.py", "tests/core/test_bits.py")
#: Shortest first, the grid last.
BENCHES = (
    "steps",
    "call_costs",
    "runtime",
    "c_header",
    "small_weights",
    "composing",
    "memory",
    "train_throughput",
    "parallel",
    "peers",
    "situations",
    "left_padded",
    "ragged",
    "bfloat16",
    "mixed_precision",
    "layers",
)
#: Load per core above which the numbers mean little.
IDLE = 0.5


def python(*words: str) -> int:
    """Run a file or module of this repository; return its exit code."""
    print(f"\n$ python {' '.join(words)}", flush=True)
    return subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode


def main() -> int:
    """Run all; returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    quick = options.parse_args().quick
    if load() > IDLE * (os.cpu_count() or 1):
        print(f"warning: the load is {load()}; on a busy machine the ratios, too, mean little")
    if not DRIVER.exists():
        print(
            f"warning: {DRIVER.relative_to(ROOT)} is not built; the machine's limits and the kernels' steps are missing"
        )
    started = time.perf_counter()
    if python("-m", "pytest", "-q", *PARITY):
        print("the parity tests are red: a wrong result has no speed, nothing is reported")
        return 1
    for bench in BENCHES:
        if python(f"bench/{bench}.py", *(["--quick"] if quick else [])):
            return 1
    print(f"everything: {(time.perf_counter() - started) / 60:.0f} min")
    return 0 if quick else python("bench/picture.py") or python("bench/page.py")


if __name__ == "__main__":
    sys.exit(main())
