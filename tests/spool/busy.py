"""A process that appends and delivers as fast as it can, until it is killed; each line says what has surely happened.

A <seq> <run id>     this append has returned
D <record>           the far end has this record (written before the acknowledgement, as a collector commits before it answers)
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.spool.helpers import run, store


def main() -> None:
    directory, seed = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    spool = store(directory)
    print("ready", flush=True)
    number = seed * 10_000
    while True:
        number += 1
        made = run(number, outcome=chance.choice(["open", "fault", "fault"]), size=chance.choice([0, 0, 400_000]))
        position = spool.append(made)
        print("A", position.seq, made["run"]["id"], flush=True)
        if chance.random() < 0.15:
            batch = spool.next_batch(chance.randrange(1, 6), 1 << 20, newest=chance.random() < 0.3)
            for item in batch:
                print("D", item.line.decode().strip(), flush=True)
            spool.acknowledge(item.position for item in batch)


if __name__ == "__main__":
    main()
