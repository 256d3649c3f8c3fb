"""Read-only links for people without a password, the firewall team say: made, listed and ended here."""

from __future__ import annotations

from aiohttp import web

from roomprobe.collector import auth, people
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.pages import reads
from roomprobe.collector.pages.fleet import text
from roomprobe.collector.pages.frame import answer
from roomprobe.collector.problems import Refusal

MOST_DAYS = 366


async def page(request: web.Request) -> web.StreamResponse:
    """The links that are good, and a form for another."""
    return await _show(request, room=text(request, "room"))


async def make(request: web.Request) -> web.StreamResponse:
    """A new link; it is shown this once, because its token is not kept."""
    collector = request.app[COLLECTOR]
    form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    days, label, room = form.get("days", "30"), form.get("label", "").strip(), form.get("room") or None
    if not (days.isascii() and days.isdigit() and 1 <= int(days[:6]) <= MOST_DAYS) or not 0 < len(label) <= 200:
        return await _show(
            request, room=room, label=label, fault=f"A link needs a label and 1 to {MOST_DAYS} days.", status=400
        )
    try:
        _, made = await collector.write(people.share, collector.now(), name=room, label=label, days=int(days))
    except people.Nobody:
        return await _show(request, room=room, label=label, fault="There is no room with this name.", status=404)
    scheme = "https" if auth.secure(request) else "http"
    return await _show(request, made=f"{scheme}://{request.headers.get('Host', '')}/share/{made}")


async def end(request: web.Request) -> web.StreamResponse:
    """Ends a link."""
    collector = request.app[COLLECTOR]
    try:
        await collector.write(people.end, collector.now(), "share", int(request.match_info["number"]))
    except people.Nobody:
        raise Refusal(404, "There is no such link any more.", word="404_share") from None
    raise web.HTTPSeeOther("/shares")


async def _show(
    request: web.Request,
    *,
    room: str | None = None,
    label: str = "",
    fault: str = "",
    made: str = "",
    status: int = 200,
) -> web.StreamResponse:
    who = auth.who(request)
    if who.kind != "session":
        raise Refusal(403, "Only who is logged in may share.", word="403_shares")
    collector = request.app[COLLECTOR]
    links = await collector.reader.ask(reads.links, collector.now())
    return answer(
        request,
        "shares.html",
        status=status,
        secret=True,
        links=links,
        room=room,
        label=label,
        fault=fault,
        made=made,
        csrf=who.csrf,
        most=MOST_DAYS,
    )
