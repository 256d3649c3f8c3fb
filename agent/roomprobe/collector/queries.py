"""What the fleet looks like: pure reads of the store, for the API and the dashboard. Values are in views.py.

Every function takes a reading connection (database.open_to_read) first and times in milliseconds; none ever writes. History stands
in history.py, the row across all rooms in across.py.
"""

from __future__ import annotations

import sqlite3
import uuid

from roomprobe.collector.boxes import UnknownRoom as UnknownRoom
from roomprobe.collector.boxes import agents as agents
from roomprobe.collector.boxes import gaps as gaps
from roomprobe.collector.boxes import losses as losses
from roomprobe.collector.boxes import room_id as room_id
from roomprobe.collector.prepare import unpack
from roomprobe.collector.views import Document, Room, RoomPage, Rooms, Run, Service, Summary

PAGE = 100
MOST_PAGE = 500
SILENT_AFTER = 3  # times the agent's own interval
STATES = ("broken", "silent", "degraded", "unknown", "full")
_BY_RANK = {3: "broken", 2: "degraded", 1: "unknown", 0: "full", -1: "unknown"}

FLEET = "FROM room LEFT JOIN agent ON agent.id = room.agent LEFT JOIN chain ON chain.id = agent.chain"
# Seen in the future: the collector's own clock was set back, so nothing is known of now until the box is heard again.
SILENT = (
    "(agent.last_seen IS NULL OR agent.revoked IS NOT NULL OR agent.last_seen > :now + 300000 "
    f"OR agent.last_seen < :now - {SILENT_AFTER} * agent.every_ms)"
)
_STATE = f"CASE WHEN {SILENT} THEN {{silent}} ELSE {{else_}} END"
STATE = _STATE.format(
    silent="'silent'",
    else_="CASE agent.rank WHEN 3 THEN 'broken' WHEN 2 THEN 'degraded' WHEN 0 THEN 'full' ELSE 'unknown' END",
)
# A broken room first, then one that nothing is known of, then the rest by how bad they are.
_WORST = _STATE.format(silent="25", else_="CASE WHEN agent.rank < 0 THEN 10 ELSE agent.rank * 10 END")


