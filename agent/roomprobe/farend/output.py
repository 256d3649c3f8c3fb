"""Where events go: stdout and a log file of bounded size, written by a thread of its own.

A terminal that was stopped, or a pager that reads no further, must not keep the ports from answering: lines wait in a
bounded queue, and are counted when it is full.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from roomprobe.config import ConfigError
from roomprobe.farend.limits import MOST_LOG_BYTES, MOST_QUEUED, STOP_S
from roomprobe.text import escape

RESERVE = 200  # what the last line of a full log needs


class LogFile:
    """NDJSON appended to a regular file until it has MOST_LOG_BYTES. ConfigError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        name = escape(str(path))
        try:
            # Without O_NONBLOCK a pipe would wait for its reader.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
            self._number = os.open(path, flags, 0o644)
            found = os.fstat(self._number)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "no file has such a name"
            raise ConfigError(f"--log {name} cannot be written ({why}).") from None
        if not stat.S_ISREG(found.st_mode):
            os.close(self._number)
            raise ConfigError(f"--log {name} is not a regular file; give the name of a file.")
        if found.st_size > MOST_LOG_BYTES - 2 * RESERVE:
            os.close(self._number)
            raise ConfigError(
                f"--log {name} already has 10 MiB, the most that is written; give the name of another file."
            )

    def append(self, data: bytes) -> str | None:
        """Writes whole lines; why it is the end ("full", or what the system says), None when it is not."""
        try:
            size = os.fstat(self._number).st_size
            if size + len(data) > MOST_LOG_BYTES - RESERVE:
                return "full"
            if os.write(self._number, data) < len(data):  # the disk is as good as full: no half lines
                os.ftruncate(self._number, size)
                return os.strerror(errno.ENOSPC)
        except OSError as error:
            return os.strerror(error.errno or 0)
        return None

    def last(self, data: bytes) -> None:
        """One last line that says that there is no more, where there is room for it; closes the file."""
        with contextlib.suppress(OSError):
            if len(data) <= RESERVE:
                os.write(self._number, data)
            os.close(self._number)


class Output:
    """`failed` is called from the thread, once, when stdout cannot be written; `trouble` is then the error."""

    def __init__(
        self, log: LogFile | None, ended: Callable[[str], tuple[bytes, bytes]], failed: Callable[[], None]
    ) -> None:
        self._log = log
        self._ended = ended
        self._failed = failed
        self._queue: queue.Queue[tuple[bytes, bytes] | None] = queue.Queue(MOST_QUEUED)
        self._thread = threading.Thread(target=self._work, name="output", daemon=True)
        self.trouble: OSError | None = None
        self.unsaid = 0
        self._thread.start()

    def put(self, shown: bytes, logged: bytes) -> None:
        """One line, or several, for stdout and for the log; an empty one is nothing."""
        try:
            self._queue.put_nowait((shown, logged))
        except queue.Full:
            self.unsaid += 1

    def close(self) -> None:
        """Gives what waits STOP_S to be written; a terminal that stands still keeps nobody here."""
        until = time.monotonic() + STOP_S
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=STOP_S)
        self._thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while (pair := self._queue.get()) is not None:
            shown, logged = pair
            # The log first: it does not depend on whether somebody reads the terminal.
            if self._log is not None and logged and (why := self._log.append(logged)) is not None:
                told, last = self._ended(why)
                self._log.last(last)
                self._log = None
                shown += told
            try:
                self._show(shown)
            except OSError as error:
                if self.trouble is None:
                    self.trouble = error
                    self._failed()

    def _show(self, data: bytes) -> None:
        # Not through sys.stdout: at the end Python would wait for a lock that a write which never ends still holds.
        while data and self.trouble is None:
            try:
                data = data[os.write(sys.stdout.fileno(), data) :]
            except BlockingIOError:
                time.sleep(0.05)  # somebody made it non-blocking, for instance an ssh in the same terminal
