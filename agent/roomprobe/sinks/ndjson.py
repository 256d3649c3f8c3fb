"""Each run as one line of JSON at the end of a file, for whoever collects logs. Bounded, and friendly to logrotate.

The file is opened anew when it was renamed or removed; when it grows beyond its bound it is renamed to FILE.1, which is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roomprobe.text import escape

MOST_BYTES = 64 << 20
MOST_LINE = 4 << 20


class NdjsonFile:
    """A file that runs are appended to. `trouble` is one sentence when the last write failed, else None."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most_bytes
        self._fd: int | None = None
        self.trouble: str | None = None

    async def write(self, document: Mapping[str, Any]) -> bool:
        """Appends a report document; whether all of it stands in the file. Nothing is raised: a log must not stop the daemon."""
        return await asyncio.to_thread(self._write, document)

    def close(self) -> None:
        """Closes the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, document: Mapping[str, Any]) -> bool:
        line = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            fd = self._opened(len(line))
            size = os.fstat(fd).st_size
            written = 0
            try:
                while written < len(line):
                    written += os.write(fd, line[written:])
            except OSError:
                if written:
                    os.ftruncate(fd, size)  # half a line would spoil the next one
                raise
        except OSError as error:
            self.trouble = f"{escape(str(self._path))} cannot be written ({error.strerror})."
            self.close()
            return False
        self.trouble = None
        return True

    def _opened(self, more: int) -> int:
        """The file at the path as it is now, with room for `more` bytes."""
        if self._fd is not None and not self._is_current(self._fd):
            self.close()
        if self._fd is None:
            self._fd = self._open()
        size = os.fstat(self._fd).st_size
        if size and size + more > self._most:
            self.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._fd = self._open()
        return self._fd

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self._path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        # O_NONBLOCK: a FIFO that nobody reads would otherwise hold the thread for ever.
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(0, "not a regular file")
        try:
            _mend(fd)
        except OSError:
            os.close(fd)
            raise
        return fd


def _mend(fd: int) -> None:
    """Lets the file end with a whole line: what a kill left of one of ours goes, anything else gets its newline."""
    size = os.fstat(fd).st_size
    if not size or os.pread(fd, 1, size - 1) == b"\n":
        return
    begin = max(0, size - MOST_LINE)
    tail = os.pread(fd, MOST_LINE, begin)
    cut = tail.rfind(b"\n") + 1
    if tail.startswith(b'{"', cut) and (cut or not begin):
        with contextlib.suppress(PermissionError):  # one that may only be appended to
            os.ftruncate(fd, begin + cut)
            return
    os.write(fd, b"\n")
