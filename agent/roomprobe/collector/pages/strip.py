"""A strip of time: what was said when, laid on a line of 1,000 parts. Pure.

Times without any run are pieces of their own: nothing is known of them, whatever was said before.
"""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe.collector.pages import words
from roomprobe.collector.pages.words import Look
from roomprobe.collector.views import Interval
from roomprobe.model import Frozen

WIDTH = 1000
NO_RUNS = Look(word="no runs", sign="…", css="silent")


class Piece(Frozen, frozen=True, kw_only=True):
    """One stretch of time; `x` and `width` in thousandths of the strip."""

    since: int
    until: int
    x: float
    width: float
    look: Look
    reason: str


class Strip(Frozen, frozen=True, kw_only=True):
    """`totals` is how many milliseconds each word held, the longest first."""

    pieces: tuple[Piece, ...]
    totals: tuple[tuple[Look, int], ...]


def lay(kind: str, intervals: Sequence[Interval], holes: Sequence[tuple[int, int]], start: int, end: int) -> Strip:
    """The intervals of a "service" or a "check" in [start, end), with the holes cut out of them."""
    look = words.state if kind == "service" else words.outcome
    told: list[tuple[int, int, Look, str]] = []
    for one in intervals:
        since, until = max(one.since, start), min(end if one.until is None else one.until, end)
        for low, high in _without(since, until, holes):
            told.append((low, high, look(one.outcome, one.reason), one.reason))
    told += [(max(low, start), min(high, end), NO_RUNS, "") for low, high in holes if high > start and low < end]
    scale = WIDTH / max(1, end - start)
    pieces = tuple(
        Piece(
            since=low,
            until=high,
            x=round((low - start) * scale, 2),
            width=max(1.0, round((high - low) * scale, 2)),
            look=shown,
            reason=why,
        )
        for low, high, shown, why in sorted(told, key=lambda piece: piece[:2])
    )
    totals: dict[Look, int] = {}
    for piece in pieces:
        totals[piece.look] = totals.get(piece.look, 0) + piece.until - piece.since
    return Strip(pieces=pieces, totals=tuple(sorted(totals.items(), key=lambda total: -total[1])))


def _without(since: int, until: int, holes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    left = []
    for low, high in holes:
        if high <= since or low >= until:
            continue
        if low > since:
            left.append((since, low))
        since = max(since, high)
    return [*left, (since, until)] if until > since or not left else left
