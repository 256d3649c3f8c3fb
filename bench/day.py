"""A measured day: rooms send a day of runs to a real collector, and the bytes are counted that its store grew by."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import aiohttp

from bench.fleet import DAY_S, Document, Room, situation, troubles
from roomprobe.collector.database import NAME
from roomprobe.collector.retention import Keep
from roomprobe.wire.upload import Record
from tests.browser import filling
from tests.collector.test_process import process

MEASURED = int(os.environ.get("MEASURED", "50"))  # rooms
FLEET = 10_000  # rooms that the bytes are told for
SITES = 10


async def measure(place: Path, told: Mapping[str, Document]) -> None:
    """Two days of some rooms; the second is counted, when everything has its first row."""
    state = place / "day"
    midnight = (filling.now() // 1000 // DAY_S - 2) * DAY_S
    hours: list[list[tuple[filling.Box, list[Record]]]] = [[] for _ in range(48)]
    often = 0
    for number in range(MEASURED):
        box = filling.enrol(state, f"Room {number}", site=f"Site {number % SITES}")
        so = {name: situation(report, number % SITES) for name, report in told.items()}
        own: list[list[Record]] = [[] for _ in hours]
        for at, record in Room(box.agent, so, troubles(number)).runs(midnight, 2):
            own[(at // 1000 - midnight) // 3600].append(record)
        for hour, records in zip(hours, own, strict=True):
            hour.append((box, records))
        often += sum(1 for _ in Room(box.agent, so, troubles(number), often=True).runs(midnight, 1))
    sizes = []
    for day in (hours[:24], hours[24:]):
        async with process(state) as running, aiohttp.ClientSession() as http:
            for hour in day:
                for box, records in hour:
                    await filling.send(http, running.url, box, records)
            running.child.send_signal(signal.SIGTERM)  # a clean end leaves nothing in the log beside the store
            await running.child.wait()
        sizes.append(stored(state / NAME))
    told_of({name: (size - sizes[0].get(name, 0)) / MEASURED for name, size in sizes[1].items()})
    count = sum(len(records) for hour in hours[24:] for _, records in hour)
    shipped, quick = (runs / MEASURED * FLEET / DAY_S for runs in (count, often))
    print(f"  uploads a second that {FLEET:,} rooms need: {shipped:.0f} with the shipped profile,", end=" ")
    print(f"{quick:.0f} when its quick checks may ask every 30 s", flush=True)


def told_of(grown: Mapping[str, float]) -> None:
    """The table: bytes that a room's day takes, and what is kept of a fleet's in the end."""
    keep = Keep()
    kept = {"run": keep.runs, "document": keep.runs, "aggregate": keep.aggregates, "interval": keep.intervals}
    print(f"\na day of {MEASURED} rooms on the default schedule: what the store grows by, and by {FLEET:,} such rooms")
    print(f"  {'':<12}{'a room':>12}{'the fleet':>14}{'kept':>12}{'that makes':>14}")
    rows = [(name, size, kept.get(name, 0)) for name, size in grown.items() if size > 0]
    for name, size, days in sorted(rows, key=lambda row: -row[1]):
        line(name, size, size * days, f"{days} days" if days else "for ever")
    line("together", sum(row[1] for row in rows), sum(size * days for _, size, days in rows))


def line(name: str, day: float, whole: float, days: str = "") -> None:
    """One of its lines."""
    makes = f"{whole * FLEET / 1e9:11.1f} GB" if whole else ""
    print(f"  {name:<12}{day / 1024:8.1f} KiB{day * FLEET / 1e6:11.1f} MB{days:>12}{makes:>14}")


def stored(file: Path) -> dict[str, int]:
    """Bytes of the store by table, its indexes included; of the whole where SQLite was built without dbstat."""
    by_table = "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) GROUP BY 1"
    with closing(sqlite3.connect(file)) as db:
        try:
            return dict(db.execute(by_table))
        except sqlite3.OperationalError:
            return {"the store": file.stat().st_size}
