"""Rooms, boxes, passwords and tokens in the store: what enrolment, login and the sub-commands write. Jobs for the writer.

Every function takes the writing connection and runs inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
import uuid

from roomprobe.collector import tokens
from roomprobe.collector.writer import Refused
from roomprobe.model import Frozen

ADMIN = "admin"
SESSION_MS = 12 * 3600 * 1000
DAY_MS = 86_400_000
MOST_DAYS = 366  # a share link is good for no longer


class Enrolled(Frozen, frozen=True, kw_only=True):
    """What a new box gets: its identity, its room and its bearer token."""

    agent: str
    room: str
    token: str


class Used(Refused):
    """An enrolment token that was used before."""


class Expired(Refused):
    """An enrolment token whose time is over."""


class Nobody(Refused):
    """There is no such thing."""


def note(db: sqlite3.Connection, now: int, who: str, what: str) -> None:
    """A line of the audit trail."""
    db.execute("INSERT INTO audit (at, who, what) VALUES (?, ?, ?)", (now, who[:200], what[:500]))


def room(db: sqlite3.Connection, now: int, name: str, site: str | None = None, org: str | None = None) -> int:
    """The number of the room with this name, made if there is none; site and org are set when given."""
    db.execute("INSERT OR IGNORE INTO room (name, created) VALUES (?, ?)", (name, now))
    number = int(db.execute("SELECT id FROM room WHERE name = ?", (name,)).fetchone()[0])
    db.execute("UPDATE room SET site = coalesce(?, site), org = coalesce(?, org) WHERE id = ?", (site, org, number))
    return number


def mint(
    db: sqlite3.Connection, now: int, name: str, *, minutes: int, site: str | None = None, org: str | None = None
) -> str:
    """A single-use token that enrols one box for a room."""
    made = tokens.token()
    db.execute(
        "INSERT INTO enrolment (hash, room, expires) VALUES (?, ?, ?)",
        (tokens.digest(made), room(db, now, name, site, org), now + minutes * 60_000),
    )
    note(db, now, "command", f"enrolment token for {name}")
    return made


def enrol(db: sqlite3.Connection, now: int, token: str, hostname: str | None) -> Enrolled:
    """Takes an enrolment token and makes an agent. Nobody, Used, Expired."""
    row = db.execute(
        "SELECT room, expires, used, room.name FROM enrolment JOIN room ON room.id = room WHERE hash = ?",
        (tokens.digest(token),),
    ).fetchone()
    if row is None:
        raise Nobody("this enrolment token is not known")
    number, expires, used, name = row
    if used is not None:
        raise Used("this enrolment token was used before")
    if expires <= now:
        raise Expired("this enrolment token is too old")
    db.execute("UPDATE enrolment SET used = ? WHERE hash = ?", (now, tokens.digest(token)))
    made = Enrolled(agent=str(uuid.uuid4()), room=name, token=tokens.token())
    db.execute(
        "INSERT INTO agent (uuid, room, token_hash, enrolled, hostname) VALUES (?, ?, ?, ?, ?)",
        (made.agent, number, tokens.digest(made.token), now, hostname),
    )
    note(db, now, made.agent, f"enrolled for {name}")
    return made


def revoke(db: sqlite3.Connection, now: int, *, room: str | None = None, agent: str | None = None) -> list[str]:
    """Revokes one agent, or all of a room; the ids of those that were good until now. Nobody."""
    rows = db.execute(
        "SELECT agent.id, uuid, revoked FROM agent JOIN room ON room.id = agent.room WHERE uuid = ? OR room.name = ?",
        (agent, room),
    ).fetchall()
    if not rows:
        raise Nobody("no box is enrolled under this name")
    good = [(number, name) for number, name, revoked in rows if revoked is None]
    for number, name in good:
        db.execute("UPDATE agent SET revoked = ? WHERE id = ?", (now, number))
        note(db, now, "command", f"revoked {name}")
    return [name for _, name in good]


def set_password(db: sqlite3.Connection, now: int, stretched: str) -> None:
    """Sets the administrator's password and ends every session."""
    db.execute("INSERT OR REPLACE INTO user (name, password) VALUES (?, ?)", (ADMIN, stretched))
    db.execute("DELETE FROM session")
    note(db, now, "command", "password set")


def open_session(db: sqlite3.Connection, now: int, who: str) -> str:
    """A new session; what comes back goes into the cookie."""
    made = tokens.token()
    db.execute("DELETE FROM session WHERE expires <= ?", (now,))
    db.execute(
        "INSERT INTO session (hash, user, csrf, expires) VALUES (?, ?, ?, ?)",
        (tokens.digest(made), ADMIN, tokens.token(), now + SESSION_MS),
    )
    note(db, now, who, "logged in")
    return made


def close_session(db: sqlite3.Connection, now: int, cookie: str) -> None:
    """Ends a session."""
    db.execute("DELETE FROM session WHERE hash = ?", (tokens.digest(cookie),))
    note(db, now, ADMIN, "logged out")


def share(db: sqlite3.Connection, now: int, *, name: str | None, label: str, days: int) -> tuple[int, str]:
    """A read-only link for one room, or for the fleet: its number and its token. Nobody."""
    number = None
    if name is not None:
        row = db.execute("SELECT id FROM room WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise Nobody("no room has this name")
        number = row[0]
    made = tokens.token()
    key = db.execute(
        "INSERT INTO share (hash, room, label, created, expires) VALUES (?, ?, ?, ?, ?)",
        (tokens.digest(made), number, label, now, now + days * DAY_MS),
    ).lastrowid
    note(db, now, ADMIN, f"share link {key} for {name or 'the fleet'}")
    return int(key or 0), made


def api_token(db: sqlite3.Connection, now: int, label: str) -> tuple[int, str]:
    """A token for programs that read: its number and itself."""
    made = tokens.token()
    key = db.execute(
        "INSERT INTO token (hash, label, created) VALUES (?, ?, ?)", (tokens.digest(made), label, now)
    ).lastrowid
    note(db, now, "command", f"API token {key}")
    return int(key or 0), made


def end(db: sqlite3.Connection, now: int, table: str, number: int) -> None:
    """Revokes a "share" or a "token" by its number. Nobody."""
    if table not in ("share", "token"):
        raise ValueError(table)
    if not db.execute(f"UPDATE {table} SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, number)).rowcount:
        raise Nobody(f"there is no {table} {number} that is still good")
    note(db, now, ADMIN, f"revoked {table} {number}")
