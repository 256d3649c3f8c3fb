"""A row of the feed as the value that all exporters tell of: what changed where, or which run came. Reads of the store.

The id of an event is made from what it is about: the same event told twice has the same id.
"""

from __future__ import annotations

import datetime
import hashlib
import sqlite3
import uuid
from collections.abc import Iterable
from typing import Any

from roomprobe.collector import history
from roomprobe.collector.exporters.feed import Row
from roomprobe.collector.views import Said
from roomprobe.model import Frozen


class Event(Frozen, frozen=True, kw_only=True):
    """`kind`: service, check, room (silent, heard), run, loss. `current`: nothing later is known of the same thing.

    `at` milliseconds since 1970. `facts` are those of a run or a loss record.
    """

    id: str
    kind: str
    at: int
    room: str
    site: str | None
    org: str | None
    agent: str | None = None
    profile: str | None = None
    row: str | None = None
    name: str | None = None
    before: Said | None = None
    after: Said | None = None
    current: bool = True
    facts: dict[str, Any] | None = None


def events(db: sqlite3.Connection, rows: Iterable[Row]) -> list[Event]:
    """The events behind these rows; rows whose matter is gone, or changed nothing, have none."""
    found = (_MAKE[kind](db, place, seq, subject) for _, kind, place, seq, subject in rows)
    return [event for event in found if event is not None]


def as_json(event: Event) -> dict[str, Any]:
    """As it stands in a file and in a delivery (exporters/event.schema.json)."""
    common: dict[str, Any] = {
        "id": event.id,
        "kind": event.kind,
        "at": stamp(event.at),
        "room": event.room,
        "site": event.site,
        "org": event.org,
        "agent": event.agent,
    }
    if event.facts is not None:
        return common | event.facts
    return common | {
        "profile": event.profile,
        "row": event.row,
        "name": event.name,
        "before": _said(event.before),
        "after": _said(event.after),
    }


def stamp(at: int) -> str:
    """Milliseconds since 1970 as RFC 3339."""
    moment = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"


def key(event: Event) -> tuple[object, ...]:
    """What must differ for an event to be worth telling again."""
    after = event.after
    return (
        event.id,
        None if after is None else (after.outcome, after.reason, after.where, after.at_least, after.sentence),
    )


def _said(said: Said | None) -> dict[str, Any] | None:
    return None if said is None else {name: getattr(said, name) for name in Said.__struct_fields__}


def _interval(db: sqlite3.Connection, chain: int, seq: int, subject: int | None) -> Event | None:
    change = history.change(db, chain, subject or 0, seq)
    if change is None:
        return None
    where = _of_chain(db, chain)
    last = db.execute(
        "SELECT last FROM interval WHERE chain = ? AND subject = ? AND seq = ?", (chain, subject, seq)
    ).fetchone()[0]
    return Event(
        id=_id(where["uuid"], where["epoch"].hex(), seq, change.kind, change.profile, change.row, change.id),
        kind=change.kind,
        at=change.at,
        **_place(where),
        profile=change.profile,
        row=change.row or None,
        name=change.id,
        before=change.before,
        after=change.after,
        current=bool(last) and bool(where["shown"]),
    )


def _run(db: sqlite3.Connection, chain: int, seq: int, _: int | None) -> Event | None:
    row = db.execute(
        "SELECT id, at, started, received, full, trigger_, duration_ms FROM run WHERE chain = ? AND seq = ?",
        (chain, seq),
    ).fetchone()
    if row is None:
        return None
    where = _of_chain(db, chain)
    hash_ = db.execute(
        "SELECT hash FROM span WHERE chain = ? AND first <= ? ORDER BY first DESC LIMIT 1", (chain, seq)
    ).fetchone()
    facts = {
        "run": str(uuid.UUID(bytes=row["id"])),
        "epoch": where["epoch"].hex(),
        "seq": seq,
        "started": stamp(row["started"]),
        "received": stamp(row["received"]),
        "full": bool(row["full"]),
        "hash": hash_["hash"].hex() if hash_ and hash_["hash"] else None,
        "trigger": row["trigger_"],
        "duration_s": row["duration_ms"] / 1000,
    }
    return Event(id=_id(facts["run"]), kind="run", at=row["at"], **_place(where), facts=facts)


def _loss(db: sqlite3.Connection, chain: int, seq: int, _: int | None) -> Event | None:
    row = db.execute(
        "SELECT first, last, count, since, until, reason, received FROM loss WHERE chain = ? AND seq = ?", (chain, seq)
    ).fetchone()
    if row is None:
        return None
    where = _of_chain(db, chain)
    facts = {"epoch": where["epoch"].hex(), "seq": seq} | {name: row[name] for name in row.keys() if name != "received"}
    name = _id(where["uuid"], facts["epoch"], seq, "loss", row["count"])
    return Event(id=name, kind="loss", at=row["received"], **_place(where), facts=facts)


def _silence(word: str) -> Any:
    def made(db: sqlite3.Connection, room: int, at: int, _: int | None) -> Event | None:
        row = db.execute(
            "SELECT room.name, site, org, uuid, last_seen FROM room LEFT JOIN agent ON agent.id = room.agent WHERE room.id = ?",
            (room,),
        ).fetchone()
        if row is None:
            return None
        since = "" if row["last_seen"] is None else f" since {stamp(row['last_seen'])}"
        text = f"Nothing was heard of its box{since}." if word == "silent" else "Its box is heard again."
        before = Said(outcome="heard" if word == "silent" else "silent", **_NOTHING, sentence=None)
        after = Said(outcome=word, **_NOTHING, sentence=text)
        return Event(
            id=_id("room", room, word, at), kind="room", at=at, room=row["name"], site=row["site"], org=row["org"],
            agent=row["uuid"], name=row["name"], before=before, after=after,
        )  # fmt: skip

    return made


_NOTHING: dict[str, Any] = {"confidence": None, "reason": None, "where": None, "at_least": None}
_MAKE = {"interval": _interval, "run": _run, "loss": _loss, "silent": _silence("silent"), "heard": _silence("heard")}


def _of_chain(db: sqlite3.Connection, chain: int) -> sqlite3.Row:
    row: sqlite3.Row = db.execute(
        "SELECT room.name, room.site, room.org, agent.uuid, epoch, room.agent = agent.id AND agent.chain = chain.id AS shown "
        "FROM chain JOIN agent ON agent.id = chain.agent JOIN room ON room.id = agent.room WHERE chain.id = ?",
        (chain,),
    ).fetchone()
    return row


def _place(row: sqlite3.Row) -> dict[str, Any]:
    return {"room": row["name"], "site": row["site"], "org": row["org"], "agent": row["uuid"]}


def _id(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]
