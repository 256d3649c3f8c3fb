"""What one thing in a room said over time, and what changed: reads of the store, beside queries.py.

Chains are laid one after the other here: a new spool file or a new box is no change when the same was said before.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from typing import Any

from roomprobe.collector.boxes import room_id
from roomprobe.collector.prepare import BUCKET_MS
from roomprobe.collector.queries import MOST_PAGE
from roomprobe.collector.views import Change, Interval, Point, Said

_VALUE = "outcome, confidence, reason, where_, at_least, sentence"


def timeline(
    db: sqlite3.Connection,
    name: str,
    kind: str,
    id: str,
    *,
    profile: str | None = None,
    start: int = 0,
    end: int = 1 << 62,
) -> list[Interval]:
    """The intervals of a "check" or a "service" that touch [start, end), in order. UnknownRoom."""
    rows = db.execute(
        f"SELECT i.id, i.chain, i.subject, i.at, chain.top_at, chain.id = (SELECT a.chain FROM room JOIN agent a "
        f"ON a.id = room.agent WHERE room.id = :room) AS now, {_VALUE} FROM subject "
        "JOIN agent ON agent.room = :room JOIN chain ON chain.agent = agent.id "
        "JOIN interval i ON i.chain = chain.id AND i.subject = subject.id "
        "WHERE subject.name = :name AND kind = :kind AND (:profile IS NULL OR subject.profile = :profile) "
        "ORDER BY now, chain.top_at, chain.id, i.subject, i.seq",
        {"room": room_id(db, name), "name": id, "kind": kind, "profile": profile},
    ).fetchall()
    found: list[Interval] = []
    for number, row in enumerate(rows):
        following = rows[number + 1] if number + 1 < len(rows) else None
        own = following is not None and (following["chain"], following["subject"]) == (row["chain"], row["subject"])
        last = found[-1] if found else None
        begin = max(row["at"], last.since if last else 0)
        if row["outcome"] is None:
            continue
        finish = max(begin, following["at"] if own and following is not None else row["top_at"])
        if last is not None and _same(last, row) and rows[number - 1]["outcome"] is not None:
            found[-1] = _interval(found[-1], finish)
        else:
            found.append(_made(row, begin, finish))
    if found and rows[-1]["outcome"] is not None and rows[-1]["now"]:
        found[-1] = _interval(found[-1], None)
    return [one for one in found if one.since < end and (one.until is None or one.until >= start)]


def series(
    db: sqlite3.Connection, name: str, check: str, *, start: int = 0, end: int = 1 << 62, every_ms: int = BUCKET_MS
) -> list[Point]:
    """The round-trip times of a check in [start, end), in pieces of `every_ms` (a multiple of five minutes). UnknownRoom."""
    width = max(1, every_ms // BUCKET_MS)
    rows = db.execute(
        "SELECT bucket / :width * :width AS at, sum(n) AS n, sum(sum) AS sum, min(least) AS least, max(most) AS most FROM agent "
        "JOIN aggregate ON aggregate.agent = agent.id JOIN series ON series.id = aggregate.series "
        "WHERE agent.room = :room AND series.name = :name AND bucket BETWEEN :start AND :end GROUP BY 1 ORDER BY 1",
        {
            "width": width,
            "room": room_id(db, name),
            "name": check,
            "start": start // BUCKET_MS,
            "end": (end - 1) // BUCKET_MS,
        },
    )
    return [
        Point(
            at=row["at"] * BUCKET_MS,
            n=row["n"],
            mean=round(row["sum"] / row["n"] / 1000, 3),
            least=row["least"] / 1000,
            most=row["most"] / 1000,
        )
        for row in rows
    ]


def changes(
    db: sqlite3.Connection,
    *,
    room: str | None = None,
    since: int = 0,
    before: tuple[int, int] | None = None,
    kind: str | None = None,
    limit: int = 100,
) -> list[Change]:
    """What changed from `since` on, the newest first. `before` = (at, interval) of the last one goes on from there.

    What a room said first of all is no change.
    """
    limit = max(1, min(limit, MOST_PAGE))
    at, number = before or (1 << 62, 1 << 62)
    values: dict[str, Any] = {"room": None if room is None else room_id(db, room), "since": since, "kind": kind}
    found: list[Change] = []
    for _ in range(50):
        # Off the index of times for the fleet; a room has few chains, so it is asked by them.
        source = (
            "interval i"
            if room is None
            else "(SELECT * FROM interval WHERE chain IN "
            "(SELECT id FROM chain WHERE agent IN (SELECT id FROM agent WHERE room = :room))) i"
        )
        rows = db.execute(
            f"SELECT i.id, i.chain, i.subject, i.seq, i.at, {_VALUE}, kind, profile, row, subject.name, room.name AS room, "
            f"room.id AS room_id FROM {source} JOIN subject ON subject.id = i.subject JOIN chain ON chain.id = i.chain "
            "JOIN agent ON agent.id = chain.agent JOIN room ON room.id = agent.room "
            "WHERE i.at >= :since AND (i.at, i.id) < (:at, :number) AND (:kind IS NULL OR kind = :kind) "
            "ORDER BY i.at DESC, i.id DESC LIMIT 200",
            values | {"at": at, "number": number},
        ).fetchall()
        for row in rows:
            if (change := _change(db, row)) is not None:
                found.append(change)
                if len(found) == limit:
                    return found
        if len(rows) < 200:
            break
        at, number = rows[-1]["at"], rows[-1]["id"]
    return found


def change(db: sqlite3.Connection, chain: int, subject: int, seq: int) -> Change | None:
    """The change that an interval began with; None when there is no such interval (any more), or nothing changed by it."""
    row = db.execute(
        f"SELECT i.id, i.chain, i.subject, i.seq, i.at, {_VALUE}, kind, profile, row, subject.name, room.name AS room, "
        "room.id AS room_id FROM interval i JOIN subject ON subject.id = i.subject JOIN chain ON chain.id = i.chain "
        "JOIN agent ON agent.id = chain.agent JOIN room ON room.id = agent.room "
        "WHERE i.chain = ? AND i.subject = ? AND i.seq = ?",
        (chain, subject, seq),
    ).fetchone()
    return None if row is None else _change(db, row)


def evidence(db: sqlite3.Connection, interval: int) -> tuple[int, dict[str, Any] | None] | None:
    """(room's number, what was seen when an interval began) or None for no such interval. The evidence is None when the
    document of that change never came."""
    row = db.execute(
        "SELECT agent.room, evidence FROM interval JOIN chain ON chain.id = interval.chain JOIN agent ON agent.id = chain.agent "
        "WHERE interval.id = ?",
        (interval,),
    ).fetchone()
    if row is None:
        return None
    return row[0], None if row[1] is None else json.loads(zlib.decompress(row[1]))


def _same(one: Interval, row: sqlite3.Row) -> bool:
    return (one.outcome, one.reason, one.where, one.at_least) == (
        row["outcome"],
        row["reason"],
        row["where_"],
        row["at_least"],
    )


def _made(row: sqlite3.Row, since: int, until: int | None) -> Interval:
    return Interval(id=row["id"], since=since, until=until, **_words(row))


def _interval(one: Interval, until: int | None) -> Interval:
    return Interval(**{name: getattr(one, name) for name in Interval.__struct_fields__ if name != "until"}, until=until)


def _words(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "outcome": row["outcome"],
        "confidence": row["confidence"],
        "reason": row["reason"],
        "where": row["where_"],
        "at_least": row["at_least"],
        "sentence": row["sentence"],
    }


def _change(db: sqlite3.Connection, row: sqlite3.Row) -> Change | None:
    """None for what is no change: the first thing said of a room, or the same as in the chain before."""
    before = db.execute(
        f"SELECT {_VALUE} FROM interval WHERE chain = ? AND subject = ? AND seq < ? ORDER BY seq DESC LIMIT 1",
        (row["chain"], row["subject"], row["seq"]),
    ).fetchone()
    if before is None:
        first = db.execute(
            "SELECT min(first) FROM span WHERE chain = ? AND hash IS NOT NULL", (row["chain"],)
        ).fetchone()[0]
        earlier = db.execute(
            "SELECT chain.id FROM chain JOIN agent ON agent.id = chain.agent WHERE agent.room = ? AND chain.id <> ? "
            "AND chain.top_at <= ? ORDER BY chain.top_at DESC LIMIT 1",
            (row["room_id"], row["chain"], row["at"]),
        ).fetchone()
        if earlier is None and row["seq"] == first:
            return None
        if earlier is not None:
            before = db.execute(
                f"SELECT {_VALUE} FROM interval WHERE chain = ? AND subject = ? AND last = 1",
                (earlier[0], row["subject"]),
            ).fetchone()
    was = None if before is None or before["outcome"] is None else Said(**_words(before))
    now = None if row["outcome"] is None else Said(**_words(row))
    if _key(was) == _key(now):
        return None
    return Change(
        at=row["at"],
        room=row["room"],
        kind=row["kind"],
        profile=row["profile"],
        row=row["row"],
        id=row["name"],
        before=was,
        after=now,
        interval=row["id"],
    )


def _key(said: Said | None) -> tuple[str | None, ...] | None:
    return None if said is None else (said.outcome, said.reason, said.where, said.at_least)
