"""One row of a profile in every room: is it one room, one site, or the whole company?"""

from __future__ import annotations

from aiohttp import web

from roomprobe.collector import across, queries
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.pages import reads, words
from roomprobe.collector.pages.fleet import around, number
from roomprobe.collector.pages.frame import answer
from roomprobe.collector.pages.reads import Spread
from roomprobe.collector.problems import Refusal
from roomprobe.explain import MEANINGS, NEEDS
from roomprobe.outcome import Outcome


async def listing(request: web.Request) -> web.StreamResponse:
    """Every row that a room has had."""
    found = await request.app[COLLECTOR].reader.ask(reads.rows)
    listed = [(profile, row, words.purpose(profile, row)) for profile, row in found]
    return answer(request, "checks.html", rows=listed)


async def page(request: web.Request) -> web.StreamResponse:
    """One row."""
    profile, row = request.match_info["profile"], request.match_info["row"]
    collector = request.app[COLLECTOR]
    now = collector.now()
    found = await collector.reader.ask(across.check_across, now, profile, row, page=number(request, "page"))
    if found is None:
        raise Refusal(404, "No room has such a row.", word="404_row")
    if not found.rooms and found.page > found.pages:
        found = await collector.reader.ask(across.check_across, now, profile, row, page=found.pages)
        assert found is not None
    spread = await collector.reader.ask(reads.spread, now, profile, row)
    known = words.rows(profile, row)
    return answer(
        request,
        "check.html",
        found=found,
        spread=spread,
        answer=verdict(spread),
        purpose=words.purpose(profile, row),
        need=NEEDS[known[0].need] if known else "",
        services=[words.title(profile, one) for one in words.services(profile, row)],
        meanings=_meanings(known[0].kind if known else "", found.counts),
        around=around(found.page, found.pages),
        size=queries.PAGE,
    )


def verdict(told: Spread) -> str:
    """The answer in one sentence or two."""
    bad, rooms = told.not_met, told.met + told.not_met + told.cannot_tell
    if not rooms:
        return "No room that is heard says anything about this row."
    if not bad:
        good = "It is met in all" if told.met == rooms else f"It is met in {told.met} of"
        rest = f" In {told.cannot_tell} it cannot be told." if told.cannot_tell else ""
        return f"{good} {_rooms(rooms)}.{rest}"
    if rooms == 1:
        return "It is not met in the only room that says anything about it."
    if bad == rooms:
        return (
            f"It is not met in any of the {_rooms(rooms)}: it is not one room. "
            "Look at what they share: the way out of the company, its name servers, or the far end."
        )
    if told.only is not None:
        return f"It is one room: {told.only}. {_others(told)}"
    sites = [site for site in told.sites if site.not_met]
    if len(sites) == 1 and sites[0].site is not None and len(told.sites) > 1:
        whole = not sites[0].met and not sites[0].cannot_tell
        where = "all rooms of this site that are heard" if whole else "some of its rooms"
        return f"It is one site: {sites[0].site}, {where}. {_others(told)}"
    return f"It is not met in {bad} of {_rooms(rooms)}. {_others(told)}"


def _others(told: Spread) -> str:
    if not told.cannot_tell:
        return f"In {_rooms(told.met)} it is met." if told.met else ""
    return f"In {_rooms(told.met)} it is met, in {told.cannot_tell} it cannot be told."


def _rooms(number: int) -> str:
    return f"{number:,} room" if number == 1 else f"{number:,} rooms"


def _meanings(kind: str, counts: dict[str, int]) -> list[tuple[str, str]]:
    """What each outcome that was found means for a row of this kind."""
    said = MEANINGS.get(kind, {})
    return [(outcome.value, said[outcome]) for outcome in Outcome if outcome in said and counts.get(outcome.value)]
