"""`python -m unrolled`, the same as `unrolled`."""

from unrolled.cli import main

main()
