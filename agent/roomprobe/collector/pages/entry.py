"""Login, logout and refusals as pages. What they decide stands in access.py and auth.py; here is only how it looks."""

from __future__ import annotations

import json
from http import HTTPStatus

from aiohttp import web

from roomprobe.collector import auth, forms
from roomprobe.collector.access import inside
from roomprobe.collector.auth import Handler, Who
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.pages import reads
from roomprobe.collector.pages.frame import FRAME, answer, room_url
from roomprobe.collector.problems import Refusal
from roomprobe.wire.reply import PROBLEM_TYPE


async def login(request: web.Request) -> web.StreamResponse:
    """The form with one field."""
    return answer(request, "login.html", onward=inside(request.query.get("next", "/")), fault="")


async def logout(request: web.Request) -> web.StreamResponse:
    """Asks once more, because a link alone must not end a session."""
    return answer(request, "logout.html", secret=True, csrf=auth.who(request).csrf)


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A refusal as a page, for whoever asked for one; programs get the problem document."""
    response = await handler(request)
    if not isinstance(response, web.Response) or response.content_type != PROBLEM_TYPE or not _by_a_person(request):
        return response
    detail = json.loads(response.body if isinstance(response.body, bytes) else b"{}").get("detail", "")
    who = request.get(auth.WHO) or Who(kind="nobody")
    home = "/"
    if who.kind == "share" and who.room is not None:  # its room is all that this link opens
        name = await request.app[COLLECTOR].reader.ask(reads.room_name, who.room)
        home = room_url(name or "")
        if request.path == "/":
            raise web.HTTPSeeOther(home)
    values = {"who": who, "path": request.path, "fault": detail, "home": home}
    if request.path == "/login":
        onward = await _onward(request) if request.method == "POST" else "/"
        page = request.app[FRAME].render("login.html", onward=onward, **values)
    else:
        page = request.app[FRAME].render("refused.html", phrase=HTTPStatus(response.status).phrase, **values)
    headers = {name: response.headers[name] for name in ("Retry-After", "Allow") if name in response.headers}
    return web.Response(status=response.status, text=page, content_type="text/html", charset="utf-8", headers=headers)


async def _onward(request: web.Request) -> str:
    """Where the form wanted to go; whoever must wait may not even have sent one."""
    try:
        return inside((await forms.fields(request)).get("next", "/"))
    except (Refusal, TimeoutError):
        return "/"


def _by_a_person(request: web.Request) -> bool:
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith(("/v1/", "/metrics"))
