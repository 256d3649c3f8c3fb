"""The real collector and an agent's spool and push, each a process: enrolled by a link, then killed again and again, at either end.

Ten times; ROOMPROBE_KILLS=50 in the environment for more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import uuid
from pathlib import Path

import pytest

from roomprobe import config, enrol
from roomprobe.sinks.push import Push, Target
from roomprobe.spool import Spool
from tests.sinks.running import child, collector, lines, link
from tests.spool.helpers import run

KILLS = int(os.environ.get("ROOMPROBE_KILLS", "10"))


async def test_what_a_long_outage_and_a_broken_spool_cost_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "SYSTEM_DIRECTORY", tmp_path / "etc")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    store, place = tmp_path / "collector", tmp_path / "spool"
    async with collector(store):
        await asyncio.to_thread(enrol.enrol, await asyncio.to_thread(link, store), os.environ)
    me = config.load(env=os.environ).collector

    async def rest(spool: Spool, url: str) -> None:
        """Pushes until nothing is left."""
        push = Push(spool, Target(url=url, token_file=me.token_file), 300)
        task = asyncio.create_task(push.run())
        async with asyncio.timeout(120):
            while push.state.status != "idle":
                await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    first = Spool(place, me.agent or "", most_bytes=4 << 20)
    await first.open()
    for number in range(300):  # a day of full documents, and room for a part of it
        await first.append(run(number, outcome="fault" if number % 2 else None, size=60_000))
    dropped = (await first.state()).lost
    assert dropped
    async with collector(store) as (_, url):
        await rest(first, url)
    before = await first.state()
    assert (before.depth, before.lost) == (0, 0)
    await first.append(run(300))
    await first.close()
    await asyncio.to_thread((place / "spool.db").write_bytes, b"what an SD card may do")
    second = Spool(place, me.agent or "")
    await second.open()
    await second.append(run(301))
    async with collector(store) as (_, url):
        await rest(second, url)
    after = await second.state()
    await second.close()
    with contextlib.closing(sqlite3.connect(store / "collector.sqlite3")) as db:
        chains = {epoch.hex(): chain for chain, epoch in db.execute("SELECT id, epoch FROM chain")}
        runs = {
            chain: db.execute("SELECT count(*) FROM run WHERE chain = ?", (chain,)).fetchone()[0]
            for chain in chains.values()
        }
        losses = db.execute("SELECT chain, of, first, count, reason FROM loss ORDER BY chain").fetchall()
    old, new = chains[before.epoch or ""], chains[after.epoch or ""]
    assert runs == {old: 300 - dropped, new: 1}
    assert losses == [
        (old, bytes.fromhex(before.epoch or ""), 0, dropped, "spool-full"),
        (new, bytes.fromhex(before.epoch or ""), 301, None, "spool-corrupt"),
    ]


async def test_killed_at_either_end_each_run_arrives_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "SYSTEM_DIRECTORY", tmp_path / "etc")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    chance, kept, store = random.Random(7), dict[int, str](), tmp_path / "collector"
    async with collector(store):
        said = await asyncio.to_thread(enrol.enrol, await asyncio.to_thread(link, store), os.environ)
    assert said.startswith('This box is "Boardroom 4" at http://127.0.0.1:')
    me = config.load(env=os.environ).collector
    assert me.agent is not None and me.token_file is not None

    def agent(url: str, mode: str, seed: int) -> tuple[str, ...]:
        return (
            "-m",
            "tests.sinks.agent",
            str(tmp_path / "spool"),
            url,
            me.token_file or "",
            me.agent or "",
            mode,
            str(seed),
        )

    for number in range(KILLS):
        async with collector(store) as (far, url), child(*agent(url, "busy", number)) as near:
            reading = asyncio.create_task(lines(near, kept))
            before = len(kept)
            async with asyncio.timeout(60):
                while len(kept) == before:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0.02, 0.6))
            first, second = (near, far) if number % 2 else (far, near)
            first.send_signal(signal.SIGKILL)
            await asyncio.sleep(chance.choice([0, 0.1]))
            second.send_signal(signal.SIGKILL)
            await reading
    async with collector(store) as (_, url), child(*agent(url, "drain", 0)) as near:
        async with asyncio.timeout(120):
            end = await lines(near, kept)
    _, next_seq, depth, lost = end.split()
    assert (depth, lost) == ("0", "0")
    with contextlib.closing(sqlite3.connect(store / "collector.sqlite3")) as db:
        stored = {seq: str(uuid.UUID(bytes=run_id)) for seq, run_id in db.execute("SELECT seq, id FROM run")}
        (count,) = db.execute("SELECT count(*) FROM run").fetchone()
    assert count == len(stored) == int(next_seq), "every number once"
    assert {seq: stored.get(seq) for seq in kept} == kept, "and every run that was kept is there"
    assert len(kept) > KILLS * 5
