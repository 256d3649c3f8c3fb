"""What the daemon says while it runs: lines on stderr, JSON unless that is a terminal, with the journal's priority under systemd.

Structured: one event name with a stage of started, completed or failed. Text from the network is escaped by JSON.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from roomprobe.text import escape

# structlog imports rich for its own way of showing errors, which is not used here: 4 MiB that a small box does not have.
_UNWANTED = tuple(name for name in ("rich", "better_exceptions") if name not in sys.modules)

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # sd-daemon(3)


def _structlog() -> Any:
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(_UNWANTED))  # None: an import of it fails
    try:
        return importlib.import_module("structlog")
    finally:
        for name in _UNWANTED:
            del modules[name]


structlog = _structlog()


class Lines:
    """The end of the line: writes and flushes; a stream that is gone stops nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """One line."""
        try:
            print(line, file=self._stream, flush=True)
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = exception = msg


def set_up(stream: TextIO | None = None, env: Mapping[str, str] | None = None) -> Any:
    """The daemon's logger."""
    out = sys.stderr if stream is None else stream
    journal = "JOURNAL_STREAM" in (os.environ if env is None else env)
    processors: list[Any] = [structlog.processors.add_log_level, structlog.processors.format_exc_info]
    if out.isatty():
        processors += [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), _for_people]
    else:
        if not journal:
            processors.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
        processors.append(structlog.processors.JSONRenderer(default=str))
        if journal:
            processors[-1:] = [_with_priority(processors[-1])]
    return structlog.wrap_logger(
        Lines(out), processors=processors, wrapper_class=structlog.make_filtering_bound_logger(20)
    )


def _with_priority(render: Any) -> Any:
    def rendered(logger: Any, name: str, event: dict[str, Any]) -> str:
        return f"<{PRIORITY.get(str(event.get('level')), 6)}>{render(logger, name, event)}"

    return rendered


def _for_people(_logger: Any, _name: str, event: dict[str, Any]) -> str:
    at, level, what = event.pop("timestamp", ""), event.pop("level", ""), event.pop("event", "")
    trace = event.pop("exception", None)
    said = " ".join(f"{key}={escape(str(value), 300)}" for key, value in event.items())
    return f"{at} {level:<7} {what} {said}".rstrip() + (f"\n{trace}" if trace else "")
