"""What the collector logs: warnings and its own mistakes, on stderr, with the journal's priorities under systemd.

What a stranger sends is never in it (connections.py): half a request may hold somebody's token.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

PRIORITY = {logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}  # sd-daemon(3)


class _Journal(logging.Formatter):
    """Each line with its priority, those of a traceback, too."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        return "\n".join(f"<{PRIORITY.get(record.levelno, 6)}>{line}" for line in super().format(record).split("\n"))


def set_up(env: Mapping[str, str] | None = None) -> None:
    """For the whole process."""
    handler = logging.StreamHandler()
    journal = "JOURNAL_STREAM" in (os.environ if env is None else env)
    handler.setFormatter(_Journal() if journal else logging.Formatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
