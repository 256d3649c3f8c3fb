"""Whether the collector's own clock is to be believed: nothing is thrown away by a clock that has just been set forward.

Days later it is believed after all: the step may have set a wrong clock right, or the collector was off for so long.
"""

from __future__ import annotations

import logging
import sqlite3

import msgspec

from roomprobe.model import Frozen

DAY_MS = 86_400_000
BELIEVED_AFTER_MS = 3 * DAY_MS  # longer than a weekend without anybody
_NAME = "clock"


class Looked(Frozen, frozen=True, kw_only=True):
    """The clock at the last look, and by how much it is ahead of what can have passed, `since` when by itself; 0: it is believed.

    `seen`: this process saw the step itself, so it is one of the clock and no time in which nobody looked. Milliseconds.
    """

    at: int
    ahead: int = 0
    since: int = 0
    seen: bool = False


def look(before: Looked | None, now: int, passed: int | None) -> Looked:
    """The next look; `passed` since the last one by a clock that nobody sets, None when that is not known. Pure."""
    if before is None:
        return Looked(at=now)
    step = now - before.at - (passed or 0)
    step = step if abs(step) > DAY_MS else 0
    ahead, since = before.ahead + step, now if step > 0 else before.since + step
    if ahead <= DAY_MS or now - since >= BELIEVED_AFTER_MS:
        return Looked(at=now)
    return Looked(at=now, ahead=ahead, since=since, seen=before.seen or (step > 0 and passed is not None))


class Clock:
    """The looks of one process; the store remembers them for the next one."""

    def __init__(self, db: sqlite3.Connection) -> None:
        row = db.execute("SELECT value FROM meta WHERE name = ?", (_NAME,)).fetchone()
        self._last = (
            None if row is None else msgspec.structs.replace(msgspec.json.decode(row[0], type=Looked), seen=False)
        )
        self._mono: float | None = None

    def look(self, now: int, mono: float) -> Looked:
        """The clock's `now` in milliseconds, beside the monotonic seconds."""
        passed = None if self._mono is None else round((mono - self._mono) * 1000)
        found = look(self._last, now, passed)
        self._tell(found)
        self._last, self._mono = found, mono
        return found

    def _tell(self, found: Looked) -> None:
        before = 0 if self._last is None else self._last.ahead
        if bool(found.ahead) != bool(before):
            days = (found.ahead or before) / DAY_MS
            logging.getLogger("roomprobe").warning(
                f"the clock is {days:.0f} days ahead of where it was; for three days nothing is let go for its age"
                if found.ahead
                else f"the clock that was {days:.0f} days ahead is believed again; what is too old is let go"
            )


def remember(db: sqlite3.Connection, looked: Looked) -> None:
    """Writes a look down. A job of the writer."""
    text = msgspec.json.encode(looked).decode()
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (_NAME, text))
