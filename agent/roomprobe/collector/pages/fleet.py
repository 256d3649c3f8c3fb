"""The first page: every room by every service, the worst first."""

from __future__ import annotations

from aiohttp import web

from roomprobe.collector import queries
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.pages import words
from roomprobe.collector.pages.frame import answer
from roomprobe.collector.views import Room, Service
from roomprobe.model import Frozen

MOST_TEXT = 200
MOST_COLUMNS = 40


class Column(Frozen, frozen=True, kw_only=True):
    """One service; `head` is its title, with the profile's where two have the same."""

    profile: str
    service: str
    head: str


async def page(request: web.Request) -> web.StreamResponse:
    """The grid. Filters that make no sense are left out rather than refused: this is for people."""
    collector = request.app[COLLECTOR]
    now = collector.now()
    q, site = text(request, "q"), text(request, "site")
    state = request.query.get("state")
    state = state if state in queries.STATES else None
    asked = number(request, "page")
    found = await collector.reader.ask(queries.fleet, now, q=q, state=state, site=site, page=asked)
    if not found.rooms and found.page > found.pages:
        found = await collector.reader.ask(queries.fleet, now, q=q, state=state, site=site, page=found.pages)
    return answer(
        request,
        "fleet.html",
        found=found,
        summary=await collector.reader.ask(queries.summary, now),
        columns=columns(found.rooms),
        cells={room.room: {(one.profile, one.id): one for one in room.services} for room in found.rooms},
        states=queries.STATES,
        size=queries.PAGE,
        around=around(found.page, found.pages),
        filters={"q": q, "state": state, "site": site},
    )


def columns(rooms: tuple[Room, ...]) -> tuple[Column, ...]:
    """Every service that a room of this page has, in the order of the profiles."""
    found: dict[tuple[str, str], Service] = {}
    for room in rooms:
        for one in room.services:
            found.setdefault((one.profile, one.id), one)
    keys = sorted(found, key=_order)[:MOST_COLUMNS]
    heads = [words.title(*key) for key in keys]
    return tuple(
        Column(
            profile=profile,
            service=service,
            head=head if heads.count(head) == 1 else f"{head} ({words.profile_title(profile)})",
        )
        for (profile, service), head in zip(keys, heads, strict=True)
    )


def _order(key: tuple[str, str]) -> tuple[str, int, str]:
    profile, service = key
    known = words.known().get(profile)
    ids = [one.id for one in known.service] if known else []
    return profile, ids.index(service) if service in ids else len(ids), service


def around(page: int, pages: int) -> tuple[int, ...]:
    """The pages that are offered: the first, those around this one, the last; 0 stands for a gap."""
    shown = sorted({1, pages, *range(max(1, page - 2), min(pages, page + 2) + 1)})
    found: list[int] = []
    for one in shown:
        if found and one > found[-1] + 1:
            found.append(0)
        found.append(one)
    return tuple(found)


def text(request: web.Request, name: str) -> str | None:
    """A filter's text."""
    value = request.query.get(name, "").replace("\0", "").strip()[:MOST_TEXT]
    return value or None


def number(request: web.Request, name: str, default: int = 1, most: int = 1_000_000) -> int:
    """A whole number from 1 on; what is none is the default."""
    value = request.query.get(name, "")
    return max(1, min(int(value), most)) if value.isascii() and value.isdigit() and len(value) < 10 else default
