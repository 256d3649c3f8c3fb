"""What every handler shares: the store's two sides, the clock, the limits and the counters of one collector."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from aiohttp import web

from roomprobe.collector import store
from roomprobe.collector.clock import Clock, Looked
from roomprobe.collector.database import NAME, open_to_write, writable
from roomprobe.collector.intervals import Names
from roomprobe.collector.limits import Backoff, Bucket
from roomprobe.collector.problems import Refusal
from roomprobe.collector.reader import Reader
from roomprobe.collector.retention import Keep
from roomprobe.collector.writer import Unavailable, Writer
from roomprobe.model import Frozen

T = TypeVar("T")


class Settings(Frozen, frozen=True, kw_only=True):
    """How one collector is run. `secure`: its own sockets speak TLS. `behind_proxy`: somebody else's do. `url`: what people
    reach it by, where it was told."""

    state: Path
    secure: bool = False
    behind_proxy: bool = False
    url: str | None = None
    keep: Keep = Keep()
    uploads_per_s: float = 20.0
    uploads_burst: float = 200.0
    records_per_s: float = 400.0  # a box promises 200 (docs/upload.md)
    records_burst: float = 10_000.0
    body_s: float = 120.0  # the most seconds that the body of an upload may take
    chunk_s: float = 20.0  # the most seconds between two pieces of it
    most_held: int = 128 << 20  # bytes of packed uploads that are in memory at once; of one box an eighth
    most_connections: int = 4000


class Collector:
    """Opens the store when it is made; `close` ends it. ConfigError when the store cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = Names()
        writable(settings.state)
        path = settings.state / NAME
        db = open_to_write(path)
        self.clock = Clock(db)
        self.writer = Writer(db, self.names.forget)
        self.reader = Reader(path)
        self.parsers = ThreadPoolExecutor(2, thread_name_prefix="parse")
        self.parsing = asyncio.Semaphore(4)  # each may hold a whole unpacked upload
        self.turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.uploads = Bucket(settings.uploads_per_s, settings.uploads_burst)
        self.records = Bucket(settings.records_per_s, settings.records_burst)
        self.strangers = Bucket(1.0, 30.0)
        self.logins = Backoff()
        self.held = 0
        self.held_by: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def now(self) -> int:
        """The collector's clock, milliseconds."""
        return time.time_ns() // 1_000_000

    def mono(self) -> float:
        """Seconds for limits and waits: never set back."""
        return time.monotonic()

    def look(self) -> Looked:
        """Whether `now` is to be believed."""
        return self.clock.look(self.now(), self.mono())

    async def write(self, job: Callable[..., T], *values: Any, **more: Any) -> T:
        """A job of the writer, after its commit. Refusal 503 when the store cannot write now."""
        try:
            # Whoever asked may go away: what was begun is finished all the same.
            return await asyncio.shield(asyncio.wrap_future(self.writer.submit(lambda db: job(db, *values, **more))))
        except Unavailable as error:
            raise Refusal(503, f"Nothing was stored: {error}.", word="503_store", retry_after=30) from None

    def count(self, name: str, by: int = 1) -> None:
        """Adds to a counter that lasts; written with the next `flush`."""
        self.counts[name] += by

    async def flush(self) -> None:
        """Writes the counters."""
        counts, self.counts = self.counts, Counter()
        if counts:
            try:
                await self.write(store.count, dict(counts))
            except Refusal:
                self.counts.update(counts)

    def close(self) -> None:
        """Finishes what waits to be written and closes the store."""
        self.parsers.shutdown(wait=True, cancel_futures=True)
        self.writer.close()
        self.reader.close()


COLLECTOR: web.AppKey[Collector] = web.AppKey("collector", Collector)
