"""The whole daemon in a process of its own, with one row to ask on loopback and a collector: for faults of the line and of clocks."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from roomprobe.sections import CollectorSection
from tests.daemon.running import LOOPBACK, World

SYNCED = {"yes": True, "no": False, "unknown": None}


async def main() -> None:
    place, far_end, url, agent, token_file, synced = sys.argv[1:]
    world = World(Path(place), int(far_end))
    world.host = msgspec.structs.replace(LOOPBACK, clock_synced=SYNCED[synced])
    collector = CollectorSection(url=url, agent=agent, token_file=token_file)
    config = msgspec.structs.replace(world.settings.config, collector=collector)
    world.settings = msgspec.structs.replace(world.settings, config=config)
    daemon = world.make()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, daemon.stop)
    await daemon.serve()


if __name__ == "__main__":
    asyncio.run(main())
