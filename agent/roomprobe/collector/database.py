"""Opening the store's file: pragmas, the version it has, the steps to the version that is wanted.

One connection writes (writer.py), any number of others read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from roomprobe.config import ConfigError
from roomprobe.text import escape

NAME = "collector.sqlite3"
APPLICATION_ID = 0x726F6F6D  # "room": a file of another program is refused
# Script n takes a store from version n to n + 1. Scripts that were shipped are never edited.
MIGRATIONS: Sequence[str] = ("schema.sql",)


def open_to_write(path: Path) -> sqlite3.Connection:
    """The one connection that writes; makes or migrates the store. ConfigError says in one sentence why it cannot."""
    shown = escape(str(path))
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 2000")
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA cache_size = -65536")
        db.execute("PRAGMA temp_store = MEMORY")
        _migrate(db, shown)
    except OSError as error:
        raise ConfigError(f"The store {shown} cannot be written ({error.strerror}).") from None
    except sqlite3.Error as error:
        raise ConfigError(f"The store {shown} cannot be used ({error}).") from None
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; each thread has its own."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    db.execute("PRAGMA query_only = 1")
    db.execute("PRAGMA cache_size = -16384")
    db.row_factory = sqlite3.Row
    return db


def _migrate(db: sqlite3.Connection, shown: str, steps: Sequence[str] = MIGRATIONS) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    owner = int(db.execute("PRAGMA application_id").fetchone()[0])
    empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not (empty and version == 0) and owner != APPLICATION_ID:
        raise ConfigError(f"{shown} is a database of another program; give roomprobe a directory of its own.")
    if version > len(steps):
        raise ConfigError(
            f"The store {shown} has version {version} and this roomprobe knows {len(steps)}: install the newer roomprobe again."
        )
    for number, script in enumerate(steps[version:], version + 1):
        text = resources.files("roomprobe.collector").joinpath(script).read_text(encoding="utf-8")
        done = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number};"
        try:
            db.executescript(f"BEGIN IMMEDIATE;\n{text}\n{done}\nCOMMIT;")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Holds the state directory for one collector, until it ends in whatever way; ConfigError when another one has it."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"Another collector runs with the state directory {escape(str(directory))}.") from None
        yield
    finally:
        os.close(held)


def writable(directory: Path) -> None:
    """Makes the state directory, for its owner alone; ConfigError when it cannot be made or written."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The state directory {escape(str(directory))} cannot be made ({error.strerror}).") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(f"The state directory {escape(str(directory))} cannot be written by this user.")
