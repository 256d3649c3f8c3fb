"""The spool's tables, how its file is opened, and what SQLite's errors mean for it.

WAL with synchronous=FULL: a commit that returned is on the disk. Locked exclusively, so no shared-memory file is needed: with a
full disk there would be no place for one.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

APPLICATION = 0x726F6F6D  # "room"
VERSION = 1
PAGE = 4096
LOG_PAGES = 64  # the log is written back when it is so long: 256 KiB

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) WITHOUT ROWID, STRICT;
CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    began TEXT NOT NULL,
    size INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE loss (
    seq INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    of TEXT,
    first INTEGER,
    last INTEGER,
    count INTEGER,
    since TEXT,
    until TEXT,
    reason TEXT NOT NULL
) STRICT;
CREATE TABLE rejected (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
"""

Trouble = Literal["damaged", "full", "other"]
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DAMAGED_IO = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


class Damaged(Exception):
    """The file is no spool of ours, or not a whole one."""


def trouble(error: sqlite3.Error) -> Trouble:
    """damaged: the file cannot be trusted. full: nothing can be written just now, whatever the cause. other: our own bug."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "other"
    if code & 0xFF in _DAMAGED or code in _DAMAGED_IO:
        return "damaged"
    wanting = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
    return "full" if code & 0xFF in wanting else "other"


def connect(path: Path, pages: int) -> sqlite3.Connection:
    """The file, ready to be used from this thread; sqlite3.Error when it cannot be. It must exist already, for its mode's sake."""
    db = sqlite3.connect(path, timeout=5, isolation_level=None)
    try:
        db.execute(f"PRAGMA page_size={PAGE}")
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        db.execute(f"PRAGMA max_page_count={pages}")
        db.execute("PRAGMA cache_size=-512")
        db.execute("PRAGMA temp_store=MEMORY")
    except BaseException:
        db.close()
        raise
    return db


def create(db: sqlite3.Connection, epoch: str, agent: str) -> None:
    """The tables of a new spool, inside the caller's transaction."""
    for statement in filter(str.strip, TABLES.split(";")):
        db.execute(statement)
    db.execute(f"PRAGMA application_id={APPLICATION}")
    db.execute(f"PRAGMA user_version={VERSION}")
    rows = [("epoch", epoch), ("agent", agent), ("next", 0)]
    db.executemany("INSERT INTO meta VALUES (?, ?)", rows)


def begun(db: sqlite3.Connection) -> bool:
    """False for a file in which nothing was ever made: the crash came, or the disk was full, before the first commit."""
    return bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def check(db: sqlite3.Connection) -> dict[str, object]:
    """What `meta` holds; Damaged when the file is not a whole spool of this version."""
    numbers = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if numbers != [APPLICATION, VERSION]:
        raise Damaged("not a spool of this version")
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise Damaged("not whole")
    meta = dict(db.execute("SELECT key, value FROM meta"))
    if not isinstance(meta.get("epoch"), str) or not isinstance(meta.get("agent"), str):
        raise Damaged("without epoch")
    if type(meta.get("next")) is not int:
        raise Damaged("without numbering")
    for table in ("record", "loss", "rejected"):
        db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
    return meta


def pages(db: sqlite3.Connection) -> int:
    """Pages of the file."""
    return int(db.execute("PRAGMA page_count").fetchone()[0])


def used_pages(db: sqlite3.Connection) -> int:
    """Pages that hold something."""
    return pages(db) - int(db.execute("PRAGMA freelist_count").fetchone()[0])
