"""Read-only links for people without a password, the firewall team say: made, listed and ended here."""

from __future__ import annotations

from aiohttp import web

from roomprobe.collector import auth, forms, people
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.pages import reads
from roomprobe.collector.pages.fleet import text
from roomprobe.collector.pages.frame import answer
from roomprobe.collector.problems import Refusal


async def page(request: web.Request) -> web.StreamResponse:
    """The links that are good, and a form for another."""
    return await _show(request, room=text(request, "room"))


async def make(request: web.Request) -> web.StreamResponse:
    """A new link; it is shown this once, because its token is not kept."""
    collector = request.app[COLLECTOR]
    form = await forms.fields(request)
    room, asked = form.get("room") or None, forms.share(form)
    if asked is None:
        fault = f"A link needs a label and 1 to {people.MOST_DAYS} days."
        return await _show(request, room=room, label=form.get("label", ""), fault=fault, status=400)
    label, days = asked
    try:
        _, made = await collector.write(people.share, collector.now(), name=room, label=label, days=days)
    except people.Nobody:
        return await _show(request, room=room, label=label, fault="There is no room with this name.", status=404)
    return await _show(request, made=f"{auth.base(request).rstrip('/')}/share/{made}")


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
        most=people.MOST_DAYS,
    )
