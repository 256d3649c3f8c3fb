"""A store with a large fleet in it: a few rooms go through the collector's own code, the others are copies of what that left.

`tests/test_bench.py` holds a copy against a room that went the whole way.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from bench.fleet import DAY_S, FLAPPING, HOUR_S, ONCE, OUTAGE, STEADY, Document, Room, situation, troubles
from bench.uploads import Sender
from roomprobe.collector import people, retention, store, tokens
from roomprobe.collector.database import NAME, open_to_write
from roomprobe.collector.intervals import Names
from roomprobe.collector.prepare import BUCKET_MS, prepare
from roomprobe.collector.retention import DAY_MS, Keep
from roomprobe.model import Frozen
from roomprobe.wire.upload import Record
from tests.browser import filling

TEMPLATES = (OUTAGE, FLAPPING, ONCE, STEADY, STEADY, STEADY)  # each of a site of its own
# Rooms that have every round-trip time: of all of them it would be tens of GB, and no page reads those of two rooms.
WITH_TIMES = 100
MIDST_S = 12.5 * HOUR_S  # the time of day when all troubles are there at once: that is what the pages show
MINUTE_MS = 60_000
TOGETHER = 12  # records of one upload


class Fleet(Frozen, frozen=True, kw_only=True):
    """The store: a token to read with, a room of either kind, boxes to send from, and how many rows there are."""

    reader: str
    well: str
    flapping: str
    senders: tuple[Sender, ...]
    rows: str


class Copy(Frozen, frozen=True, kw_only=True):
    """A room to be made like another: numbers of agent, chain and room at once, and the number of the one that it is like."""

    number: int
    like: int
    name: str
    site: str
    sender: Sender


def build(state: Path, rooms: int, days: int, reports: Mapping[str, Document], senders: int) -> Fleet:
    """Makes the store; its newest runs are of this moment."""
    now = filling.now()
    length_s = days * DAY_S + MIDST_S
    boxes = [
        filling.enrol(state, f"Site {site:02d}, room {site:05d}", site=f"Site {site:02d}")
        for site in range(len(TEMPLATES))
    ]
    with closing(open_to_write(state / NAME)) as db:
        db.execute("PRAGMA journal_mode = OFF")  # GBs at once; the collector that opens it sets its own
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        names = Names()
        made = []
        for site, (box, trouble) in enumerate(zip(boxes, TEMPLATES, strict=True)):
            so = {name: situation(report, site) for name, report in reports.items()}
            runs = list(Room(box.agent, so, trouble).runs(now // 1000 - round(length_s), length_s / DAY_S))
            ingest(db, names, site + 1, runs)
            made.append(Sender(agent=box.agent, token=box.token, site=site, seq=len(runs)))
        while retention.let_go(db, now, Keep()):
            pass
        copies = [_copy(number, made[_like(number) - 1]) for number in range(len(TEMPLATES) + 1, rooms + 1)]
        copied(db, copies, now)
        last = "UPDATE agent SET last_seen = CASE id % 50 WHEN 17 THEN ? ELSE ? END"
        db.execute(last, (now - DAY_MS, filling.now()))
        counts = [
            f"{db.execute(f'SELECT count(*) FROM {table}').fetchone()[0]:,} {table}s"
            for table in ("run", "interval", "document", "aggregate")
        ]
        _, reader = people.api_token(db, now, "bench")
        db.execute("COMMIT")
    return Fleet(
        reader=reader,
        well=_first(copies, STEADY),
        flapping=_first(copies, FLAPPING),
        senders=tuple([*made, *(one.sender for one in copies)][:senders]),
        rows=", ".join(counts),
    )


def ingest(db: sqlite3.Connection, names: Names, agent: int, runs: Sequence[tuple[int, Record]]) -> None:
    """Runs of an agent as they would have come, each within the hour."""
    for first in range(0, len(runs), TOGETHER):
        some = runs[first : first + TOGETHER]
        received = some[-1][0] + MINUTE_MS
        ready = [prepare(record, received=received, sent=None, enrolled=0) for _, record in some]
        store.upload(db, names, agent, ready, received=received, every_ms=300_000)


def copied(db: sqlite3.Connection, copies: Sequence[Copy], now: int, with_times: int = WITH_TIMES) -> None:
    """Rooms that hold the same as those that they are like; beyond `with_times` only the last hour's round-trip times."""
    db.execute("CREATE TEMP TABLE copy (number INTEGER PRIMARY KEY, like_, name, site, uuid, token, since)")
    db.executemany(
        "INSERT INTO copy VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (one.number, one.like, one.name, one.site, one.sender.agent, tokens.digest(one.sender.token),
             0 if count < with_times else (now - 60 * MINUTE_MS) // BUCKET_MS)
            for count, one in enumerate(copies)
        ],
    )  # fmt: skip
    # Indexes are made at the end, in one go.
    indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    for table, own in _OWN.items():
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        values = ", ".join(own.get(column, f"t.{column}") for column in columns)
        where = " AND bucket >= copy.since" if table == "aggregate" else ""
        like = "chain" if "chain" in own and table != "agent" else "agent" if table in ("known", "aggregate") else "id"
        db.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM copy CROSS JOIN {table} t "
            f"ON t.{like} = copy.like_{where} ORDER BY copy.number"
        )
    for _, sql in indexes:
        db.execute(sql)
    db.execute("DROP TABLE copy")


# What is a copy's own. A template's room, agent and chain have one number, and so have a copy's.
_NUMBER = "copy.number"
_OWN: Mapping[str, Mapping[str, str]] = {
    "room": {"id": _NUMBER, "name": "copy.name", "site": "copy.site", "agent": _NUMBER},
    "agent": {"id": _NUMBER, "uuid": "copy.uuid", "room": _NUMBER, "token_hash": "copy.token", "chain": _NUMBER},
    "chain": {"id": _NUMBER, "agent": _NUMBER},
    "known": {"agent": _NUMBER},
    "run": {"chain": _NUMBER, "id": "randomblob(16)"},
    "span": {"chain": _NUMBER},
    "document": {"id": "NULL", "chain": _NUMBER},
    "interval": {"id": "NULL", "chain": _NUMBER},
    "aggregate": {"agent": _NUMBER},
}


def _first(copies: Sequence[Copy], kind: Sequence[tuple[float, float, str]]) -> str:
    return next(one.name for one in copies if TEMPLATES[one.like - 1] is kind)


def _like(number: int) -> int:
    """Which template a room is like: one that has the same troubles."""
    alike = [like for like, trouble in enumerate(TEMPLATES, 1) if trouble is troubles(number)]
    return alike[number % len(alike)]


def _copy(number: int, like: Sender) -> Copy:
    site = f"Site {number % 100:02d}"
    sender = Sender(agent=str(uuid.UUID(int=number)), token=f"token-{number}", site=like.site, seq=like.seq)
    return Copy(number=number, like=like.site + 1, name=f"{site}, room {number:05d}", site=site, sender=sender)
