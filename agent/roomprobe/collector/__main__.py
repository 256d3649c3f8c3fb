"""`python -m roomprobe.collector`: the same as `roomprobe collector`."""

from __future__ import annotations

import sys

from roomprobe.collector import command
from roomprobe.config import ConfigError


def main() -> int:
    """Runs the command line; mistakes are one sentence and status 3."""
    try:
        return command.main(sys.argv[1:])
    except ConfigError as error:
        print(f"roomprobe: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
