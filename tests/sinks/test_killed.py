"""The whole daemon, killed at random moments while it sweeps, spools and pushes: what it produced is in the collector once.

Ten times; ROOMPROBE_KILLS=50 in the environment for more.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from functools import partial
from pathlib import Path

from tests.daemon.running import FarEnd
from tests.sinks.running import child, collector, enrolled, kept
from tests.sinks.test_clocks import DAY_MS, Line, line, until
from tests.sinks.test_end_to_end import KILLS


async def test_the_daemon_or_its_collector_is_killed_and_no_run_is_missing(tmp_path: Path) -> None:
    chance, store, place = random.Random(11), tmp_path / "collector", tmp_path / "box"
    box, far_end = enrolled(store, time.time_ns() // 1_000_000 - 30 * DAY_MS), FarEnd()
    place.mkdir()
    await far_end.on()
    written: list[list[str]] = []  # what each life of the daemon wrote into its file, just before it was spooled
    for number in range(KILLS):
        async with collector(store) as (far, url):
            told = (
                "-m",
                "tests.sinks.daemon",
                str(place),
                str(far_end.port),
                url,
                box.agent,
                str(box.token_file),
                "yes",
            )
            async with child(*told) as near:
                await until(partial(_more, store, len(kept(store))))
                await asyncio.sleep(chance.uniform(0, 1.2))
                first, second = (near, far) if number % 2 else (far, near)
                first.send_signal(signal.SIGKILL)
                await asyncio.sleep(chance.choice([0, 0.2]))
                second.send_signal(signal.SIGKILL)
                await near.wait()
        seen = {run_id for life in written for run_id in life}
        ids = [one["run"]["id"] for one in Line(place, box, url, far_end).produced()]
        written.append([run_id for run_id in ids if run_id not in seen])
    await far_end.off()
    async with collector(store) as (_, url), line(tmp_path, box, url, "yes"):
        await until(partial(_more, store, len(kept(store)) + 2))
    stored = kept(store)
    assert sorted(stored.values()) == list(range(len(stored))), "every number once"
    # The last one of a life may have been killed on its way from the file to the spool: then it was not produced.
    surely = [run_id for life in written for run_id in life[:-1]]
    assert set(surely) <= set(stored) and len(surely) >= KILLS


async def _more(store: Path, than: int) -> bool:
    return len(kept(store)) > than