def fleet(
    db: sqlite3.Connection,
    now: int,
    *,
    q: str | None = None,
    state: str | None = None,
    silent: bool | None = None,
    site: str | None = None,
    page: int = 1,
    size: int = PAGE,
) -> Rooms:
    """A page of rooms, the worst first. `q` is a part of the name, site or organisation; `state` one of STATES."""
    filters, values = ["1"], {"now": now, "q": f"%{_like(q or '')}%", "state": state, "site": site}
    if q:
        filters.append(
            "(room.name LIKE :q ESCAPE '\\' OR room.site LIKE :q ESCAPE '\\' OR room.org LIKE :q ESCAPE '\\')"
        )
    if state:
        filters.append(f"{STATE} = :state")
    if silent is not None:
        filters.append(SILENT if silent else f"NOT {SILENT}")
    if site:
        filters.append("room.site = :site")
    where = " AND ".join(filters)
    total = int(db.execute(f"SELECT count(*) {FLEET} WHERE {where}", values).fetchone()[0])
    size = max(1, min(size, MOST_PAGE))
    values |= {"size": size, "skip": (max(page, 1) - 1) * size}
    rows = db.execute(
        f"{_ROOM} WHERE {where} ORDER BY {_WORST} DESC, room.name LIMIT :size OFFSET :skip", values
    ).fetchall()
    return Rooms(
        rooms=tuple(_room(db, row) for row in rows), total=total, page=max(page, 1), pages=max(1, -(-total // size))
    )


def summary(db: sqlite3.Connection, now: int) -> Summary:
    """How many rooms are in which state."""
    counts = dict(db.execute(f"SELECT {STATE} AS state, count(*) {FLEET} GROUP BY 1", {"now": now}).fetchall())
    return Summary(total=sum(counts.values()), **{name: counts.get(name, 0) for name in STATES})


def room(db: sqlite3.Connection, now: int, name: str) -> RoomPage:
    """Everything of one room. UnknownRoom."""
    row = db.execute(f"{_ROOM} WHERE room.name = :name", {"now": now, "name": name}).fetchone()
    if row is None:
        raise UnknownRoom(name)
    newest = db.execute(
        "SELECT body, run.id, run.at FROM agent JOIN chain ON chain.id = agent.chain "
        "JOIN document ON document.chain = chain.id AND document.seq = chain.doc "
        "LEFT JOIN run ON run.chain = chain.id AND run.seq = chain.doc WHERE agent.id = ?",
        (row["agent_id"],),
    ).fetchone()
    return RoomPage(
        now=_room(db, row),
        agents=tuple(agents(db, name)),
        gaps=tuple(gaps(db, name)),
        losses=tuple(losses(db, name)),
        document=unpack(newest["body"]) if newest else None,
        document_run=str(uuid.UUID(bytes=newest["id"])) if newest and newest["id"] else None,
        document_at=newest["at"] if newest else None,
    )


def runs(db: sqlite3.Connection, name: str, *, limit: int = PAGE, before: tuple[int, int] | None = None) -> list[Run]:
    """The stored runs of a room, the newest first; `before` goes on from the (at, seq) of the last one."""
    rows = db.execute(
        f"{_RUN} WHERE chain.agent IN (SELECT id FROM agent WHERE room = ?) AND (run.at, run.seq) < (?, ?) "
        "ORDER BY run.at DESC, run.seq DESC LIMIT ?",
        (room_id(db, name), *(before or (1 << 62, 0)), max(1, min(limit, MOST_PAGE))),
    )
    return [_run(row) for row in rows]


def document(db: sqlite3.Connection, run: str) -> Document | None:
    """The report behind a run, while it is kept; None when there is no such run (any more)."""
    try:
        row = db.execute(f"{_RUN} WHERE run.id = ?", (uuid.UUID(run).bytes,)).fetchone()
    except ValueError:
        return None
    if row is None:
        return None
    body = db.execute(
        "SELECT seq, body FROM document WHERE chain = :chain AND seq = coalesce("
        "(SELECT seq FROM document WHERE chain = :chain AND seq = :seq), "
        "(SELECT doc FROM span WHERE chain = :chain AND first <= :seq ORDER BY first DESC LIMIT 1))",
        {"chain": row["chain"], "seq": row["seq"]},
    ).fetchone()
    own = body is not None and body["seq"] == row["seq"]
    return Document(run=_run(row), own=own, document=unpack(body["body"]) if body else None)


def room_of_run(db: sqlite3.Connection, run: str) -> int | None:
    """The number of the room that a run belongs to."""
    try:
        number = uuid.UUID(run).bytes
    except ValueError:
        return None
    row = db.execute(
        "SELECT agent.room FROM run JOIN chain ON chain.id = run.chain JOIN agent ON agent.id = chain.agent WHERE run.id = ?",
        (number,),
    ).fetchone()
    return None if row is None else int(row[0])


def counters(db: sqlite3.Connection) -> dict[str, int]:
    """The counters that last over a restart."""
    return dict(db.execute("SELECT name, value FROM counter ORDER BY name").fetchall())


def since(db: sqlite3.Connection, room: int, chain: int, subject: int, seq: int) -> int:
    """When what an interval says began to be said: over changes of spool and box, as long as the same was said before."""
    key = (chain, subject, seq)
    at = int(db.execute("SELECT max(at) FROM interval WHERE chain = ? AND subject = ? AND seq <= ?", key).fetchone()[0])
    for _ in range(20):
        earlier = db.execute(
            "SELECT 1 FROM interval WHERE chain = ? AND subject = ? AND seq < ? LIMIT 1", (chain, subject, seq)
        ).fetchone()
        if earlier is not None:
            break
        row = db.execute(
            # CROSS JOIN keeps this order: the few chains of the room, never all rooms that say something of the subject.
            "SELECT old.chain, old.seq, old.at FROM interval now CROSS JOIN agent ON agent.room = ? "
            "CROSS JOIN chain ON chain.agent = agent.id AND chain.id <> now.chain "
            "CROSS JOIN interval old ON old.chain = chain.id AND old.subject = now.subject AND old.last = 1 "
            "WHERE now.chain = ? AND now.subject = ? AND now.seq = ? AND chain.top_at <= ? AND old.at <= now.at "
            "AND old.outcome IS now.outcome AND old.reason IS now.reason AND old.where_ IS now.where_ "
            "AND old.at_least IS now.at_least "
            "AND chain.top_at = (SELECT max(top_at) FROM chain c JOIN agent a ON a.id = c.agent "
            "WHERE a.room = ? AND c.id <> now.chain AND c.top_at <= ?) LIMIT 1",
            (room, chain, subject, seq, at, room, at),
        ).fetchone()
        if row is None:
            break
        chain, seq, at = row[0], row[1], min(at, row[2])
    return at


_ROOM = (
    f"SELECT room.id AS id, room.name, room.site, room.org, agent.id AS agent_id, agent.uuid, agent.last_seen, "
    f"coalesce(agent.every_ms, 300000) AS every_ms, agent.chain, chain.version, {STATE} AS state, {SILENT} AS silent, "
    f"agent.rank {FLEET}"
)
_RUN = (
    "SELECT run.chain, run.id, run.seq, at, started, received, full, trigger_, duration_ms, agent.uuid, epoch "
    "FROM run JOIN chain ON chain.id = run.chain JOIN agent ON agent.id = chain.agent"
)


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _room(db: sqlite3.Connection, row: sqlite3.Row) -> Room:
    services = _services(db, row["id"], row["chain"])
    worst = [service.since for service in services if service.state == _BY_RANK.get(row["rank"])]
    return Room(
        room=row["name"],
        site=row["site"],
        org=row["org"],
        state=row["state"],
        silent=row["state"] == "silent",
        since=row["last_seen"] if row["state"] == "silent" else min(worst, default=None),
        last_seen=row["last_seen"],
        every_ms=row["every_ms"],
        agent=row["uuid"],
        version=row["version"],
        services=services,
    )


def _services(db: sqlite3.Connection, room: int, chain: int | None) -> tuple[Service, ...]:
    rows = db.execute(
        "SELECT interval.id, subject, seq, profile, name, outcome, at_least, reason, where_, confidence, sentence FROM interval "
        "JOIN subject ON subject.id = subject WHERE chain = ? AND last = 1 AND kind = 'service' AND outcome IS NOT NULL "
        "ORDER BY profile, subject",
        (chain,),
    ).fetchall()
    return tuple(
        Service(
            profile=row["profile"],
            id=row["name"],
            state=row["outcome"],
            at_least=row["at_least"],
            reason=row["reason"],
            where=row["where_"],
            confidence=row["confidence"],
            sentence=row["sentence"],
            since=since(db, room, chain or 0, row["subject"], row["seq"]),
            interval=row["id"],
        )
        for row in rows
    )


def _run(row: sqlite3.Row) -> Run:
    return Run(
        run=str(uuid.UUID(bytes=row["id"])),
        agent=row["uuid"],
        epoch=row["epoch"].hex(),
        seq=row["seq"],
        at=row["at"],
        started=row["started"],
        received=row["received"],
        full=bool(row["full"]),
        trigger=row["trigger_"],
        duration_ms=row["duration_ms"],
    )
