"""When which rows are asked: full sweeps, quick checks, confirm sweeps, sweeps after a change of the network. Pure.

Time is an argument: seconds on a clock that never steps and goes on in suspend (CLOCK_BOOTTIME); wall time plays no part.
The policy is written down in docs/daemon.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Literal

from roomprobe.model import Check, Frozen, Plan

Kind = Literal["full", "quick", "confirm", "network"]

SETTLE_S = 2.0  # after a change of the network, until its addresses and routes stand
AGAIN_S = 10.0  # between two sweeps for changes of the network
MOST_REMEMBERED = 4096


def key(check: Check) -> str:
    """What the interval of a row counts for: the same before and after its name is resolved. A resolver counts by itself."""
    at = (check.address or "*") if check.kind == "dns" else check.via
    return "/".join(
        str(part or "*") for part in (check.profile, check.row, check.host, at, check.transport, check.port)
    )


def period(full_s: float, jitter: float, agent: str) -> float:
    """Seconds between two full sweeps of this agent: from `full_s` to `full_s` x (1 + `jitter`), by a hash of its id."""
    draw = int.from_bytes(hashlib.sha256(agent.encode()).digest()[:8], "big") / 2**64
    return full_s * (1 + jitter * draw)


class Sweep(Frozen, frozen=True, kw_only=True):
    """A sweep that is due. `rows` are the keys that it may ask; None: every one of the plan."""

    kind: Kind
    rows: frozenset[str] | None = None


class Asked(Frozen, frozen=True, kw_only=True):
    """When a row was last asked, and the interval that held then (seconds)."""

    at: float
    interval_s: float


class Schedule:
    """The times of one daemon. The first full sweep is due at once."""

    def __init__(self, full_s: float, quick_s: float, now: float, asked: Mapping[str, Asked] | None = None) -> None:
        self.full_s, self.quick_s = full_s, quick_s
        self.asked: dict[str, Asked] = dict(asked or {})
        self._full_at = now
        self._quick_from = now + quick_s
        self._confirm_from = now
        self._network_at = math.inf
        self._network_last = -math.inf
        self._quick: dict[str, float] = {}
        self._doubted: dict[str, float] = {}
        self._nowhere: frozenset[str] = frozenset()
        self.running: Sweep | None = None

    def change(self, full_s: float, quick_s: float, now: float) -> None:
        """A new configuration: a full sweep at once, of the rows that are due."""
        self.full_s, self.quick_s, self._full_at = full_s, quick_s, now

    def due(self, row: str, interval_s: float, now: float) -> bool:
        """Whether a row may be asked now."""
        return now >= self._free_at(row, interval_s)

    def network_changed(self, now: float) -> None:
        """Link, address or default route changed: a sweep soon, but not one after the other."""
        wanted = max(now + SETTLE_S, self._network_last + AGAIN_S)
        self._network_at = min(self._network_at, wanted)

    def next(self, now: float) -> Sweep | None:
        """The sweep that is due now, the most thorough first. None while one is running."""
        if self.running is not None:
            return None
        if now >= self._full_at:
            return Sweep(kind="full")
        if now >= self._network_at:
            return Sweep(kind="network")
        if now >= self._confirm_at():
            return Sweep(kind="confirm", rows=frozenset(self._doubted))
        if now >= self._quick_at():
            return Sweep(kind="quick", rows=frozenset(self._quick))
        return None

    def when(self) -> tuple[Kind, float]:
        """The next sweep and its time, as things stand."""
        times: dict[Kind, float] = {
            "full": self._full_at,
            "network": self._network_at,
            "confirm": self._confirm_at(),
            "quick": self._quick_at(),
        }
        kind = min(times, key=lambda one: times[one])
        return kind, times[kind]

    def chosen(self, sweep: Sweep, made: Plan, now: float) -> tuple[Check, ...]:
        """The checks of a plan that this sweep asks now, with the names that they need; those planned as skipped are left out."""
        wanted = [c for c in made.checks if sweep.rows is None or key(c) in sweep.rows]
        hosts = {c.host for c in wanted}
        able = [c for c in made.checks if c.skip is None and (c in wanted or (c.kind == "dns" and c.host in hosts))]
        due = [c for c in able if self.due(key(c), c.min_interval_s, now)]
        names = {c.host for c in due if c.kind == "dns"}
        return tuple(c for c in able if c in due or (key(c) in self._nowhere and c.host in names))

    def sent(self, row: str, *, somewhere: bool) -> None:
        """What became of a row that was asked: one whose name gave no address was sent nowhere, and is due with its name again."""
        self._nowhere = self._nowhere - {row} if somewhere else self._nowhere | {row}

    def begun(self, sweep: Sweep, checks: Iterable[Check], now: float) -> None:
        """The sweep begins and asks these checks: their intervals count from here, whatever becomes of it."""
        self.running = sweep
        asked = {key(c): Asked(at=now, interval_s=c.min_interval_s) for c in checks}
        self.asked.update(asked)
        self._quick_from = now + self.quick_s
        self._confirm_from = now if asked else self._quick_from  # one that can ask nothing must not come again at once
        if sweep.kind == "full":
            self._full_at = now + self.full_s
        if sweep.kind in ("full", "network"):
            self._network_at, self._network_last = math.inf, now
        if len(self.asked) > MOST_REMEMBERED:
            self.asked = {row: a for row, a in self.asked.items() if now < a.at + a.interval_s}

    def ended(self, doubted: Mapping[str, float], quick: Mapping[str, float] | None = None) -> None:
        """The sweep is over. `doubted` and `quick` map rows to their intervals: to be confirmed, to be checked quickly.

        `quick` None: as before.
        """
        self.running = None
        self._doubted = dict(doubted)
        if quick is not None:
            self._quick = dict(quick)

    def _free_at(self, row: str, interval_s: float) -> float:
        asked = self.asked.get(row)
        return -math.inf if asked is None else asked.at + interval_s

    def _confirm_at(self) -> float:
        """As soon as one of the doubted rows may be asked."""
        free = min((self._free_at(row, s) for row, s in self._doubted.items()), default=math.inf)
        return max(self._confirm_from, free)

    def _quick_at(self) -> float:
        """As soon as one of the rows may be asked; never when a full sweep comes soon after."""
        free = min((self._free_at(row, s) for row, s in self._quick.items()), default=math.inf)
        at = max(self._quick_from, free)
        return at if at + self.quick_s <= self._full_at else math.inf
