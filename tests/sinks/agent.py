"""An agent without its probes: a spool and the push in a process of its own, appending as it can (runs of a size, if told);
"drain": only until all has arrived.

Each line on stdout says what has surely happened: A <seq> <run id>, once the append has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from pathlib import Path

from roomprobe.sinks.push import Push, Target
from roomprobe.spool import Spool
from tests.spool.helpers import run


async def main() -> None:
    state, url, token_file, agent, mode, seed, *size = sys.argv[1:]
    chance = random.Random(int(seed))
    spool = Spool(Path(state), agent)
    await spool.open()
    push = Push(spool, Target(url=url, token_file=token_file), 300)
    pushing = asyncio.create_task(push.run())
    print("ready", flush=True)
    number = 0
    while mode == "busy":
        number += 1
        made = run(number, outcome=chance.choice([None, None, "fault"]), size=int(size[0]) if size else 0)
        position = await spool.append(made)
        print("A", position.seq, made["run"]["id"], flush=True)
        await asyncio.sleep(chance.choice([0, 0, 0.005]))
    while push.state.status != "idle":
        await asyncio.sleep(0.01)
    pushing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await pushing
    state_at_end = await spool.state()
    print("E", state_at_end.next_seq, state_at_end.depth, state_at_end.lost, flush=True)
    await spool.close()


if __name__ == "__main__":
    asyncio.run(main())
