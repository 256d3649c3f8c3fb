"""The first password of a new store: on a terminal it is shown, else it stands in a file of the state directory until it was used.

What a service prints goes into a journal, which is kept and which others read.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from roomprobe.collector import people, tls, tokens
from roomprobe.config import ConfigError
from roomprobe.text import escape

if TYPE_CHECKING:  # the sub-words need no server
    from roomprobe.collector.context import Collector

FILE = "first-password"


async def password(collector: Collector, *, terminal: bool) -> str | None:
    """Sets one when there is none yet; what is to be said of it, else None. ConfigError when its file cannot be written."""
    if await collector.write(is_set):
        return None
    made = tokens.password()
    stretched = await asyncio.to_thread(tokens.stretch, made)
    place = collector.settings.state / FILE
    if not terminal:  # before it counts, so that none counts that nobody can know
        try:
            tls.write(place, f"{made}\n".encode(), 0o600)
        except OSError as error:
            raise ConfigError(f"{escape(str(place))} cannot be written ({error.strerror}).") from None
    await collector.write(people.set_password, collector.now(), stretched)
    if terminal:
        return f"The first password is {made}\nIt is not shown again; `roomprobe collector password` sets another."
    return f"The first password stands in {place} until it was used; `roomprobe collector password` sets another."


def forget(state: Path) -> None:
    """Somebody logged in, or another password was set."""
    (state / FILE).unlink(missing_ok=True)


def is_set(db: sqlite3.Connection) -> bool:
    """Whether there is a password: false before the first start."""
    return db.execute("SELECT 1 FROM user").fetchone() is not None
