"""What the pages ask of the store beyond queries.py, history.py and across.py. Pure reads; times in milliseconds."""

from __future__ import annotations

import sqlite3

from roomprobe.collector.across import LIVE, NOW
from roomprobe.collector.pages import words
from roomprobe.collector.queries import room_id
from roomprobe.meets import Meets
from roomprobe.model import Frozen

MOST_SITES = 50


class Site(Frozen, frozen=True, kw_only=True):
    """How a row stands in the rooms of one site (None: rooms without one)."""

    site: str | None
    met: int
    not_met: int
    cannot_tell: int
    silent: int


class Spread(Frozen, frozen=True, kw_only=True):
    """How a row stands in rooms, each counted once by its worst check; `only` is the room when a single one has trouble."""

    met: int
    not_met: int
    cannot_tell: int
    left_out: int
    silent: int
    only: str | None
    sites: tuple[Site, ...]


class Link(Frozen, frozen=True, kw_only=True):
    """A share link; its token is not kept."""

    id: int
    room: str | None
    label: str
    created: int
    expires: int


_WORST = (Meets.LEFT_OUT, Meets.MET, Meets.CANNOT_TELL, Meets.NOT_MET)


def holes(db: sqlite3.Connection, name: str, start: int, now: int, most_ms: int) -> list[tuple[int, int]]:
    """Times longer than `most_ms` without a run, as far back as runs are kept. UnknownRoom."""
    rows = db.execute(
        "SELECT low, high FROM (SELECT at AS low, lead(at, 1, :now) OVER (ORDER BY at) AS high FROM run "
        "WHERE chain IN (SELECT chain.id FROM chain JOIN agent ON agent.id = chain.agent WHERE agent.room = :room)) "
        "WHERE high - low > :most AND high > :start ORDER BY low",
        {"room": room_id(db, name), "now": now, "start": start, "most": most_ms},
    )
    return [(row["low"], row["high"]) for row in rows]


def rows(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Every (profile, row) that any room has had."""
    found = db.execute(
        "SELECT DISTINCT profile, row FROM subject WHERE kind = 'check' ORDER BY profile, row LIMIT 2000"
    )
    return [(row["profile"], row["row"]) for row in found]


def spread(db: sqlite3.Connection, now: int, profile: str, row: str) -> Spread:
    """Is it one room, one site, or everybody?"""
    told: dict[tuple[str, str | None], Meets | None] = {}
    for name, site, silent, outcome, reason in db.execute(
        f"{LIVE} SELECT room, site, silent, i.outcome, i.reason {NOW} GROUP BY i.chain, i.outcome, i.reason",
        {"now": now, "profile": profile, "row": row},
    ):
        before = told.get((name, site), Meets.LEFT_OUT)
        said = None if silent else words.counts(outcome, reason)
        told[name, site] = None if said is None or before is None else max(before, said, key=_WORST.index)
    sites: dict[str | None, dict[Meets | None, int]] = {}
    for (_, site), said in told.items():
        sites.setdefault(site, {}).setdefault(said, 0)
        sites[site][said] += 1
    total: dict[Meets | None, int] = {}
    for counts in sites.values():
        for said, number in counts.items():
            total[said] = total.get(said, 0) + number
    bad = [name for (name, _), said in told.items() if said is Meets.NOT_MET]
    listed = sorted(sites.items(), key=lambda one: (-one[1].get(Meets.NOT_MET, 0), one[0] or ""))
    return Spread(
        **_numbers(total),
        left_out=total.get(Meets.LEFT_OUT, 0),
        only=bad[0] if len(bad) == 1 else None,
        sites=tuple(Site(site=site, **_numbers(counts)) for site, counts in listed[:MOST_SITES]),
    )


def _numbers(counts: dict[Meets | None, int]) -> dict[str, int]:
    return {
        "met": counts.get(Meets.MET, 0),
        "not_met": counts.get(Meets.NOT_MET, 0),
        "cannot_tell": counts.get(Meets.CANNOT_TELL, 0),
        "silent": counts.get(None, 0),
    }


def links(db: sqlite3.Connection, now: int) -> list[Link]:
    """The share links that are still good, the newest first."""
    found = db.execute(
        "SELECT share.id, room.name AS room, label, share.created, expires FROM share LEFT JOIN room ON room.id = share.room "
        "WHERE expires > ? AND revoked IS NULL ORDER BY share.id DESC LIMIT 200",
        (now,),
    )
    return [Link(**dict(row)) for row in found]


def room_name(db: sqlite3.Connection, number: int) -> str | None:
    """A room's name by its number."""
    row = db.execute("SELECT name FROM room WHERE id = ?", (number,)).fetchone()
    return None if row is None else str(row[0])
