"""One row across all rooms: is it one room, or the whole company? Reads of the store, beside queries.py."""

from __future__ import annotations

import sqlite3

from roomprobe.collector.queries import MOST_PAGE, PAGE, SILENT, since
from roomprobe.collector.views import Across, AcrossRooms

# As the fleet is sorted: what is in trouble before what is silent or untold, what works last.
_BAD = ("filtered", "rejected", "intercepted", "closed", "no-target", "refused", "fault", "unanswered")
# The rooms, each once, by the chain that its newest runs are of.
LIVE = (
    "WITH live AS MATERIALIZED (SELECT agent.chain, room.id AS room_id, room.name AS room, room.site, "
    f"{SILENT} AS silent FROM room JOIN agent ON agent.id = room.agent)"
)
NOW = (
    "FROM subject CROSS JOIN interval i ON i.subject = subject.id AND i.last = 1 JOIN live ON live.chain = i.chain "
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
    counts: dict[str, int] = {}
    for silent, outcome, number in db.execute(
        f"{LIVE} SELECT silent, i.outcome, count(*) {NOW} GROUP BY silent, i.outcome", values
    ):
        word = "silent" if silent else outcome
        counts[word] = counts.get(word, 0) + number
    size = max(1, min(size, MOST_PAGE))
    order = " ".join(f"WHEN '{outcome}' THEN {number}" for number, outcome in enumerate(_BAD))
    # First which of them, from the index alone, then what these few say.
    rows = db.execute(
        f"{LIVE} SELECT i.*, page.name, page.room_id, page.room, page.site, page.silent FROM ("
        f"SELECT i.id, subject.name, room_id, room, site, silent, "
        f"CASE WHEN silent THEN 90 ELSE CASE i.outcome {order} ELSE 95 END END AS worst {NOW} "
        "ORDER BY worst, room, subject.name LIMIT :size OFFSET :skip) page JOIN interval i ON i.id = page.id "
        "ORDER BY page.worst, page.room, page.name",
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
