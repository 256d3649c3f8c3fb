"""The page of one room, and of one check in it: what works, what does not, where it ends, since when, and how that is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from roomprobe.collector import history, queries
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.pages import reads, strip, told, words
from roomprobe.collector.pages.fleet import number
from roomprobe.collector.pages.frame import answer
from roomprobe.collector.problems import Refusal
from roomprobe.collector.views import Change, Interval, RoomPage
from roomprobe.model import Result

DAY_MS = 86_400_000
DAYS = (1, 7, 30)
MOST_PLOTS = 6
MOST_POINTS = 600
PIECE_MS = 300_000


async def page(request: web.Request) -> web.StreamResponse:
    """One room."""
    name = request.match_info["room"]
    collector = request.app[COLLECTOR]
    now = collector.now()
    days = _days(request)
    found: RoomPage = await of_room(request, queries.room, now, name)
    report = None if found.document is None else told.report(found.document)
    start = now - days * DAY_MS
    holes = await of_room(request, reads.holes, name, start, now, queries.SILENT_AFTER * found.now.every_ms)
    strips = []
    for service in found.now.services:
        intervals = await of_room(
            request, history.timeline, name, "service", service.id, profile=service.profile, start=start, end=now
        )
        strips.append((service, strip.lay("service", intervals, _end(found, intervals, holes, now), start, now)))
    lines = told.lines(report) if report else []
    return answer(
        request,
        "room.html",
        found=found,
        report=report,
        since={(one.profile, one.id): one.since for one in found.now.services},
        services=told.services(report) if report else [],
        asks=told.asks(report) if report else [],
        lines=lines,
        untested=told.untested(report) if report else [],
        strips=strips,
        days=days,
        choices=DAYS,
        start=start // 60_000 * 60_000,
        now=-(-now // 60_000) * 60_000,
        plots=_plots(lines),
        every=_every(days),
        changes=await _changes(request, name),
    )


async def check(request: web.Request) -> web.StreamResponse:
    """One check of a room: what it says now and why, what it said when, its times."""
    name, asked = request.match_info["room"], request.match_info["check"]
    collector = request.app[COLLECTOR]
    now = collector.now()
    days = _days(request)
    start = now - days * DAY_MS
    found: RoomPage = await of_room(request, queries.room, now, name)
    intervals: list[Interval] = await of_room(request, history.timeline, name, "check", asked)
    report = None if found.document is None else told.report(found.document)
    result = next((one for one in report.results if one.check.id == asked), None) if report else None
    if not intervals and result is None:
        raise Refusal(404, "This room has no such check.", word="404_check")
    holes = await of_room(request, reads.holes, name, start, now, queries.SILENT_AFTER * found.now.every_ms)
    points = await of_room(request, history.series, name, asked, start=start, end=now, every_ms=_every(days))
    return answer(
        request,
        "room_check.html",
        found=found,
        asked=asked,
        result=result,
        line=next((one for one in told.lines(report) if result in one.results), None) if report and result else None,
        intervals=intervals[::-1][:100],
        lay=strip.lay("check", intervals, _end(found, intervals, holes, now), start, now),
        points=points,
        days=days,
        choices=DAYS,
        start=start // 60_000 * 60_000,
        now=-(-now // 60_000) * 60_000,
        every=_every(days),
        measured=measured(result.check.kind if result else ""),
    )


async def _changes(request: web.Request, name: str) -> list[Change]:
    """The last changes; of one moment those of the services first, which people ask for."""
    found: list[Change] = []
    for kind, limit in (("service", 5), ("check", 8)):
        found += await of_room(request, history.changes, room=name, kind=kind, limit=limit)
    return sorted(found, key=lambda one: -one.at)


def measured(kind: str) -> str:
    """What the round-trip time of a check of this kind is the time of."""
    return {"tls": "connect time", "tcp": "connect time", "controller": "connect time"}.get(kind, "round-trip time")


async def of_room(request: web.Request, query: Callable[..., Any], *values: Any, **more: Any) -> Any:
    """A read of the store; 404 for a room that is not there."""
    try:
        return await request.app[COLLECTOR].reader.ask(query, *values, **more)
    except queries.UnknownRoom:
        raise Refusal(404, "There is no room with this name.", word="404_room") from None


def _end(found: RoomPage, intervals: list[Interval], holes: list[tuple[int, int]], now: int) -> list[tuple[int, int]]:
    """The holes, and for a silent room all the time since it was last heard, even where no run of it is kept."""
    if not found.now.silent or found.now.last_seen is None or (holes and holes[-1][1] >= now):
        return holes
    return [*holes, (max(found.now.last_seen, holes[-1][1] if holes else 0), now)]


def _plots(lines: list[told.Line]) -> list[Result]:
    """One check a row, of those that have a time: what the plot of the room begins with."""
    timed: dict[tuple[str, str, str | None], Result] = {}
    for line in lines:
        for result in line.results:
            if result.verdict.rtt_ms is not None and words.counts(result.verdict.outcome, None) == "met":
                timed.setdefault((result.check.profile, line.row, result.check.host), result)
                break
    return list(timed.values())[:MOST_PLOTS]


def _days(request: web.Request) -> int:
    asked = number(request, "days")
    return asked if asked in DAYS else DAYS[0]


def _every(days: int) -> int:
    """How wide a point of a plot is: a multiple of five minutes, so that there are few enough of them."""
    return -(-days * DAY_MS // MOST_POINTS // PIECE_MS) * PIECE_MS
