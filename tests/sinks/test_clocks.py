"""Clocks that jump by a year under a running daemon and under a running collector, as real processes (libfaketime)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from roomprobe.collector import command, prepare
from roomprobe.collector import store as to_store
from roomprobe.collector.clock import DAY_MS
from roomprobe.collector.intervals import Names
from roomprobe.sinks.push import Push, Target
from roomprobe.spool import Spool
from roomprobe.wire.upload import Record
from tests.collector.making import EPOCH, full, same, stamp
from tests.daemon.running import FarEnd
from tests.sinks.running import ENV, Box, asked, child, collector, enrolled, kept

LIBRARY = [str(file) for file in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not LIBRARY, reason="Debian's faketime is not installed (scripts/peers.txt)"),
]
YEAR_MS = 365 * DAY_MS
OFTEN = (
    "from roomprobe.collector import serve; serve.TIDY_S = 0.1; from roomprobe.collector.__main__ import main; main()"
)


class Clock:
    """The wall clock of one process, days off; its other clocks go on as they are."""

    def __init__(self, place: Path, days: int = 0) -> None:
        self._file = place
        self.set(days)

    def set(self, days: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{days:+d}d\n")
        new.replace(self._file)

    @property
    def env(self) -> Mapping[str, str]:
        return {
            **ENV,
            "LD_PRELOAD": LIBRARY[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


class Line:
    """A room: its far end, its daemon's place, its box and where its collector is."""

    def __init__(self, place: Path, box: Box, url: str, far_end: FarEnd) -> None:
        self.place, self.box, self.url, self.far_end = place, box, url, far_end
        self.working = True

    async def room(self) -> dict[str, Any]:
        found: dict[str, Any] = (await asked(self.url, self.box, "/v1/rooms/Boardroom 4"))["now"]
        return found

    async def placed(self) -> list[int]:
        """When the collector says that the daemon's runs were."""
        produced = {one["run"]["id"] for one in self.produced()}
        runs = (await asked(self.url, self.box, "/v1/rooms/Boardroom 4/runs", limit=500))["runs"]
        return [one["at"] for one in runs if one["run"] in produced]

    def produced(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.place / "runs.ndjson").read_text().splitlines()]

    async def shown(self, state: str) -> None:
        async def so() -> bool:
            return (await self.room())["state"] == state

        await until(so)

    async def goes_on(self) -> None:
        """More runs arrive, and what breaks now shows, and what works again."""
        before = len(kept(self.place.parent / "collector"))

        async def more() -> bool:
            return len(kept(self.place.parent / "collector")) >= before + 3

        await until(more)
        await self.shown("full")
        await self.far_end.off()
        await self.shown("unknown")  # a port of this machine that is closed may be anybody's doing
        await self.far_end.on()
        await self.shown("full")


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(40):
        while not await true():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def line(tmp_path: Path, box: Box, url: str, synced: str, env: Mapping[str, str] = ENV) -> AsyncIterator[Line]:
    """A daemon that runs until the end of the block; then all that it has produced is sent."""
    place, far_end = tmp_path / "box", FarEnd()
    place.mkdir(exist_ok=True)
    await far_end.on()
    arguments = ("-m", "tests.sinks.daemon", str(place), str(far_end.port), url, box.agent, str(box.token_file), synced)
    found = Line(place, box, url, far_end)
    async with child(*arguments, env=env) as daemon:
        yield found
        daemon.terminate()
        assert await daemon.wait() == 0
    await far_end.off()
    spool = Spool(place / "state" / "spool", box.agent)
    await spool.open()
    push = Push(spool, Target(url=url, token_file=str(box.token_file)), 300)
    pushing = asyncio.create_task(push.run())
    async with asyncio.timeout(40):
        while push.state.status != "idle":
            await asyncio.sleep(0.01)
    pushing.cancel()
    await asyncio.wait([pushing])
    assert (await spool.state()).lost == 0
    await spool.close()


