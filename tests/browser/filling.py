"""What stands in the collector of the browser's tests: rooms in every state, with a day behind them, sent as boxes send."""

from __future__ import annotations

import io
import sqlite3
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from roomprobe.changes import outcome_hash
from roomprobe.collector import command, people
from roomprobe.report.document import document
from roomprobe.report.run import Report
from roomprobe.wire import upload
from roomprobe.wire.upload import Full, Record, Same
from tests.collector.making import stamp

EPOCH = "00112233aabbccdd"
MINUTE = 60_000
DAY = 86_400_000


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Box:
    """One enrolled box; it remembers its number and what it said last."""

    def __init__(self, agent: str, token: str, room: str) -> None:
        self.agent = agent
        self.token = token
        self.room = room
        self.seq = 0
        self.last: Full | None = None

    def run(self, at: int, trigger: str = "schedule") -> dict[str, Any]:
        return {
            "id": str(uuid.uuid5(uuid.UUID(self.agent), str(self.seq))),
            "epoch": EPOCH,
            "seq": self.seq,
            "trigger": trigger,
            "started": stamp(at),
            "started_mono": 100.0 + self.seq,
            "duration_s": 3.1,
            "clock_synced": True,
            "interrupted": False,
        }

    def full(self, told: Report, at: int) -> Record:
        """The next run, with its report."""
        made = document(told)
        made["agent"] = {"id": self.agent, "version": "0.1.0"}
        made["run"] = self.run(at)
        self.last = Full(agent=self.agent, epoch=EPOCH, seq=self.seq, hash=outcome_hash(made), document=made)
        self.seq += 1
        return self.last

    def same(self, at: int) -> Record:
        """The next run, which found the same in other times."""
        assert self.last is not None
        times: Mapping[str, float] = {
            check["id"]: round(check["rtt_ms"] * (1 + (self.seq * 7 % 11) / 20), 2)
            for check in self.last.document["checks"]
            if check["rtt_ms"] is not None
        }
        made = Same(
            agent=self.agent, epoch=EPOCH, seq=self.seq, hash=self.last.hash, run=self.run(at), numbers=dict(times)
        )
        self.seq += 1
        return made

    def day(self, begin: int, end: int, *told: tuple[int, Report]) -> list[Record]:
        """Runs every five minutes in [begin, end); `told` are the moments from which another report holds."""
        records = []
        left = list(told)
        for at in range(begin, end, 5 * MINUTE):
            if left and at >= left[0][0]:
                records.append(self.full(left.pop(0)[1], at))
            else:
                records.append(self.same(at))
        return records


def enrol(state: Path, room: str, *, site: str | None = None, org: str | None = None) -> Box:
    """A box that was enrolled long ago."""
    then = now() - 400 * DAY

    def job(db: sqlite3.Connection) -> Box:
        token = people.mint(db, then, room, minutes=60, site=site, org=org)
        made = people.enrol(db, then, token, "box-" + str(len(room)))
        return Box(made.agent, made.token, room)

    return command._write(state, job)


async def send(http: aiohttp.ClientSession, url: str, box: Box, records: list[Record], every_s: float = 300) -> None:
    """Sends the records as the box does."""
    headers = {
        "Authorization": f"Bearer {box.token}",
        "Content-Type": upload.CONTENT_TYPE,
        "Content-Encoding": "gzip",
        "X-Roomprobe-Every": str(every_s),
    }
    data = io.BytesIO(upload.pack([upload.build(record) for record in records]))
    async with http.post(f"{url}/v1/runs", data=data, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


def unheard(state: Path, room: str, ago_ms: int) -> None:
    """Makes the room one that was last heard so long ago."""

    def job(db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE agent SET last_seen = ? WHERE room = (SELECT id FROM room WHERE name = ?)", (now() - ago_ms, room)
        )

    command._write(state, job)
