"""Small disks of their own, to be filled: a tmpfs, which needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def disk(place: Path, mib: int) -> Iterator[Path]:
    """A file system of `mib` MiB at a new directory."""
    place.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", place], capture_output=True)
    if done.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def stuff(of: Path, leave: int = 0) -> Path:
    """A file that takes all of the disk but `leave` bytes, whatever others write to it meanwhile."""
    file = of / "stuffing"
    number = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        while True:
            free = os.statvfs(of)
            size = free.f_bavail * free.f_frsize - leave
            if size <= 0:
                return file
            with contextlib.suppress(OSError):  # somebody took of it just now
                os.posix_fallocate(number, 0, size)
                return file
    finally:
        os.close(number)