async def intervals(of: Line) -> list[dict[str, Any]]:
    """Of the service and the checks: none ends before it begins, and each begins where the one before it ends."""
    room = await asked(of.url, of.box, "/v1/rooms/Boardroom 4")
    paths = [f"services/{one['profile']}/{one['id']}" for one in room["document"]["services"]]
    paths += [f"checks/{quote(one['id'], safe='')}" for one in room["document"]["checks"]]
    found = []
    for path in paths:
        told = (await asked(of.url, of.box, f"/v1/rooms/Boardroom 4/{path}/history"))["intervals"]
        assert all(one["until"] is None or one["since"] <= one["until"] for one in told), told
        assert all(one["until"] == following["since"] for one, following in itertools.pairwise(told)), told
        assert told[-1]["until"] is None
        found += told
    return found


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize("synced", ["yes", "unknown"])
async def test_the_clock_of_a_box_jumps_by_a_year(tmp_path: Path, synced: str) -> None:
    begun, store = now(), tmp_path / "collector"
    box, clock = enrolled(store, begun - 30 * DAY_MS), Clock(tmp_path / "clock", -365)
    async with collector(store) as (_, url):
        async with line(tmp_path, box, url, synced, clock.env) as found:
            for days in (-365, 0, 365, -365, 0):
                clock.set(days)
                await found.goes_on()
        placed, told = await found.placed(), await intervals(found)
    produced = found.produced()
    assert kept(store) == {one["run"]["id"]: number for number, one in enumerate(produced)}, "each of them once"
    assert {one["run"]["started"][:4] for one in produced} == {
        str(time.gmtime(begun / 1000).tm_year + n) for n in (-1, 0, 1)
    }
    assert all(begun - 1000 <= at <= now() for at in placed), "by the collector's clock, whatever the box said"
    assert all(begun - 1000 <= one["since"] <= now() for one in told)
    assert len([one for one in told if one["outcome"] == "unknown"]) == 5
    notes = [note for one in produced for note in one["notes"] if "The clock of this box was set" in note]
    assert [note.split(" by ")[0].rpartition(" ")[2] for note in notes] == ["forward", "forward", "back", "forward"]


def history(state: Path, box: Box, spool: Path) -> None:
    """Runs of five and six days ago, and changes and round-trip times of 100 and of 500 days ago; the spool that they were in is gone."""
    spool.mkdir(parents=True)
    (spool / "spool.mark").write_text(json.dumps({"epoch": EPOCH, "delivered": 39, "at": stamp(now() - DAY_MS)}))
    parts: list[tuple[int, list[Record]]] = []
    for seq, days in ((0, 500), (10, 100), (20, 6), (30, 5)):
        outcome = "filtered/path-ends" if seq % 20 else "open"
        first = full(seq, {"F1": outcome}, agent=box.agent, at=now() - days * DAY_MS)
        more = [same(seq + n, first, {"starleaf/F1/x": 3.5}, at=now() - days * DAY_MS + n) for n in range(1, 10)]
        parts.append((now() - days * DAY_MS + 1000, [first, *more]))

    def job(db: sqlite3.Connection) -> None:
        for received, records in parts:
            ready = [prepare.prepare(one, received=received, sent=None, enrolled=0) for one in records]
            to_store.upload(db, Names(), 1, ready, received=received, every_ms=300_000)

    command._write(state, job)


def old(state: Path) -> dict[str, int]:
    """What there is of it."""
    of_it = f"chain IN (SELECT id FROM chain WHERE epoch = x'{EPOCH}')"
    with contextlib.closing(sqlite3.connect(state / "collector.sqlite3")) as db:
        found = {
            table: db.execute(f"SELECT count(*) FROM {table} WHERE {of_it}").fetchone()[0]
            for table in ("run", "document", "interval")
        }
        times = "SELECT count(*) FROM aggregate JOIN series ON series.id = series WHERE name LIKE 'starleaf/%'"
        return {**found, "aggregate": db.execute(times).fetchone()[0]}


async def tidied(state: Path, since: int) -> None:
    """Until the collector has looked twice for what is too old, by a clock that shows `since` or later."""
    seen = set()

    async def twice() -> bool:
        with contextlib.closing(sqlite3.connect(state / "collector.sqlite3")) as db:
            row = db.execute("SELECT value FROM meta WHERE name = 'clock'").fetchone()
        if row is not None and since <= json.loads(row[0])["at"] < since + DAY_MS:
            seen.add(row[0])
        return len(seen) >= 2

    await until(twice)


@pytest.mark.parametrize("synced", ["yes", "unknown"])
async def test_the_clock_of_the_collector_jumps_by_a_year(tmp_path: Path, synced: str) -> None:
    begun, store = now(), tmp_path / "collector"
    box, clock = enrolled(store, begun - 600 * DAY_MS), Clock(tmp_path / "clock")
    history(store, box, tmp_path / "box" / "state" / "spool")
    async with collector(store, program=("-c", OFTEN), env=clock.env) as (_, url):
        await tidied(store, begun)
        before = old(store)
        assert before == {"run": 20, "document": 2, "interval": 5, "aggregate": 3}
        async with line(tmp_path, box, url, synced) as found:
            await found.goes_on()
            clock.set(365)
            await tidied(store, begun + YEAR_MS)
            await found.goes_on()
            await tidied(store, begun + YEAR_MS)
            clock.set(0)
            await tidied(store, begun)
            await found.goes_on()
            assert old(store) == before, "nothing of the history is gone"
            assert all(begun - 1000 <= at <= now() for at in await found.placed())
            await intervals(found)
            clock.set(-365)
            await tidied(store, begun - YEAR_MS)
            await found.goes_on()
            clock.set(0)
            await tidied(store, begun)
            await found.goes_on()
        await intervals(found)
    assert old(store) == before
    produced = {
        one["run"]["id"]: number for number, one in enumerate(found.produced(), 1)
    }  # 0 tells of the spool that is gone
    assert {run_id: seq for run_id, seq in kept(store).items() if run_id in produced} == produced
