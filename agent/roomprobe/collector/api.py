"""The JSON API for programs and the dashboard: what queries.py, history.py and across.py say, as it is.

openapi.py describes it to programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from roomprobe import __version__
from roomprobe.collector import across, boxes, history, metrics, queries, views
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.openapi import document
from roomprobe.collector.problems import Refusal

MOST_TEXT = 512
MOST_ROWS = 100


async def rooms(request: web.Request) -> web.Response:
    """The fleet, the worst first."""
    collector = request.app[COLLECTOR]
    state = _text(request, "state")
    if state is not None and state not in queries.STATES:
        raise Refusal(400, f"state is one of {', '.join(queries.STATES)}.", word="400_query")
    found = await collector.reader.ask(
        queries.fleet,
        collector.now(),
        q=_text(request, "q"),
        state=state,
        silent={0: False, 1: True}.get(_whole(request, "silent", 2, 0, 2)),
        site=_text(request, "site"),
        page=_whole(request, "page", 1, 1, 1_000_000),
        size=_whole(request, "size", queries.PAGE, 1, queries.MOST_PAGE),
    )
    return answer(found)


async def summary(request: web.Request) -> web.Response:
    """How many rooms are in which state."""
    collector = request.app[COLLECTOR]
    return answer(await collector.reader.ask(queries.summary, collector.now()))


async def room(request: web.Request) -> web.Response:
    """One room with its newest report."""
    collector = request.app[COLLECTOR]
    return answer(await _of_room(request, queries.room, collector.now(), request.match_info["room"]))


async def runs(request: web.Request) -> web.Response:
    """The stored runs of a room."""
    limit = _whole(request, "limit", queries.PAGE, 1, queries.MOST_PAGE)
    found = await _of_room(
        request,
        queries.runs,
        request.match_info["room"],
        limit=limit,
        before=_cursor(request),
    )
    onward = f"{found[-1].at}.{found[-1].seq}" if len(found) == limit else None
    return answer(views.Runs(runs=tuple(found), next=onward))


async def run(request: web.Request) -> web.Response:
    """The report behind a run of a room."""
    collector = request.app[COLLECTOR]
    number = await _of_room(request, boxes.room_id, request.match_info["room"])
    name = request.match_info["run"]
    if await collector.reader.ask(queries.room_of_run, name) != number:
        raise Refusal(404, "This room has no such run, or it is no longer kept.", word="404_run")
    return answer(await collector.reader.ask(queries.document, name))


async def room_changes(request: web.Request) -> web.Response:
    """What changed in a room."""
    return await _changes(request, request.match_info["room"])


async def changes(request: web.Request) -> web.Response:
    """What changed anywhere."""
    return await _changes(request, None)


async def check_history(request: web.Request) -> web.Response:
    """The intervals and the round-trip times of one check."""
    place = {"start": _whole(request, "from", 0, 0, 1 << 62), "end": _whole(request, "to", 1 << 62, 0, 1 << 62)}
    name, check = request.match_info["room"], request.match_info["check"]
    intervals = await _of_room(request, history.timeline, name, "check", check, **place)
    points = await _of_room(
        request, history.series, name, check, **place, every_ms=_whole(request, "every_ms", 300_000, 300_000, 1 << 40)
    )
    if not intervals and not points and not await _of_room(request, history.timeline, name, "check", check):
        raise Refusal(404, "This room has no such check.", word="404_check")
    return answer(views.CheckHistory(intervals=tuple(intervals), points=tuple(points)))


async def service_history(request: web.Request) -> web.Response:
    """The intervals of one service."""
    start, end = _whole(request, "from", 0, 0, 1 << 62), _whole(request, "to", 1 << 62, 0, 1 << 62)
    of = (request.match_info["room"], "service", request.match_info["service"])
    profile = request.match_info["profile"]
    found = await _of_room(request, history.timeline, *of, profile=profile, start=start, end=end)
    if not found and not await _of_room(request, history.timeline, *of, profile=profile):
        raise Refusal(404, "This room has no such service.", word="404_service")
    return answer(views.ServiceHistory(intervals=tuple(found)))


async def evidence(request: web.Request) -> web.Response:
    """What was seen when an interval of a room began."""
    number = await _of_room(request, boxes.room_id, request.match_info["room"])
    interval = request.match_info["interval"]
    found = await request.app[COLLECTOR].reader.ask(history.evidence, int(interval[:18]))
    if found is None or found[0] != number:
        raise Refusal(404, "This room has no such interval.", word="404_interval")
    return answer(views.Evidence(evidence=found[1]))


async def check(request: web.Request) -> web.Response:
    """One row in all rooms."""
    collector = request.app[COLLECTOR]
    found = await collector.reader.ask(
        across.check_across,
        collector.now(),
        request.match_info["profile"],
        request.match_info["row"],
        page=_whole(request, "page", 1, 1, 1_000_000),
        size=_whole(request, "size", queries.PAGE, 1, queries.MOST_PAGE),
    )
    if found is None:
        raise Refusal(404, "No room has such a row.", word="404_row")
    return answer(found)


async def healthz(request: web.Request) -> web.Response:
    """200 while the store answers."""
    await request.app[COLLECTOR].reader.ask(queries.counters)
    return answer(views.Health(status="ok", version=__version__))


async def prometheus(request: web.Request) -> web.Response:
    """/metrics, in Prometheus text; `checks=1` adds the checks of every room, `row=F3&row=F4` those of these rows alone."""
    collector = request.app[COLLECTOR]
    text = await collector.reader.ask(
        metrics.text,
        collector.now(),
        dict(collector.counts),
        {
            "commits": collector.writer.commits,
            "jobs": collector.writer.jobs,
            "waiting": collector.writer.waiting,
        },
        checks=_whole(request, "checks", 0, 0, 1) == 1,
        only=[row[:MOST_TEXT] for row in request.query.getall("row", [])][:MOST_ROWS],
    )
    response = web.Response(body=text.encode("utf-8"), headers={"Content-Type": metrics.CONTENT_TYPE})
    response.enable_compression()
    return response


async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI document."""
    return answer(document())


