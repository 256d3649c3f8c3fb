"""Taking a room away with all that was kept of it: jobs on the store, beside a running collector.

The boxes are shut out first, then what they sent goes bite by bite, and the room itself goes with the last bite. Whatever ends it
between two bites leaves a room without a good box, and the same command again takes away the rest.
"""

from __future__ import annotations

import difflib
import sqlite3

from roomprobe.collector import people
from roomprobe.collector.exporters import feed
from roomprobe.collector.retention import A_BITE
from roomprobe.config import ConfigError
from roomprobe.text import escape

PAUSE_S = 0.2  # between two bites: SQLite lets a writer that waits try again after 0.1 s at most
_HANDED_OUT = ("enrolment", "share")
_AGENTS = "SELECT id FROM agent WHERE room = ?"
_CHAINS = f"SELECT id FROM chain WHERE agent IN ({_AGENTS})"
# What a room's boxes sent: the table, what tells its rows apart, and whose they are. What all rooms share (subjects, series, contents)
# stays: a running collector remembers its numbers.
_SENT = (
    ("aggregate", "agent, bucket, series", f"agent IN ({_AGENTS})"),
    ("run", "chain, seq", f"chain IN ({_CHAINS})"),
    ("document", "id", f"chain IN ({_CHAINS})"),
    ("interval", "id", f"chain IN ({_CHAINS})"),
    ("loss", "id", f"chain IN ({_CHAINS})"),
    ("span", "chain, first", f"chain IN ({_CHAINS})"),
    ("known", "agent, hash", f"agent IN ({_AGENTS})"),
)


def close(db: sqlite3.Connection, now: int, name: str) -> None:
    """Takes nothing more from a room's boxes and ends its links. ConfigError."""
    room = _number(db, name)
    db.execute("UPDATE agent SET revoked = ? WHERE room = ? AND revoked IS NULL", (now, room))
    for table in _HANDED_OUT:
        db.execute(f"DELETE FROM {table} WHERE room = ?", (room,))
    people.note(db, now, "command", f"removing room {name}")


def bite(db: sqlite3.Connection, name: str) -> tuple[int, bool]:
    """One bite of what the room's boxes sent: how many runs were in it, and whether there may be more. ConfigError."""
    room, runs, left = _number(db, name), 0, A_BITE
    for table, key, whose in _SENT:
        went = db.execute(
            f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {whose} LIMIT ?)", (room, left)
        ).rowcount
        runs += went if table == "run" else 0
        left -= went
        if not left:
            break
    return runs, not left


def finish(db: sqlite3.Connection, now: int, name: str, runs: int) -> str:
    """Takes away the room, of which only its boxes' names are left; what was removed, as a sentence. ConfigError."""
    room = _number(db, name)
    chains = [number for (number,) in db.execute(_CHAINS, (room,)).fetchall()]
    boxes = [uuid for (uuid,) in db.execute("SELECT uuid FROM agent WHERE room = ?", (room,)).fetchall()]
    feed.forget(db, room, chains)
    db.execute(f"DELETE FROM chain WHERE agent IN ({_AGENTS})", (room,))
    for table in ("agent", *_HANDED_OUT):
        db.execute(f"DELETE FROM {table} WHERE room = ?", (room,))
    db.execute("DELETE FROM room WHERE id = ?", (room,))
    for box in boxes:
        people.note(db, now, "command", f"removed {box}")
    said = f"room {name} removed: {_counted(len(boxes), 'box', 'boxes')}, {_counted(runs, 'run', 'runs')}"
    people.note(db, now, "command", said)
    return said


def _number(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM room WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise ConfigError(_unknown(db, name))
    return int(row[0])


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _unknown(db: sqlite3.Connection, name: str) -> str:
    known = {room.casefold(): room for (room,) in db.execute("SELECT name FROM room").fetchall()}
    near = [f'"{escape(known[one], 60)}"' for one in difflib.get_close_matches(name.casefold(), known, 3)]
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f'No room has the name "{escape(name, 60)}"{hint}.'
