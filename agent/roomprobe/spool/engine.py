"""The spool's file under everything that may happen to it: transactions that survive a full disk, a damaged file, a crash.

What the transactions do stands in store.py and ledger.py.
"""

from __future__ import annotations

import errno
import secrets
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from roomprobe.spool import schema
from roomprobe.spool.disk import Files, Mark, SpoolError, shown
from roomprobe.spool.ledger import Ledger, Lost, Refusal
from roomprobe.spool.opening import Opener
from roomprobe.spool.reading import Reader
from roomprobe.spool.records import Last
from roomprobe.spool.squeeze import Squeeze

CAP_BYTES = 64 << 20
LEAST_CAP_BYTES = 4 << 20
MARK_EVERY_S = 600.0

T = TypeVar("T")
NOTHING = Lost(first=None, last=None, count=0)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class Engine:
    """The open file of one spool, and what is in memory beside it. Every method from the same thread."""

    def __init__(
        self,
        files: Files,
        agent: str,
        *,
        most_bytes: int = CAP_BYTES,
        clock: Callable[[], float],
        wall: Callable[[], str],
        epochs: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.files = files
        self.agent = agent
        self.epoch: str | None = None
        self._pages = max(most_bytes, LEAST_CAP_BYTES) // schema.PAGE
        self._clock, self._wall = clock, wall
        self._opener = Opener(files, agent, self._pages, wall, epochs)
        self._db: sqlite3.Connection | None = None
        self._next = 0
        self._last: Last | None = None
        self._last_seq = -1
        self._dropped = -1  # the highest number that had to make room
        self._acknowledged: dict[int, int] = {}
        self._aside: dict[int, Refusal] = {}
        self._unwritten = NOTHING
        self._renumbered = False
        self._squeeze = Squeeze(files)
        self._marked = clock()

    # --- opening and closing

    def open(self) -> None:
        """Takes the directory and opens the file, a new one where there is none or a damaged one. SpoolError: it cannot be used.

        A disk that is full is no error: opening is then tried again with every append.
        """
        self.files.lock()
        try:
            self._opened()
        except BaseException:
            self.files.unlock()
            raise

    def _shut(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error as error:
                self._squeeze.failed(error)

    def _opened(self) -> bool:
        """Whether the file is open, after trying to open it."""
        if self._db is None:
            self._squeeze.do(self._open_file, lambda: None)
        return self._db is not None

    def _open_file(self) -> bool:
        try:
            opened = self._opener.open()
        except sqlite3.Error as error:
            if schema.trouble(error) == "full":
                raise
            raise SpoolError(f"The spool in {self.files.shown} cannot be opened ({shown(error)}).") from None
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise
            raise SpoolError(f"The spool in {self.files.shown} cannot be opened ({shown(error)}).") from None
        if opened.epoch != self.epoch:
            self._acknowledged.clear()
            self._aside.clear()
            self._last, self._dropped = None, -1
        self._db, self.epoch, self._next = opened
        return True

    # --- transactions

    def _write(self, work: Callable[[Ledger], T]) -> T | None:
        """One transaction. None: nothing can be written."""
        if not self._opened():
            return None
        return self._squeeze.do(lambda: self._transaction(work), self._checkpoint)

    def _checkpoint(self) -> None:
        """Writes the log back, so that it begins anew instead of growing."""
        self._connection().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _transaction(self, work: Callable[[Ledger], T]) -> T:
        db = self._connection()
        last = self._last, self._last_seq
        book = Ledger(db, self.epoch or "", self._next)
        try:
            db.execute("BEGIN IMMEDIATE")
            book.settle(self._acknowledged, self._aside, self._dropped)
            done = work(book)
            db.execute("COMMIT")
        except BaseException:
            self._last, self._last_seq = last
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if self._last_seq in self._aside or (book.dropped is not None and book.dropped >= self._last_seq):
            self._last = None  # what "same" would refer to will not arrive
        self.epoch, self._next = book.epoch, book.number
        self._dropped = max(self._dropped, -1 if book.dropped is None else book.dropped)
        self._acknowledged.clear()
        self._aside.clear()
        self._unwritten = NOTHING
        if self._clock() - self._marked >= MARK_EVERY_S:
            self._write_mark()
        return done

    def _retried(self, work: Callable[[], T]) -> T:
        """Once more with a new file, when it shows only now that this one is damaged."""
        try:
            return work()
        except sqlite3.Error as error:
            if schema.trouble(error) != "damaged":
                raise
            self._replace()
            return work()

    def _replace(self) -> None:
        self._shut()
        try:
            self.files.set_aside()
            self.files.ready()  # so that the new one counts as the place of a damaged one
        except OSError as error:
            self._squeeze.failed(error)

    def _write_mark(self) -> None:
        """Up to which number everything has arrived: the one below the oldest that is still here."""
        self._marked = self._clock()
        try:
            db = self._connection()
            oldest = [db.execute(f"SELECT min(seq) FROM {table}").fetchone()[0] for table in ("record", "loss")]
        except sqlite3.Error:
            return
        below = min([seq for seq in oldest if seq is not None], default=self._next) - 1
        self.files.write_mark(Mark(epoch=self.epoch or "", delivered=below if below >= 0 else None, at=self._wall()))

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise SpoolError("The spool is not open.")
        return self._db

    def _read(self, work: Callable[[Reader], T]) -> T | None:
        """None: nothing can be read."""

        def read() -> T:
            gone, aside = self._acknowledged, self._aside.keys()
            return work(Reader(self._connection(), self.agent, self.epoch or "", gone, aside))

        try:
            return self._retried(lambda: read() if self._opened() else None)
        except sqlite3.Error as error:
            if schema.trouble(error) != "full":
                raise
            self._squeeze.failed(error)
            return None
