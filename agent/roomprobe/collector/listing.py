"""What was handed out, as the sub-words list it: a line each, the newest first. Reads of the store."""

from __future__ import annotations

import datetime
import sqlite3

from roomprobe.collector import ledger


def listed(db: sqlite3.Connection, now: int, table: str) -> list[str]:
    """The lines for every "share" or "token"."""
    db.row_factory = sqlite3.Row
    lines = []
    for one in ledger.shares(db) if table == "share" else ledger.api_tokens(db):
        parts = [str(one.id), one.label]
        if one.expires is None:
            parts.append(f"made {_time(one.created)}")
        else:
            parts += [one.room or "all rooms", f"until {_time(one.expires)}"]
        if one.revoked is not None:
            parts.append("(revoked)")
        elif one.expires is not None and one.expires <= now:
            parts.append("(over)")
        lines.append("  ".join(parts))
    return lines


def _time(at: int) -> str:
    return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
