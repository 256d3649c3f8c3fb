"""The one thread that writes: jobs that wait together share one commit, and none is answered before that commit.

A job is a function of the connection; it runs in a savepoint, so that one that fails takes nothing of the others with it.
"""

from __future__ import annotations

import functools
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
MOST_TOGETHER = 64  # jobs of one commit
MOST_WAITING = 1_000


class Unavailable(Exception):
    """The store cannot write now (disk full, disk error, too many waiting); nothing of the job was stored."""


class Refused(Exception):
    """A job says no for a reason of its own; nothing of it is stored, and the others are."""


class Writer:
    """Owns the writing connection. `forget` is called after every rollback: what was learnt from lost rows is void."""

    def __init__(self, db: sqlite3.Connection, forget: Callable[[], None] = lambda: None) -> None:
        self._db = db
        self._forget = forget
        self._jobs: queue.Queue[tuple[Callable[[sqlite3.Connection], Any], Future[Any]] | None] = queue.Queue()
        self._closed = False
        self.commits = 0
        self.jobs = 0
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Runs `job` in the writer; the future is done after the commit that holds it, or with why it is not stored."""
        done: Future[T] = Future()
        if self._closed or self._jobs.qsize() >= MOST_WAITING:
            done.set_exception(Unavailable("the store has too much to do"))
        else:
            self._jobs.put((job, done))
        return done

    @property
    def waiting(self) -> int:
        """Jobs that nobody has begun with."""
        return self._jobs.qsize()

    def close(self, timeout: float = 5.0) -> None:
        """Finishes what waits, then closes the connection."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join(timeout)

    def _work(self) -> None:
        while True:
            first = self._jobs.get()
            together = [] if first is None else [first]
            last = first is None
            while not last and len(together) < MOST_TOGETHER:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                else:
                    together.append(more)
            if together:
                self._commit(together)
            if last:
                self._db.close()
                return

    def _commit(self, together: list[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]]) -> None:
        db = self._db
        answers: list[Callable[[], None]] = []
        try:
            db.execute("BEGIN IMMEDIATE")
            for job, done in together:
                answers.append(self._run(job, done))
            db.execute("COMMIT")
            self.commits += 1
            self.jobs += len(together)
        except (sqlite3.Error, Unavailable) as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._forget()
            if len(together) > 1:  # one that the store cannot take must not keep the others out
                for one in together:
                    self._commit([one])
            else:
                together[0][1].set_exception(Unavailable(f"the store cannot write now ({error})"))
            return
        for answer in answers:
            answer()

    def _run(self, job: Callable[[sqlite3.Connection], Any], done: Future[Any]) -> Callable[[], None]:
        self._db.execute("SAVEPOINT job")
        try:
            result = job(self._db)
        except sqlite3.Error:
            raise  # disk full and its like may have ended the whole transaction: nobody may be told that it holds
        except Refused as error:
            return self._undone(done, error)
        except Exception as error:
            logging.getLogger("roomprobe").exception("internal error in the store; nothing of this job was stored")
            return self._undone(done, error)
        self._db.execute("RELEASE job")
        return functools.partial(done.set_result, result)

    def _undone(self, done: Future[Any], error: Exception) -> Callable[[], None]:
        self._db.execute("ROLLBACK TO job")
        self._db.execute("RELEASE job")
        self._forget()
        return functools.partial(done.set_exception, error)
