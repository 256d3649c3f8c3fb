"""How writing survives a full disk: what can be given back is given back, one thing after the other, and then room is made inside.

With nothing left on the disk even DELETE fails, because SQLite's log has to grow for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from roomprobe.spool import schema
from roomprobe.spool.disk import Files, shown

T = TypeVar("T")


class Squeeze:
    """`tight`: the disk was full, and what was given back to it is not ours again, so the file must not grow.

    `failure`: why the last write failed, a sentence; None when it did not.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self.tight = False
        self.failure: str | None = None

    def do(self, work: Callable[[], T], between: Callable[[], object]) -> T | None:
        """What `work` gives; it is done again after each thing that was given back, with `between` before it.

        None: it could not be done.
        """
        self._relax()
        for free in (None, *self._files.ways_to_free()):
            if free is not None:
                free()
                self.tight = True
                self._tried(between)
            done = self._tried(work)
            if done is None:
                continue
            self.failure = None
            self._relax()
            return done
        return None

    def _relax(self) -> None:
        """Takes the reserve again, as soon as the disk can spare it."""
        if self._files.reserve():
            self.tight = False

    def _tried(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and schema.trouble(error) != "full":
                raise
            self.failed(error)
            return None

    def failed(self, error: Exception) -> None:
        """Remembers why."""
        self.failure = f"The spool cannot be written ({shown(error)})."

    @property
    def trouble(self) -> str | None:
        """One sentence for `status`, None when all is well."""
        tight = "The disk is full: the oldest runs are dropped to make room for new ones."
        return self.failure or (tight if self.tight else None)
