"""How the spool's file comes to be open: as it was left, new, or in the place of a damaged one, which is set aside.

A new file is a new epoch. Where there was a spool before, its first record says that what came after the mark is unknown.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from roomprobe.spool import schema
from roomprobe.spool.disk import Files, Mark, shown
from roomprobe.spool.ledger import Ledger, Lost
from roomprobe.wire.upload import LossReason

SHRUNK_BY = 256 << 10  # bytes that are let go at a time, and that are free afterwards


class Opened(NamedTuple):
    """A spool that is open: its epoch, and the next number of it."""

    db: sqlite3.Connection
    epoch: str
    number: int


class Opener:
    """Opens `files` for the agent `agent`, `pages` long at most; `wall` gives RFC 3339 UTC, `epochs` 16 random hex digits."""

    def __init__(
        self, files: Files, agent: str, pages: int, wall: Callable[[], str], epochs: Callable[[], str]
    ) -> None:
        self._files, self._agent, self._pages = files, agent, pages
        self._wall, self.new_epoch = wall, epochs

    def open(self) -> Opened:
        """The open spool. sqlite3.Error or OSError: it cannot be now."""
        there = self._files.ready()
        damaged = False
        if there and self._files.database.stat().st_size:
            try:
                return self._known()
            except schema.Damaged:
                self._files.set_aside()
                self._files.ready()
                damaged = True
        return self._connected(lambda db: self._begin(db, "spool-corrupt" if there else "reset", damaged=damaged))

    def _connected(self, then: Callable[[sqlite3.Connection], Opened]) -> Opened:
        db = schema.connect(self._files.database, self._pages)
        try:
            return then(db)
        except BaseException:
            db.close()
            raise

    def _known(self) -> Opened:
        """The spool that was there; Damaged when it is none, or not whole."""
        try:
            return self._connected(self._checked)
        except sqlite3.Error as error:
            # SQLITE_ERROR: a table or column that is not there.
            missing = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_ERROR
            if missing or schema.trouble(error) == "damaged":
                raise schema.Damaged(shown(error)) from None
            raise

    def _checked(self, db: sqlite3.Connection) -> Opened:
        if not schema.begun(db):
            return self._begin(db, "spool-corrupt", damaged=False)
        meta = schema.check(db)
        opened = Opened(db, str(meta["epoch"]), _number(db, meta))
        if meta["agent"] != self._agent:
            opened = self._change_agent(opened)
        return opened if schema.pages(db) <= self._pages else self._shrink(opened)

    def _begin(self, db: sqlite3.Connection, reason: LossReason, *, damaged: bool) -> Opened:
        epoch, mark = self.new_epoch(), self._files.mark()
        db.execute("BEGIN IMMEDIATE")
        schema.create(db, epoch, self._agent)
        book = Ledger(db, epoch, 0)
        if mark is not None or damaged:
            first = None if mark is None else 0 if mark.delivered is None else mark.delivered + 1
            lost = Lost(first=first, last=None, count=None, since=mark.at if mark else None, until=self._wall())
            book.lose(reason, lost, mark.epoch if mark else None)
        book.remember_number()
        db.execute("COMMIT")
        self._mark(epoch)
        return Opened(db, epoch, book.number)

    def _change_agent(self, opened: Opened) -> Opened:
        db = opened.db
        db.execute("BEGIN IMMEDIATE")
        book = Ledger(db, opened.epoch, opened.number)
        book.begin_anew(self.new_epoch(), self._agent)
        book.remember_number()
        db.execute("COMMIT")
        self._mark(book.epoch)
        return Opened(db, book.epoch, book.number)

    def _shrink(self, opened: Opened) -> Opened:
        """The cap is a smaller one than before: the oldest runs make room, and what the file does not need goes back to the disk."""
        db = opened.db
        db.execute("PRAGMA secure_delete=OFF")  # zeroing what is let go would make the log as long as the file was
        db.execute("BEGIN IMMEDIATE")
        book = Ledger(db, opened.epoch, opened.number)
        book.make_room(SHRUNK_BY, self._pages, grow=True)
        book.remember_number()
        db.execute("COMMIT")
        with contextlib.suppress(sqlite3.Error):  # a full disk has no room for it now: the next start tries again
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        db.execute(f"PRAGMA max_page_count={self._pages}")
        return opened._replace(number=book.number)

    def _mark(self, epoch: str) -> None:
        self._files.write_mark(Mark(epoch=epoch, delivered=None, at=self._wall()))


def _number(db: sqlite3.Connection, meta: Mapping[str, Any]) -> int:
    highest = [db.execute(f"SELECT max(seq) FROM {table}").fetchone()[0] for table in ("record", "loss", "rejected")]
    return max(int(meta["next"]), *(0 if seq is None else seq + 1 for seq in highest))
