"""A disk that is full while the line is busy, on either side, as real processes: nothing acknowledged is missing, the rest is counted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from roomprobe.spool import Spool
from tests.disks import disk, stuff
from tests.sinks.running import asked, child, collector, enrolled, kept, lines
from tests.sinks.test_push import pushing, until
from tests.spool.helpers import run

pytestmark = pytest.mark.lab


async def so(true: Callable[[], bool]) -> None:
    """Waits for what other processes have to do."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.02)


async def test_the_disk_of_a_box_is_full(tmp_path: Path) -> None:
    store, told = tmp_path / "collector", dict[int, str]()
    box = enrolled(store)
    with disk(tmp_path / "box", 12) as place:
        agent = ("-m", "tests.sinks.agent", str(place / "spool"))
        rest = (str(box.token_file), box.agent)
        async with collector(store) as (far, url), child(*agent, url, *rest, "busy", "1", "60000") as near:
            reading = asyncio.create_task(lines(near, told))
            await so(lambda: len(told) >= 20)
            stuffing = stuff(place)
            before = len(told)
            await so(lambda: len(told) >= before + 100)
            far.send_signal(signal.SIGKILL)
            await far.wait()
            before = len(told)
            await so(lambda: len(told) >= before + 150)
            async with collector(store, listen=url.partition("//")[2]):
                arrived = len(kept(store))
                await so(lambda: len(kept(store)) > arrived)
                stuffing.unlink()
                before = len(told)
                await so(lambda: len(told) >= before + 20)
                near.send_signal(signal.SIGKILL)
                await reading
        async with collector(store) as (_, url), child(*agent, url, *rest, "drain", "0") as near:
            async with asyncio.timeout(60):
                assert (await lines(near, told)).split()[2:] == ["0", "0"]
    arrived_now = kept(store)
    with contextlib.closing(sqlite3.connect(store / "collector.sqlite3")) as db:
        losses = db.execute("SELECT first, last, count, reason FROM loss").fetchall()
    missing = {seq for seq, run_id in told.items() if run_id not in arrived_now}
    assert len(missing) > 50 and {reason for *_, reason in losses} == {"spool-full"}
    assert all(any(first <= seq <= last for first, last, *_ in losses) for seq in missing)
    # A batch whose receipt died with the collector is there, and may have made room afterwards.
    both = sum(1 for seq in arrived_now.values() if any(first <= seq <= last for first, last, *_ in losses))
    assert 0 <= sum(count for *_, count, _ in losses) - len(missing) <= both
    assert {run_id: seq for seq, run_id in told.items() if seq not in missing}.items() <= arrived_now.items()


async def test_the_disk_of_the_collector_is_full(tmp_path: Path) -> None:
    spool = None
    with disk(tmp_path / "collector", 4) as store:
        box, produced = enrolled(store), dict[str, int]()
        spool = Spool(tmp_path / "spool", box.agent)
        await spool.open()

        async def more() -> None:
            made = run(len(produced), outcome="fault" if len(produced) % 2 else "open")
            produced[made["run"]["id"]] = (await spool.append(made)).seq

        async with collector(store) as (far, url), pushing(spool, url, box.token_file) as push:
            for _ in range(20):
                await more()
            await until(lambda: push.state.status == "idle")
            assert push.state.delivered == 20
            stuffing = stuff(store)
            while "cannot store now (503)" not in (push.state.sentence or ""):
                await more()
                await asyncio.sleep(0.001)
            assert (await asked(url, box, "/v1/rooms/Boardroom 4"))["now"]["room"] == "Boardroom 4", "people may read"
            for _ in range(20):
                await more()
            far.send_signal(signal.SIGKILL)
            await far.wait()
            delivered = push.state.delivered
            assert delivered < len(produced) and len(kept(store)) >= delivered
            async with collector(store, listen=url.partition("//")[2]):
                assert (await asked(url, box, "/v1/summary"))["total"] == 1, "it starts on a full disk"
                await until(lambda: "cannot store now (503)" in (push.state.sentence or ""))
                stuffing.unlink()
                await until(lambda: push.state.status == "idle")
        assert (await spool.state()).lost == 0 and push.state.set_aside == 0
        await spool.close()
        assert kept(store) == produced
