"""What was handed out and who did what: reads of the store for the administrator's own pages."""

from __future__ import annotations

import sqlite3

from roomprobe.collector.views import Given, Note


def shares(db: sqlite3.Connection) -> list[Given]:
    """Every share link, the newest first, those that are over too."""
    rows = db.execute(
        "SELECT share.id, label, room.name AS room, share.created, expires, revoked FROM share "
        "LEFT JOIN room ON room.id = share.room ORDER BY share.id DESC"
    )
    return [Given(**dict(row)) for row in rows]


def api_tokens(db: sqlite3.Connection) -> list[Given]:
    """Every API token, the newest first, revoked ones too."""
    rows = db.execute("SELECT id, label, NULL AS room, created, NULL AS expires, revoked FROM token ORDER BY id DESC")
    return [Given(**dict(row)) for row in rows]


def audit(db: sqlite3.Connection, limit: int = 200) -> list[Note]:
    """The audit trail, the newest first."""
    rows = db.execute("SELECT at, who, what FROM audit ORDER BY id DESC LIMIT ?", (max(1, min(limit, 1000)),))
    return [Note(**dict(row)) for row in rows]
