"""Three clocks, and what a difference between them tells: this box was asleep, or somebody set its clock."""

from __future__ import annotations

import time

from roomprobe.model import Frozen

NOTICEABLE_S = 2.0


class Reading(Frozen, frozen=True, kw_only=True):
    """Seconds: `monotonic` stops in suspend, `boottime` does not, `wall` can be set to anything."""

    monotonic: float
    boottime: float
    wall: float


def read() -> Reading:
    """The clocks now."""
    return Reading(monotonic=time.monotonic(), boottime=time.clock_gettime(time.CLOCK_BOOTTIME), wall=time.time())


def noticed(before: Reading, now: Reading) -> tuple[str, ...]:
    """What happened between two readings, as sentences for the report. Pure."""
    asleep = (now.boottime - before.boottime) - (now.monotonic - before.monotonic)
    stepped = (now.wall - before.wall) - (now.boottime - before.boottime)
    found = []
    if asleep > NOTICEABLE_S:
        found.append(f"This box was suspended for {asleep:.0f} s before this run.")
    if abs(stepped) > NOTICEABLE_S:
        way = "forward" if stepped > 0 else "back"
        found.append(f"The clock of this box was set {way} by {abs(stepped):.0f} s before this run.")
    return tuple(found)
