"""A daemon that runs for years: sweep after sweep without more memory or file descriptors.

ROOMPROBE_SWEEPS=10000 for a long run (docs/daemon.md has its result).
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

from roomprobe.daemon import metrics
from tests.daemon.running import FarEnd, World, running, until

SWEEPS = int(os.environ.get("ROOMPROBE_SWEEPS", "400"))
MOST_GROWTH = 3 << 20


async def test_many_sweeps_leave_nothing_behind(tmp_path: Path) -> None:
    far = FarEnd()
    await far.on()
    world = World(tmp_path, far.port, full_s=0.001, quick_s=0.001)
    world.said.write = lambda _: 0  # type: ignore[method-assign]  the log itself would grow

    def sizes() -> tuple[int, int]:
        gc.collect()
        return metrics._resident()[0], metrics._open_files()[0]

    async with running(world) as daemon:
        runs = daemon.board.runs
        await until(lambda: sum(runs.values()) >= SWEEPS // 4, 600)
        before = sizes()
        await until(lambda: sum(runs.values()) >= SWEEPS, 3600)
        after = sizes()
    await far.off()
    print(f"\n{sum(runs.values())} sweeps: {before} -> {after}")
    assert after[1] <= before[1] + 2
    assert after[0] - before[0] < MOST_GROWTH
    assert not [key for key in runs if key[1] == "failed"]
