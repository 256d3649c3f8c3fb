"""Reads beside the writer: a few threads, each with a connection of its own that cannot write."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from roomprobe.collector.database import open_to_read

T = TypeVar("T")
THREADS = 4


class Reader:
    """`await reader.ask(queries.fleet, now, page=2)`: the function gets a connection as its first argument."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store-reader")

    async def ask(self, query: Callable[..., T], *values: Any, **more: Any) -> T:
        """The query's answer; what it raises comes through."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, query, values, more)

    def _run(self, query: Callable[..., T], values: tuple[Any, ...], more: dict[str, Any]) -> T:
        db: sqlite3.Connection | None = getattr(self._own, "db", None)
        if db is None:
            db = self._own.db = open_to_read(self._path)
            self._open.append(db)
        db.execute("BEGIN")  # one state of the store for all statements of one question
        try:
            return query(db, *values, **more)
        finally:
            db.execute("ROLLBACK")

    def close(self) -> None:
        """Ends the threads and closes their connections."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for db in self._open:
            db.close()
