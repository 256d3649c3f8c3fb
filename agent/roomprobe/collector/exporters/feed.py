"""What became new in the store, in the order of its commits: kept by triggers, so that nothing is missed or told in advance.

Every function is a job on the store (a reading or the writing connection). Each consumer has a place of its own in the feed; a row
goes when all have passed it, or when there are too many: a receiver that is away must not fill the disk.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from roomprobe.collector.queries import FLEET, SILENT

MOST = 200_000  # rows, 30 bytes each
A_BITE = 5_000
_TABLE = (
    "CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, place INTEGER NOT NULL, "
    "seq INTEGER NOT NULL, subject INTEGER)"
)
_TRIGGERS = {
    "run": "AFTER INSERT ON run BEGIN INSERT INTO feed (kind, place, seq) VALUES ('run', NEW.chain, NEW.seq); END",
    "loss": "AFTER INSERT ON loss BEGIN INSERT INTO feed (kind, place, seq) VALUES ('loss', NEW.chain, NEW.seq); END",
    "interval": "AFTER INSERT ON interval BEGIN "
    "INSERT INTO feed (kind, place, seq, subject) VALUES ('interval', NEW.chain, NEW.seq, NEW.subject); END",
}

Row = tuple[int, str, int, int, int | None]  # id, kind, chain (of silence: room), number (of silence: when), subject


def begin(db: sqlite3.Connection, consumers: Sequence[str], kinds: Sequence[str]) -> None:
    """Keeps a feed of these kinds for these consumers. A new one begins at what comes next; without any all goes."""
    for kind in _TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS feed_{kind}")
    if not consumers:
        db.execute("DROP TABLE IF EXISTS feed")
        db.execute("DELETE FROM meta WHERE name LIKE 'export.%'")
        return
    db.execute(_TABLE)
    for kind in kinds:
        db.execute(f"CREATE TRIGGER feed_{kind} {_TRIGGERS[kind]}")
    known = [name for (name,) in db.execute("SELECT name FROM meta WHERE name LIKE 'export.%.place'").fetchall()]
    for name in known:
        if name.split(".")[1] not in consumers:
            db.execute("DELETE FROM meta WHERE name LIKE ?", (name.removesuffix("place") + "%",))
    for name in consumers:
        db.execute("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", (_place(name), str(_top(db))))


def read(db: sqlite3.Connection, consumer: str, limit: int) -> list[Row]:
    """The next rows for a consumer."""
    rows = db.execute(
        "SELECT id, kind, place, seq, subject FROM feed WHERE id > ? ORDER BY id LIMIT ?", (_at(db, consumer), limit)
    )
    return [tuple(row) for row in rows.fetchall()]


def flight(db: sqlite3.Connection, consumer: str) -> dict[str, object] | None:
    """What a consumer was about to deliver when the collector ended."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (f"export.{consumer}.flight",)).fetchone()
    return None if row is None else dict(json.loads(row[0]))


def take_off(db: sqlite3.Connection, consumer: str, told: dict[str, object]) -> None:
    """Remembers what is about to be delivered, so that a repeat after a restart is the same delivery."""
    db.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (f"export.{consumer}.flight", json.dumps(told))
    )


def done(db: sqlite3.Connection, consumer: str, upto: int) -> None:
    """A consumer has passed all up to here."""
    db.execute(
        "UPDATE meta SET value = ? WHERE name = ? AND CAST(value AS INTEGER) < ?", (upto, _place(consumer), upto)
    )
    db.execute("DELETE FROM meta WHERE name = ?", (f"export.{consumer}.flight",))


def trim(db: sqlite3.Connection, most: int = MOST) -> tuple[dict[str, int], bool]:
    """One bite of what all have passed, and of what is too much: how many rows each consumer missed by that, and whether
    there may be more to let go of."""
    places = {
        name.split(".")[1]: int(value)
        for name, value in db.execute("SELECT name, value FROM meta WHERE name LIKE 'export.%.place'").fetchall()
    }
    floor = _top(db) - most
    missed: dict[str, int] = {}
    for name, place in places.items():
        if place < floor:
            missed[name] = db.execute("SELECT count(*) FROM feed WHERE id > ? AND id <= ?", (place, floor)).fetchone()[
                0
            ]
            db.execute("UPDATE meta SET value = ? WHERE name = ?", (floor, _place(name)))
    passed = max(floor, min(places.values(), default=floor))
    bite = "DELETE FROM feed WHERE id IN (SELECT id FROM feed WHERE id <= ? ORDER BY id LIMIT ?)"
    return missed, db.execute(bite, (passed, A_BITE)).rowcount >= A_BITE


def hush(db: sqlite3.Connection, now: int, up_ms: int) -> int:
    """Rooms that fell silent or were heard again since the last call become rows; how many. `up_ms`: how long the collector
    has listened by now: a room is not silent because the collector was away."""
    row = db.execute("SELECT value FROM meta WHERE name = 'export.silent'").fetchone()
    before = set(json.loads(row[0])) if row else None
    silent = {
        number: revoked is None and up_ms > 3 * every
        for number, every, revoked in db.execute(
            f"SELECT room.id, coalesce(agent.every_ms, 300000), agent.revoked {FLEET} WHERE {SILENT} AND agent.last_seen NOT NULL",
            {"now": now},
        ).fetchall()
    }
    fresh, heard, told = set[int](), set[int](), set(silent)
    if before is not None:
        fresh = {number for number, worth in silent.items() if worth and number not in before}
        heard = before - set(silent)
        told = (before | fresh) - heard
    for kind, rooms in (("silent", fresh), ("heard", heard)):
        db.executemany(
            "INSERT INTO feed (kind, place, seq) VALUES (?, ?, ?)", [(kind, room, now) for room in sorted(rooms)]
        )
    if told != before:
        db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('export.silent', ?)", (json.dumps(sorted(told)),))
    return len(fresh) + len(heard)


def forget(db: sqlite3.Connection, room: int, chains: Sequence[int]) -> None:
    """Nothing of a room that goes is told any more: its numbers may become another's."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'feed'").fetchone() is None:
        return
    db.executemany(
        "DELETE FROM feed WHERE kind IN ('run', 'loss', 'interval') AND place = ?", [(chain,) for chain in chains]
    )
    db.execute("DELETE FROM feed WHERE kind IN ('silent', 'heard') AND place = ?", (room,))
    row = db.execute("SELECT value FROM meta WHERE name = 'export.silent'").fetchone()
    if row is not None:
        told = [number for number in json.loads(row[0]) if number != room]
        db.execute("UPDATE meta SET value = ? WHERE name = 'export.silent'", (json.dumps(told),))


def _top(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'feed'").fetchone()
    return 0 if row is None else int(row[0])


def _at(db: sqlite3.Connection, consumer: str) -> int:
    row = db.execute("SELECT value FROM meta WHERE name = ?", (_place(consumer),)).fetchone()
    return 0 if row is None else int(row[0])


def _place(consumer: str) -> str:
    return f"export.{consumer}.place"
