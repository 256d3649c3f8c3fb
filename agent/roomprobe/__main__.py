"""`python -m roomprobe`, and the `roomprobe` command."""

from roomprobe.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
