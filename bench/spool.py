"""What a run costs the disk: bytes that the spool hands to it, appended, sent and acknowledged. `scripts/bench spool`.

Beside it the same documents in the obvious way: one row of plain JSON committed, and deleted in a commit of its own.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "agent")]

from roomprobe.report.document import document  # noqa: E402
from roomprobe.spool.disk import Files  # noqa: E402
from roomprobe.spool.store import Store  # noqa: E402
from tests.report import samples  # noqa: E402

COUNT = 288  # a day, every five minutes
CHECKS = 40
PATHS = 200  # as many steps as a survey of a blocked room has


def written() -> int:
    """Bytes that this process caused to be written to the block device until now (proc(5), /proc/pid/io)."""
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(told["write_bytes"])


def run(number: int) -> dict[str, Any]:
    """A run with as many checks as a room has."""
    made = document(samples.degraded())
    made["run"].update(id=str(uuid.uuid4()), started=f"2026-11-20T{number // 12 % 24:02}:{number % 12 * 5:02}:00Z")
    chance = random.Random(number)  # two runs are alike in their words, and differ in their numbers
    checks = [check for check in made["checks"] if check["evidence"]]
    made["checks"] = [{**_numbered(checks[n % len(checks)], chance), "id": f"starleaf/{n}"} for n in range(CHECKS)]
    made["paths"] = [_numbered(path, chance) for path in made["paths"] for _ in range(PATHS)]
    for part in made["checks"]:
        part["rtt_ms"] = round(chance.uniform(0, 100), 3)
        part["source"] = {"address": "10.20.4.17", "port": chance.randrange(1 << 16)}
    return made


def _numbered(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: _numbered(item, chance) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbered(item, chance) for item in value]
    if isinstance(value, float):
        return round(chance.uniform(0, 100), 3)
    return chance.randbytes(32).hex() if isinstance(value, str) and len(value) == 64 else value


def ours(directory: Path, changes: bool) -> None:
    """Each run appended, sent, acknowledged, as the daemon does; `changes`: each one says something else."""
    store = Store(Files(directory), str(uuid.UUID(int=1)), clock=time.monotonic, wall=lambda: "2026-11-20T00:00:00Z")
    store.open()
    for number in range(COUNT):
        made = run(number)
        if changes:
            made["checks"][0]["outcome"] = ("open", "fault")[number % 2]
        store.append(made)
        store.acknowledge(item.position for item in store.next_batch(100, 1 << 20))
    store.close()


def plainly(directory: Path) -> None:
    """A row of JSON in, a commit, the row out, a commit."""
    db = sqlite3.connect(directory / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE record (seq INTEGER PRIMARY KEY, body TEXT)")
    for number in range(COUNT):
        db.execute("INSERT INTO record VALUES (?, ?)", (number, json.dumps(run(number))))
        db.execute("DELETE FROM record WHERE seq = ?", (number,))
    db.close()


def cost(work: Callable[[Path], None]) -> float:
    """KiB written for each run."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:  # /tmp may be no disk
        before = written()
        work(Path(directory))
        return (written() - before) / COUNT / 1024


def main() -> None:
    plain = cost(plainly)
    size = len(json.dumps(run(0))) / 1024
    print(f"{f'a run of {CHECKS} checks, {size:.0f} KiB of JSON':<46}{'written':>10}")
    for what, changes in (("nothing changed", False), ("every run changed", True)):
        mine = cost(lambda directory, changes=changes: ours(directory, changes))  # type: ignore[misc]
        day = mine * COUNT / 1024
        print(f"{what:<46}{mine:6.1f} KiB   {mine / plain:6.2f} x plain rows of JSON   {day:6.1f} MiB a day")


if __name__ == "__main__":
    main()
