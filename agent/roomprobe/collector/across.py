"""One row across all rooms: is it one room, or the whole company? Reads of the store, beside queries.py."""

from __future__ import annotations

import sqlite3

from roomprobe.collector.queries import MOST_PAGE, PAGE, SILENT, since
from roomprobe.collector.views import Across, AcrossRooms

# As the fleet is sorted: what is in trouble before what is silent or untold, what works last.
_BAD = ("filtered", "rejected", "intercepted", "closed", "no-target", "refused", "fault", "unanswered")
_NOW = (
    "FROM subject CROSS JOIN interval i ON i.subject = subject.id AND i.last = 1 JOIN chain ON chain.id = i.chain "
    "JOIN agent ON agent.chain = chain.id JOIN room ON room.agent = agent.id "
    "WHERE kind = 'check' AND subject.profile = :profile AND subject.row = :row AND i.outcome IS NOT NULL"
)


def check_across(
    db: sqlite3.Connection, now: int, profile: str, row: str, *, page: int = 1, size: int = PAGE
) -> AcrossRooms | None:
    """What every room's newest runs say of a row, trouble first; None when no room has ever had it."""
    values = {"now": now, "profile": profile, "row": row}
    known = db.execute(
        "SELECT 1 FROM subject WHERE kind = 'check' AND profile = :profile AND row = :row", values
    ).fetchone()
    if known is None:
        return None
    counts = dict(
        db.execute(
            f"SELECT CASE WHEN {SILENT} THEN 'silent' ELSE i.outcome END, count(*) {_NOW} GROUP BY 1", values
        ).fetchall()
    )
    size = max(1, min(size, MOST_PAGE))
    order = " ".join(f"WHEN '{outcome}' THEN {number}" for number, outcome in enumerate(_BAD))
    rows = db.execute(
        f"SELECT i.id, i.chain, i.subject, i.seq, i.outcome, i.confidence, i.reason, i.where_, i.sentence, subject.name, "
        f"room.id AS room_id, room.name AS room, room.site, {SILENT} AS silent {_NOW} "
        f"ORDER BY CASE WHEN {SILENT} THEN 90 ELSE CASE i.outcome {order} ELSE 95 END END, room.name, subject.name "
        "LIMIT :size OFFSET :skip",
        values | {"size": size, "skip": (max(page, 1) - 1) * size},
    ).fetchall()
    total = sum(counts.values())
    return AcrossRooms(
        profile=profile,
        row=row,
        counts=counts,
        rooms=tuple(
            Across(
                room=one["room"],
                site=one["site"],
                silent=bool(one["silent"]),
                check=one["name"],
                outcome=one["outcome"],
                confidence=one["confidence"],
                reason=one["reason"],
                where=one["where_"],
                sentence=one["sentence"],
                since=since(db, one["room_id"], one["chain"], one["subject"], one["seq"]),
                interval=one["id"],
            )
            for one in rows
        ),
        total=total,
        page=max(page, 1),
        pages=max(1, -(-total // size)),
    )
