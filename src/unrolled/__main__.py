"""`unrolled` and `python -m unrolled`: where the command line begins, before what takes time to import."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit; Ctrl-C while it is imported is told as any other."""
    try:
        from unrolled import cli
    except KeyboardInterrupt:
        sys.exit("unrolled: interrupted")
    cli.main()


if __name__ == "__main__":
    main()
