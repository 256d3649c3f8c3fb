"""Uploads as fast as they are taken: boxes that send one run each over real HTTP, to the collector, to a plain handler, to bare SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp

from bench.fleet import DAY_S, Document, Room, situation
from roomprobe.wire import upload
from tests.browser import filling
from tests.collector.test_process import process

RUNS = int(os.environ.get("RUNS", "5"))
BOXES = int(os.environ.get("BOXES", "100"))
EACH = 60  # uploads of one box: within the burst that the collector allows it

Body = tuple[str, bytes]


class Sender(NamedTuple):
    """A box: its site's number (fleet.situation), and the number of its next run."""

    agent: str
    token: str
    site: int
    seq: int = 0


async def measure(place: Path, told: Mapping[str, Document]) -> None:
    """Uploads a second, in turn with the least that an upload over HTTP and a commit could cost."""
    rates: list[tuple[float, float, float]] = []
    costs: list[tuple[float, float]] = []
    for number in range(RUNS):
        state = place / f"uploads-{number}"
        boxes = [filling.enrol(state, f"Room {n}") for n in range(BOXES)]
        sent = bodies([Sender(box.agent, box.token, n % 100) for n, box in enumerate(boxes)], told)
        async with process(state) as running:
            before, _ = used(running.child.pid)
            ours = await burst(running.url, sent)
            cpu, rss = used(running.child.pid)
        async with plain(state / "appended") as url:
            least = await burst(url, sent)
        rates.append((ours, least, commits(state / "bare.sqlite3", sent)))
        costs.append(((cpu - before) / sum(map(len, sent)), rss))
    ours, least, bare = (statistics.median(column) for column in zip(*rates, strict=True))
    cpu, rss = (statistics.median(column) for column in zip(*costs, strict=True))
    print(f"uploads of one run each, from {BOXES} boxes at the same time; median of {RUNS}")
    print(f"  accepted, flushed to the disk  {ours:6.0f} /s   {cpu * 1000:.2f} ms CPU each   {rss:.0f} MiB at most")
    print(f"  a plain handler, append+fdatasync  {ours / least:.2f} x of its uploads")
    print(f"  bare SQLite, a commit each         {ours / bare:.2f} x of its commits", flush=True)


def bodies(senders: Sequence[Sender], reports: Mapping[str, Document]) -> list[list[Body]]:
    """For each box its uploads: the first runs of yesterday, one in each, as it sends them while all is well."""
    midnight = (filling.now() // 1000 // DAY_S - 1) * DAY_S
    made = []
    for sender in senders:
        so = {"open": situation(reports["open"], sender.site)}
        runs = Room(sender.agent, so, seq=sender.seq).runs(midnight, 1)
        made.append([(sender.token, upload.pack([upload.build(run)])) for _, run in itertools.islice(runs, EACH)])
    return made


async def post(http: aiohttp.ClientSession, url: str, body: Body) -> None:
    """One upload; it is taken, or the bench ends."""
    headers = {
        "Authorization": f"Bearer {body[0]}",
        "Content-Type": upload.CONTENT_TYPE,
        "Content-Encoding": "gzip",
        "X-Roomprobe-Every": "300",
    }
    async with http.post(f"{url}/v1/runs", data=body[1], headers=headers) as answer:
        if answer.status != 200:
            sys.exit(f"an upload was refused: {answer.status} {await answer.text()}")
        await answer.read()


async def burst(url: str, sent: Sequence[Sequence[Body]]) -> float:
    """Every box sends its uploads one after the other, all boxes at the same time: accepted uploads a second."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def one(bodies: Sequence[Body]) -> None:
            for body in bodies:
                await post(http, url, body)

        begun = time.monotonic()
        await asyncio.gather(*(one(bodies) for bodies in sent))
        return sum(map(len, sent)) / (time.monotonic() - begun)


@contextlib.asynccontextmanager
async def plain(file: Path) -> AsyncIterator[str]:
    """The plain handler in a process of its own; its URL."""
    script = Path(__file__).with_name("plain.py")
    child = await asyncio.create_subprocess_exec(sys.executable, str(script), str(file), stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    try:
        yield (await child.stdout.readline()).decode().strip()
    finally:
        child.kill()
        await child.wait()


def commits(file: Path, sent: Sequence[Sequence[Body]]) -> float:
    """The same bodies as rows of SQLite, one commit each, flushed to the disk: rows a second."""
    rows = [body for one in sent for _, body in one]
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE upload (id INTEGER PRIMARY KEY, body BLOB)")
        begun = time.monotonic()
        for row in rows:
            db.execute("INSERT INTO upload (body) VALUES (?)", (row,))
        return len(rows) / (time.monotonic() - begun)


def used(pid: int) -> tuple[float, float]:
    """A process until now: CPU seconds, and the most MiB that were resident (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(told["VmHWM"].split()[0]) / 1024
