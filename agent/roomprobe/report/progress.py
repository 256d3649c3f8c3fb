"""One line on a terminal that says how far the run is. Nothing at all where stderr is not a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from types import TracebackType
from typing import TextIO

from roomprobe.report.page import for_encoding
from roomprobe.text import escape


class Progress:
    """`12 of 20 checks, tracing the path to acme.call.sl …`, rewritten in place; no thread and no timer.

    Written only when something changes; `close` clears the line, and everything after it is ignored.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"  # which cannot rewrite a line
        self._total = 0
        self._done = 0
        self._said = ""
        self._shown = ""

    def started(self, total: int) -> None:
        """The run has `total` checks that are really run."""
        self._total, self._done = total, 0
        self._draw()

    def done(self, n: int) -> None:
        """`n` checks in all are finished now (not: n more)."""
        self._done = n
        self._draw()

    def say(self, text: str) -> None:
        """What is going on besides, in a few words; "" takes it back."""
        self._said = text
        self._draw()

    def close(self) -> None:
        """Clears the line; may be called more than once."""
        if self._live:
            self._put("")
        self._live = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draw(self) -> None:
        if not self._live:
            return
        counted = f"{self._done} of {self._total} checks" if self._total else ""
        line = ", ".join(part for part in (counted, escape(self._said)) if part)
        self._put(for_encoding(f"{line} …" if line else "", self._stream.encoding))

    def _put(self, line: str) -> None:
        # One column stays free: a full last column makes some terminals wrap, and the line could not be cleared.
        line = line[: max(shutil.get_terminal_size((80, 24)).columns - 1, 1)]
        if line == self._shown:
            return
        self._stream.write("\r" + line + " " * (len(self._shown) - len(line)) + ("" if line else "\r"))
        self._stream.flush()
        self._shown = line
