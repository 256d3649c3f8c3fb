"""The spool: every run is kept here until the collector has it (docs/spool.md). The part that the daemon's loop talks to.

One writer thread does all of the work, so that a slow disk never holds the loop.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from roomprobe.spool.disk import Files, SpoolError
from roomprobe.spool.engine import CAP_BYTES
from roomprobe.spool.reading import Queued
from roomprobe.spool.records import Position
from roomprobe.spool.store import NotKept, State, Store

__all__ = ["CAP_BYTES", "NotKept", "Position", "Queued", "Spool", "SpoolError", "State"]

T = TypeVar("T")


def wall_time() -> str:
    """Now, as RFC 3339 UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Spool:
    """The queue in `directory` for what the agent `agent` (its UUID) produces, at most `most_bytes` of it.

    Every call waits for the writer thread; a call that is cancelled is carried out all the same.
    """

    def __init__(
        self,
        directory: Path,
        agent: str,
        *,
        most_bytes: int = CAP_BYTES,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], str] = wall_time,
    ) -> None:
        self._store = Store(Files(directory), agent, most_bytes=most_bytes, clock=clock, wall=wall)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self.arrived = asyncio.Event()  # set with every append; whoever waits for runs clears it

    @property
    def agent(self) -> str:
        """Whose runs these are."""
        return self._store.agent

    async def open(self) -> None:
        """To be called first; SpoolError when the directory cannot be used."""
        await self._do(self._store.open)

    async def append(self, document: Mapping[str, Any]) -> Position:
        """Keeps a report document (report.document); its position once it is on the disk. NotKept: it could not be, and is counted."""
        position = await self._do(lambda: self._store.append(document))
        self.arrived.set()
        return position

    async def next_batch(self, most_records: int, most_bytes: int, *, newest: bool = False) -> tuple[Queued, ...]:
        """What is to be sent next (Store.next_batch); the same again until it is acknowledged or set aside."""
        return await self._do(lambda: self._store.next_batch(most_records, most_bytes, newest=newest))

    async def acknowledge(self, positions: Iterable[Position]) -> None:
        """The collector has stored these."""
        told = tuple(positions)
        await self._do(lambda: self._store.acknowledge(told))

    async def set_aside(self, position: Position, sentence: str) -> None:
        """The collector will never take this one; `sentence` says why."""
        await self.set_aside_all({position: sentence})

    async def set_aside_all(self, refused: Mapping[Position, str]) -> None:
        """The same for many at once: one commit."""
        told = dict(refused)
        await self._do(lambda: self._store.set_aside(told))

    async def want_full(self) -> None:
        """The collector asks for a whole document: the next run is kept as one."""
        await self._do(self._store.want_full)

    async def state(self) -> State:
        """What `status` shows."""
        return await self._do(self._store.state)

    async def close(self) -> None:
        """Writes down what can be, and ends the thread."""
        try:
            await self._do(self._store.close)
        finally:
            self._thread.shutdown(wait=False)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
