"""The loop of every exporter: take what is next in the feed, deliver it, pass on. It never holds up an upload: it reads beside
the writer, and what cannot be delivered waits in the feed until it is too much or too old.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Protocol

from roomprobe.collector.context import Collector
from roomprobe.collector.exporters import feed
from roomprobe.collector.exporters.events import Event, events, key
from roomprobe.collector.problems import Refusal

POLL_S = 1.0
MOST_REMEMBERED = 20_000
TRIM_S = 30.0

log = logging.getLogger("roomprobe")


class Sink(Protocol):
    """One exporter of events. `name` is its place in the feed; `batch` is how many rows it takes at once."""

    name: str
    batch: int

    def wants(self, event: Event) -> bool:
        """Whether it tells of this one."""
        ...

    async def resume(self) -> None:
        """Once, before the first: what was under way when the collector ended."""
        ...

    async def deliver(self, found: list[Event], upto: int) -> None:
        """Comes back when they are delivered or given up; counts which."""
        ...


async def follow(collector: Collector, sink: Sink) -> None:
    """Runs until it is cancelled."""
    told: OrderedDict[tuple[object, ...], None] = OrderedDict()
    resumed = False
    while True:
        try:
            if not resumed:
                await sink.resume()
                resumed = True
            rows = await collector.reader.ask(feed.read, sink.name, sink.batch)
            if not rows:
                await asyncio.sleep(POLL_S)
                continue
            found = [
                one for one in await collector.reader.ask(events, rows) if sink.wants(one) and key(one) not in told
            ]
            found = list({key(one): one for one in found}.values())
            upto = rows[-1][0]
            if found:
                await sink.deliver(found, upto)
                _remember(told, found)  # at once: as long as the store cannot be written the same rows come again
            await collector.write(feed.done, sink.name, upto)
        except Refusal:
            await asyncio.sleep(POLL_S)  # the store cannot write now: the same rows come again
        except Exception:
            log.exception("internal error in the %s exporter; it goes on", sink.name)
            await asyncio.sleep(POLL_S * 5)


def _remember(told: OrderedDict[tuple[object, ...], None], found: list[Event]) -> None:
    for one in found:
        told[key(one)] = None
    while len(told) > MOST_REMEMBERED:
        told.popitem(last=False)


async def look_after(collector: Collector) -> None:
    """Notices who fell silent, and keeps the feed small; until it is cancelled."""
    begun = collector.mono()
    while True:
        try:
            await collector.write(feed.hush, collector.now(), int((collector.mono() - begun) * 1000))
            while await _trimmed(collector):
                await asyncio.sleep(0.05)  # uploads go first
        except Refusal:
            pass  # the next round tries again
        await asyncio.sleep(TRIM_S)


async def _trimmed(collector: Collector) -> bool:
    """One bite; whether there may be more."""
    missed, more = await collector.write(feed.trim)
    for name, count in missed.items():
        collector.count(f"export_{name}_dropped", count)
        log.warning("the %s exporter was behind for too long: %d events are dropped", name, count)
    return more
