"""What changed: in the fleet, in a room, and between two runs of it; and what was seen when something changed."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from roomprobe import changes as compared
from roomprobe.collector import history as store
from roomprobe.collector import queries
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.pages.frame import answer
from roomprobe.collector.pages.room import of_room
from roomprobe.collector.problems import Refusal
from roomprobe.collector.views import Document

LIMIT = 100


async def changes(request: web.Request) -> web.StreamResponse:
    """The newest changes of the fleet or of a room; those of services alone unless all are asked for."""
    name = request.match_info.get("room")
    everything = request.query.get("kind") == "all" or name is not None
    found = await of_room(
        request,
        store.changes,
        room=name,
        kind=None if everything else "service",
        limit=LIMIT,
        before=_cursor(request),
    )
    onward = f"{found[-1].at}.{found[-1].interval}" if len(found) == LIMIT else None
    return answer(request, "changes.html", room=name, changes=found, onward=onward, everything=everything)


async def runs(request: web.Request) -> web.StreamResponse:
    """The stored runs of a room, to choose two of."""
    name = request.match_info["room"]
    found = await of_room(request, queries.runs, name, limit=LIMIT, before=_cursor(request))
    onward = f"{found[-1].at}.{found[-1].seq}" if len(found) == LIMIT else None
    return answer(request, "runs.html", room=name, runs=found, onward=onward)


async def compare(request: web.Request) -> web.StreamResponse:
    """What the later of two runs says otherwise than the earlier."""
    name = request.match_info["room"]
    two = [await _document(request, name, request.query.get(which, "")) for which in ("a", "b")]
    before, after = sorted(two, key=lambda one: (one.run.at, one.run.seq))
    partly = "quick" in (before.run.trigger, after.run.trigger)
    found: tuple[compared.Change, ...] | None = None
    if before.document is not None and after.document is not None:
        found = compared.between(before.document, after.document)
        if partly:  # a quick run asks some rows only; the others are not gone
            found = tuple(one for one in found if one.before is not None and one.after is not None)
    return answer(request, "compare.html", room=name, before=before, after=after, changes=found, partly=partly)


async def evidence(request: web.Request) -> web.StreamResponse:
    """What was seen when something began to be said."""
    name = request.match_info["room"]
    number = await of_room(request, queries.room_id, name)
    interval = int(request.match_info["interval"][:18])
    found = await of_room(request, store.evidence, interval)
    if found is None or found[0] != number:
        raise Refusal(404, "This room has no such change.", word="404_interval")
    return answer(request, "evidence.html", room=name, evidence=found[1])


async def _document(request: web.Request, name: str, run: str) -> Document:
    collector = request.app[COLLECTOR]
    number = await of_room(request, queries.room_id, name)
    found: Any = None
    if run and await collector.reader.ask(queries.room_of_run, run[:100]) == number:
        found = await collector.reader.ask(queries.document, run[:100])
    if not isinstance(found, Document):
        raise Refusal(404, "This room has no such run, or it is no longer kept. Choose two runs.", word="404_run")
    return found


def _cursor(request: web.Request) -> tuple[int, int] | None:
    """Where the page before ended; nonsense begins anew."""
    parts = request.query.get("before", "").split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        return None
    return int(parts[0]), int(parts[1])
