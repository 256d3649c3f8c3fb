"""Reading a file that a flag or the configuration names: it may be anything, and nothing of it may hold a process for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read(path: str | Path, most: int) -> bytes:
    """The whole of a regular file of at most `most` bytes. OSError, with `strerror` in a few words."""
    # O_NONBLOCK: a FIFO that nobody writes to would be waited for.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        with os.fdopen(number, "rb", closefd=False) as opened:
            data = opened.read(most + 1)
    finally:
        os.close(number)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 10} KiB")
    return data
