"""`python -m unrolled`, the same as `unrolled`."""

from unrolled.cli import main

if __name__ == "__main__":
    main()
