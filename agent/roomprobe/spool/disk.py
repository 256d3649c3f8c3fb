"""The files around the spool: the lock, the reserve for a full disk, the mark that outlives the spool, what is set aside.

All in one directory of mode 0700, each of mode 0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from roomprobe.model import Frozen
from roomprobe.text import escape
from roomprobe.wire.upload import Epoch, Seq, Time

RESERVE_BYTES = 1 << 20
MOST_MARK = 4096


class SpoolError(Exception):
    """The spool cannot be used at all; one clear sentence."""


class Mark(Frozen, frozen=True, kw_only=True):
    """What is remembered beside the spool: its epoch, and that all up to `delivered` had arrived at `at`."""

    epoch: Epoch
    delivered: Seq | None
    at: Time


class Files:
    """The files of one spool. Nothing is touched before `lock`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = directory / "spool.db"
        self.aside = directory / "spool.db.corrupt"
        self._mark = directory / "spool.mark"
        self._reserve = directory / "spool.reserve"
        self._lock: int | None = None

    @property
    def shown(self) -> str:
        """The directory as a sentence names it."""
        return escape(str(self.directory))

    def lock(self) -> None:
        """Makes the directory and takes it for this process, until `unlock` or the end of it; SpoolError otherwise."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.directory.stat().st_mode & 0o077 and self.directory.stat().st_uid == os.geteuid():
                self.directory.chmod(0o700)
            self._lock = os.open(self.directory / "spool.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(f"The spool in {self.shown} cannot be used ({error.strerror}).") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.unlock()
            raise SpoolError(f"The spool in {self.shown} is in use by another roomprobe.") from None

    def unlock(self) -> None:
        """Gives the directory back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- the database file

    def ready(self) -> bool:
        """Makes an empty database file of mode 0600 where there is none; whether there was one."""
        try:
            os.close(os.open(self.database, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            os.close(os.open(self.database, os.O_RDWR | os.O_CLOEXEC))  # SQLite's own error would not say why it cannot
            return True
        # What a lost database left would be replayed into the new one.
        for name in self._companions(self.database):
            name.unlink(missing_ok=True)
        self._sync_directory()
        return False

    def set_aside(self) -> None:
        """Renames the database, and keeps it until the next one is set aside. Its log first: see `ready`."""
        for old in (self.aside, *self._companions(self.aside)):
            old.unlink(missing_ok=True)
        for old, new in zip(self._companions(self.database), self._companions(self.aside), strict=True):
            with contextlib.suppress(FileNotFoundError):
                old.replace(new)
        with contextlib.suppress(FileNotFoundError):
            self.database.replace(self.aside)
        self._sync_directory()

    @staticmethod
    def _companions(database: Path) -> tuple[Path, ...]:
        return tuple(database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal"))

    def _sync_directory(self) -> None:
        number = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    # --- a full disk

    def reserve(self) -> bool:
        """Takes RESERVE_BYTES of the disk, to be given back when it is full; whether they are there now.

        Leaves the disk alone when it has not four times as much: others may need the last of it.
        """
        try:
            if self._reserve.exists() and self._reserve.stat().st_blocks * 512 >= RESERVE_BYTES:
                return True
            free = os.statvfs(self.directory)
            if free.f_bavail * free.f_frsize < 4 * RESERVE_BYTES:
                return False
            number = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(number, 0, RESERVE_BYTES)
            finally:
                os.close(number)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            return False
        return True

    def ways_to_free(self) -> tuple[Callable[[], None], ...]:
        """What can be given back to a full disk, the reserve before what was set aside."""
        return (lambda: self._gone(self._reserve), lambda: self._gone(self.aside, *self._companions(self.aside)))

    @staticmethod
    def _gone(*files: Path) -> None:
        for file in files:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    # --- the mark

    def mark(self) -> Mark | None:
        """The mark, None where there is none that can be read."""
        try:
            with self._mark.open("rb") as file:
                return msgspec.json.decode(file.read(MOST_MARK), type=Mark)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def write_mark(self, mark: Mark) -> None:
        """Replaces the mark. Not synced: it is a hint for the day that the spool is lost. A full disk keeps the old one."""
        new = self._mark.with_name(self._mark.name + ".new")
        try:
            number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(number, "wb") as file:
                file.write(msgspec.json.encode(mark))
            new.replace(self._mark)
        except OSError:
            self._gone(new)


def shown(error: Any) -> str:
    """An error of SQLite or the system in a few words."""
    text = getattr(error, "strerror", None) or re.sub(r"\s+", " ", str(error))
    return escape(str(text), 100)
