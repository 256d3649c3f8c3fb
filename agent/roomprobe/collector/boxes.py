"""The boxes of a room: who they are, which of their numbers came, what they say was lost. Reads of the store, beside queries.py."""

from __future__ import annotations

import sqlite3
from typing import Any

from roomprobe.collector.views import Agent, Gap, Loss


class UnknownRoom(LookupError):
    """No room has this name."""


def room_id(db: sqlite3.Connection, name: str) -> int:
    """A room's number. UnknownRoom."""
    row = db.execute("SELECT id FROM room WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise UnknownRoom(name)
    return int(row[0])


def agents(db: sqlite3.Connection, name: str) -> list[Agent]:
    """The boxes of a room, the newest first."""
    rows = db.execute(
        "SELECT uuid AS agent, hostname, enrolled, revoked, last_seen, chain.version FROM agent "
        "LEFT JOIN chain ON chain.id = agent.chain WHERE agent.room = ? ORDER BY agent.id DESC",
        (room_id(db, name),),
    )
    return [Agent(**dict(row)) for row in rows]


def losses(db: sqlite3.Connection, name: str, limit: int = 100) -> list[Loss]:
    """The loss records of a room, the newest first."""
    rows = db.execute(
        "SELECT uuid AS agent, lower(hex(epoch)) AS epoch, seq, lower(hex(of)) AS of, first, last, count, since, until, reason, "
        "received FROM loss JOIN chain ON chain.id = loss.chain JOIN agent ON agent.id = chain.agent "
        "WHERE agent.room = ? ORDER BY loss.id DESC LIMIT ?",
        (room_id(db, name), limit),
    )
    return [Loss(**{**dict(row), "of": row["of"] or None}) for row in rows]


def gaps(db: sqlite3.Connection, name: str, limit: int = 100) -> list[Gap]:
    """Numbers that did not come, between those that did (and before the first), the newest first."""
    rows = db.execute(
        "SELECT * FROM (SELECT span.chain, uuid, epoch, lag(last, 1, -1) OVER (PARTITION BY span.chain ORDER BY first) + 1 AS low, "
        "first - 1 AS high FROM agent JOIN chain ON chain.agent = agent.id JOIN span ON span.chain = chain.id "
        "WHERE agent.room = ?) WHERE low <= high ORDER BY chain DESC, low DESC LIMIT ?",
        (room_id(db, name), limit),
    ).fetchall()
    return [
        Gap(
            agent=row["uuid"],
            epoch=row["epoch"].hex(),
            first=row["low"],
            last=row["high"],
            explained=_explained(db, row["uuid"], row["epoch"], row["low"], row["high"]),
        )
        for row in rows
    ]


def _explained(db: sqlite3.Connection, agent: str, epoch: bytes, low: int, high: int) -> bool:
    rows: list[Any] = db.execute(
        "SELECT loss.first, coalesce(loss.last, 1 << 62) FROM loss JOIN chain ON chain.id = loss.chain "
        "JOIN agent ON agent.id = chain.agent WHERE agent.uuid = ? AND coalesce(of, epoch) = ? AND loss.first IS NOT NULL "
        "AND loss.first <= ? ORDER BY loss.first",
        (agent, epoch, high),
    ).fetchall()
    for first, last in rows:
        if first <= low <= last:
            low = last + 1
    return low > high
