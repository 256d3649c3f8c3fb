"""A day without the collector, at the default schedule, and what is in it afterwards: the same as if it had never been away.

Real spool, real push, a real collector; only the seconds are simulated.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import random
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from roomprobe.collector import command, prepare
from roomprobe.collector import store as to_store
from roomprobe.collector.intervals import Names
from roomprobe.model import Frozen
from roomprobe.sinks.push import RATE_PER_S, Push, Target
from roomprobe.spool import CAP_BYTES, Spool, State
from roomprobe.wire import upload
from tests.collector.making import stamp
from tests.collector.test_order import dump
from tests.sinks.between import Between, between
from tests.sinks.running import LONG_AGO, Box, asked, collector, enrolled, kept
from tests.spool.helpers import run

QUICK_S, FULL_S, DAY_S = 60, 300, 86_400
BEFORE, BEHIND = 20, 10  # runs before the outage, and after it


def now() -> int:
    return time.time_ns() // 1_000_000


class Hours:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = asyncio.get_running_loop().create_future()
        self._waiting.append((self.now + seconds, until))
        await until

    @property
    def waited_for(self) -> bool:
        return any(not one[1].done() for one in self._waiting)

    async def pass_(self, seconds: float) -> None:
        self.now += seconds
        for one in [one for one in self._waiting if one[0] <= self.now]:
            self._waiting.remove(one)
            if not one[1].done():
                one[1].set_result(None)
        await asyncio.sleep(0)


def a_day(*, restless: bool) -> Iterator[dict[str, Any]]:
    """What a box finds in a day: full sweeps, and quick ones between that ask two rows; something changes seven times, or with each full one."""
    chance, begin = random.Random(11), now() - DAY_S * 1000
    every, many = FULL_S // QUICK_S, DAY_S // QUICK_S
    changes = set(range(0, many, every)) if restless else set(chance.sample(range(BEFORE, many), 7))
    outcome = "open"
    for number in range(many):
        if number in changes:
            outcome = "fault" if outcome == "open" else "open"
        full = number % every == 0
        made = run(outcome=outcome, size=30_000 if restless and full else 0)
        made["run"].update(trigger="full" if full else "quick", started=stamp(begin + number * QUICK_S * 1000))
        made["run"]["started_mono"] = float(number * QUICK_S)
        state, reason = ("full", "all-met") if outcome == "open" else ("broken", "required-not-met")
        made["services"][0].update(state=state, reason=reason)
        for index, check in enumerate(made["checks"]):
            if check["rtt_ms"] is not None:
                check["rtt_ms"] = round(chance.uniform(3, 90), 2) if full or index in (4, 5) else None
        yield made


class End:
    """One spool and its push, on hours of their own."""

    def __init__(self, place: Path, box: Box, url: str, **more: Any) -> None:
        self.hours = Hours()
        self.spool = Spool(place, box.agent, clock=self.hours, **more)
        target = Target(url=url, token_file=str(box.token_file))
        self.push = Push(self.spool, target, FULL_S, chance=random.Random(4), clock=self.hours, sleep=self.hours.sleep)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        await self.spool.open()
        pushing = asyncio.create_task(self.push.run())
        try:
            yield
            assert not pushing.done()
        finally:
            pushing.cancel()
            await asyncio.wait([pushing])
            await self.spool.close()

    async def idle(self) -> None:
        await until(lambda: self.push.state.status == "idle", self.hours, 0.05)


async def views(url: str, box: Box) -> dict[str, Any]:
    """All that people are shown of the day, without what depends on when it was heard, and without the random names."""
    room = await asked(url, box, "/v1/rooms/Boardroom 4")
    services = [without(one, "interval") for one in room["now"]["services"]]
    found: dict[str, Any] = {"state": room["now"]["state"], "gaps": room["gaps"], "services": services}
    for check in room["document"]["checks"]:
        path = f"/v1/rooms/Boardroom 4/checks/{quote(check['id'], safe='')}/history"
        history = await asked(url, box, path, every_ms=3_600_000)
        found[check["id"]] = [without(one, "id") for one in history["intervals"]], history["points"]
    for service in room["document"]["services"]:
        history = await asked(url, box, f"/v1/rooms/Boardroom 4/services/{service['profile']}/{service['id']}/history")
        found[service["id"]] = [without(one, "id") for one in history["intervals"]]
    found["changes"] = [
        without(one, "interval") for one in (await asked(url, box, "/v1/changes", limit=500))["changes"]
    ]
    return found


def without(one: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != name}


def stored(state: Path) -> dict[str, list[Any]]:
    """The store without the names of epochs."""
    with contextlib.closing(sqlite3.connect(state / "collector.sqlite3")) as db:
        found = dump(db)
    return {name: [row[1:] for row in found[name]] for name in ("runs", "spans", "intervals")} | {
        "aggregates": found["aggregates"]
    }


class Day(Frozen, frozen=True, kw_only=True):
    """What was produced (run id → number), the uploads before the outage and after it, and what lay in the spool and is shown then."""

    produced: dict[str, int]
    evening: State
    morning: list[list[upload.Record]]
    batches: list[list[upload.Record]]
    views: dict[str, Any]
    losses: list[dict[str, Any]]


async def a_day_without(tmp_path: Path, store: Path, box: Box, runs: list[dict[str, Any]], **more: Any) -> Day:
    """The first runs arrive; then the collector is away until the evening."""
    middle, produced = Between(""), dict[str, int]()
    held, looked = asyncio.Event(), asyncio.Event()
    async with between(middle) as by:
        near = End(tmp_path / "spool", box, by, **more)

    async def append(some: list[dict[str, Any]], each_s: float = QUICK_S) -> None:
        for made in some:
            produced[made["run"]["id"]] = (await near.spool.append(made)).seq
            await near.hours.pass_(each_s)

    async def once_looked(_: Any, pass_on: Any) -> Any:
        held.set()
        await looked.wait()
        return await pass_on()

    async with near.open():
        async with collector(store) as (_, middle.target), between(middle):
            await append(runs[:BEFORE])
            await near.idle()
        morning, middle.batches = middle.batches, []
        await append(runs[BEFORE:-BEHIND])
        await until(lambda: near.push.state.next_try_s is not None, near.hours, 0)
        evening, push = await near.spool.state(), near.push.state
        assert 0 < push.failures < DAY_S / 60, "it was tried every few minutes, and no more often"
        assert (push.next_try_s or 0) <= 300
        async with collector(store) as (_, middle.target), between(middle):
            middle.faults = [lambda _, pass_on: pass_on(), once_looked]
            await until(lambda: middle.batches, near.hours, 1.0)
            await the_newest_is_shown(middle, box, runs[-BEHIND - 1])
            begun, waiting = near.hours.now, evening.depth - len(middle.batches[0])
            await until(held.is_set, near.hours, 0.05)
            await append(runs[-BEHIND:], each_s=0)  # while the oldest of the day are on their way
            looked.set()
            await near.idle()
            assert near.hours.now - begun >= waiting / RATE_PER_S, "not faster than was promised"
            assert (await near.spool.state()).depth == 0 and near.push.state.set_aside == 0
            seen = await views(middle.target, box)
            losses = (await asked(middle.target, box, "/v1/rooms/Boardroom 4"))["losses"]
    return Day(produced=produced, morning=morning, batches=middle.batches, evening=evening, views=seen, losses=losses)


async def the_newest_is_shown(middle: Between, box: Box, newest: dict[str, Any]) -> None:
    """After the first upload, when all of the day is still to come."""
    assert len(middle.batches) == 1 and len(middle.batches[0]) <= 2
    room = await asked(middle.target, box, "/v1/rooms/Boardroom 4")
    wanted = {one["id"]: one["state"] for one in newest["services"]}
    assert {one["id"]: one["state"] for one in room["now"]["services"]} == wanted and not room["now"]["silent"]
    shown = await asked(middle.target, box, "/v1/rooms/Boardroom 4/runs", limit=1)
    assert shown["runs"][0]["run"] == newest["run"]["id"]


async def undisturbed(store: Path, box: Box, day: Day) -> dict[str, Any]:
    """What people would be shown if the collector had heard each record when it was produced."""
    records = {record.seq: record for batch in (*day.morning, *day.batches) for record in batch}
    names = Names()

    def job(db: sqlite3.Connection) -> None:
        (number,) = db.execute("SELECT id FROM agent").fetchone()
        for seq in sorted(records):
            ready = prepare.prepare(records[seq], received=now(), sent=None, enrolled=LONG_AGO)
            received = ready.started or ready.at
            to_store.upload(db, names, number, [ready], received=received, every_ms=FULL_S * 1000)

    command._write(store, job)
    async with collector(store) as (_, url):
        return await views(url, box)


async def test_after_a_day_without_the_collector_it_is_as_if_it_had_never_been_away(tmp_path: Path) -> None:
    store, control = tmp_path / "collector", tmp_path / "control"
    box, runs = enrolled(store), list(a_day(restless=False))
    shutil.copytree(store, control)
    day = await a_day_without(tmp_path, store, box, runs)
    assert (day.evening.depth, day.evening.lost, day.evening.most_bytes) == (len(runs) - BEFORE - BEHIND, 0, CAP_BYTES)
    assert kept(store) == day.produced and day.losses == []
    first, *rest = day.batches
    assert [record.seq for batch in rest for record in batch] == sorted(
        set(day.produced.values()) - set(range(BEFORE)) - {record.seq for record in first}
    )
    assert max(map(len, rest)) <= 200
    there = await undisturbed(control, box, day)
    assert day.views == there
    assert stored(store) == stored(control)
    changed = [one["at"] for one in day.views["changes"] if one["kind"] == "service"]
    assert len(changed) == 7, "it was a day with something in it"


async def test_what_does_not_fit_into_the_spool_in_a_day_is_counted_and_the_rest_is_right(tmp_path: Path) -> None:
    store, control = tmp_path / "collector", tmp_path / "control"
    box, runs = enrolled(store), list(a_day(restless=True))
    shutil.copytree(store, control)
    day = await a_day_without(tmp_path, store, box, runs, most_bytes=4 << 20)
    assert day.evening.lost and day.evening.bytes <= 4 << 20
    arrived = kept(store)
    missing = sorted(seq for run_id, seq in day.produced.items() if run_id not in arrived)
    assert arrived == {run_id: seq for run_id, seq in day.produced.items() if seq not in missing}
    (told,) = day.losses
    assert (told["count"], told["first"]) == (len(missing), missing[0]) and missing[-1] <= told["last"]
    assert (told["reason"], told["since"]) == ("spool-full", runs[BEFORE]["run"]["started"])
    assert told["count"] >= day.evening.lost > 100
    assert [gap["explained"] for gap in day.views["gaps"]] == [True]
    there = await undisturbed(control, box, day)
    since = begin_of(runs[BEFORE + len(missing)])
    for name in ("sign-in", runs[0]["checks"][0]["id"]):
        mine, other = (one[name] if name == "sign-in" else one[name][0] for one in (day.views, there))
        assert [one for one in mine if one["since"] > since] == [one for one in other if one["since"] > since] != []


def begin_of(made: dict[str, Any]) -> int:
    return int(datetime.datetime.fromisoformat(made["run"]["started"]).timestamp() * 1000)


async def until(true: Callable[[], object], hours: Hours, step_s: float) -> None:
    """Lets hours pass until something is so, but only while somebody waits for that: all else takes no time."""
    async with asyncio.timeout(60):
        while not true():
            await hours.pass_(step_s if hours.waited_for else 0)
            await asyncio.sleep(0.001)