def answer(value: Any) -> web.Response:
    """A value as JSON, packed when it is worth it."""
    body = msgspec.json.encode(value)
    response = web.Response(body=body, content_type="application/json")
    if len(body) > 2000:
        response.enable_compression()
    return response


async def _changes(request: web.Request, name: str | None) -> web.Response:
    kind = _text(request, "kind")
    if kind not in (None, "check", "service"):
        raise Refusal(400, "kind is check or service.", word="400_query")
    limit = _whole(request, "limit", 100, 1, queries.MOST_PAGE)
    found = await _of_room(
        request,
        history.changes,
        room=name,
        since=_whole(request, "since", 0, 0, 1 << 62),
        before=_cursor(request),
        kind=kind,
        limit=limit,
    )
    onward = f"{found[-1].at}.{found[-1].interval}" if len(found) == limit else None
    return answer(views.Changes(changes=tuple(found), next=onward))


def _cursor(request: web.Request) -> tuple[int, int] | None:
    """Where the page before ended."""
    text = _text(request, "before")
    if text is None:
        return None
    parts = text.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise Refusal(400, "before is the next of the page before it.", word="400_query")
    return int(parts[0]), int(parts[1])


async def _of_room(request: web.Request, query: Callable[..., Any], *values: Any, **more: Any) -> Any:
    try:
        return await request.app[COLLECTOR].reader.ask(query, *values, **more)
    except boxes.UnknownRoom:
        raise Refusal(404, "There is no room with this name.", word="404_room") from None


def _text(request: web.Request, name: str) -> str | None:
    value = request.query.get(name)
    if value is not None and (len(value) > MOST_TEXT or "\0" in value):
        raise Refusal(400, f"{name} is text of up to {MOST_TEXT} characters.", word="400_query")
    return value or None


def _whole(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    value = request.query.get(name)
    if value is None:
        return default
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1
    if not low <= number <= high:
        raise Refusal(400, f"{name} is a whole number from {low} to {high}.", word="400_query")
    return number
