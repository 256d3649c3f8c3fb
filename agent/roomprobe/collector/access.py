"""The ways in for people and boxes: login, logout, share links, and POST /v1/enrol."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from typing import Annotated
from urllib.parse import quote

import msgspec
from aiohttp import web

from roomprobe.collector import auth, first, forms, people, tokens
from roomprobe.collector.context import COLLECTOR, Collector
from roomprobe.collector.problems import Refusal

SHARE_AGE_S = 30 * 86_400


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/enrol."""

    token: Annotated[str, msgspec.Meta(min_length=20, max_length=auth.MOST_SECRET)]
    hostname: Annotated[str, msgspec.Meta(max_length=253)] | None = None


async def enrol(request: web.Request) -> web.Response:
    """A box trades its enrolment token for an identity and a token of its own."""
    collector = request.app[COLLECTOR]
    if wait := collector.strangers.take("enrol " + auth.address(request), collector.mono()):
        raise Refusal(429, "Too many enrolments from this address.", word="429_enrol", retry_after=math.ceil(wait))
    try:
        ask = msgspec.json.decode(await forms.body(request), type=Ask)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal(400, 'Send {"token": ..., "hostname": ...} as JSON.', word="400_enrol") from None
    try:
        made = await collector.write(people.enrol, collector.now(), ask.token, ask.hostname)
    except people.Nobody as error:
        raise Refusal(401, f"{str(error).capitalize()}.", word="401_enrol") from None
    except people.Used as error:
        raise Refusal(409, f"{str(error).capitalize()}.", word="409_enrol") from None
    except people.Expired as error:
        raise Refusal(410, f"{str(error).capitalize()}.", word="410_enrol") from None
    collector.count("enrolled")
    return web.Response(body=msgspec.json.encode(made), content_type="application/json")


async def login(request: web.Request) -> web.Response:
    """The form's password for a session. Wrong ones make the address wait, twice as long each time."""
    collector = request.app[COLLECTOR]
    auth.check_origin(request)
    place = auth.address(request)
    _patience(collector, place)
    form = await forms.fields(request)
    given = form.get("password", "")
    stored = await collector.reader.ask(_password)
    # Threads of their own: a guess costs tens of milliseconds and 16 MiB, and must hold nobody else up.
    async with collector.parsing:
        _patience(collector, place)  # those that came at once wait for each other here
        right = await asyncio.to_thread(tokens.matches, given[: tokens.MOST_PASSWORD], stored) if stored else False
        if not right or len(given) > tokens.MOST_PASSWORD:
            collector.logins.failed(place, collector.mono())
            raise Refusal(401, "The password is not right.", word="401_login")
    collector.logins.succeeded(place)
    made = await collector.write(people.open_session, collector.now(), place)
    first.forget(collector.settings.state)
    response = web.Response(status=303, headers={"Location": inside(form.get("next", "/"))})
    auth.set_cookie(request, response, auth.cookie_name(request), made, people.SESSION_MS // 1000)
    return response


def _patience(collector: Collector, place: str) -> None:
    if wait := collector.logins.wait(place, collector.mono()):
        raise Refusal(429, "Too many wrong passwords; wait a moment.", word="429_login", retry_after=math.ceil(wait))


async def logout(request: web.Request) -> web.Response:
    """Ends the session."""
    collector = request.app[COLLECTOR]
    name = auth.cookie_name(request)
    await collector.write(people.close_session, collector.now(), request.cookies.get(name, ""))
    response = web.Response(status=303, headers={"Location": "/login"})
    auth.set_cookie(request, response, name, "", 0)
    return response


async def open_share(request: web.Request) -> web.Response:
    """A share link: its token goes into a cookie, and out of the address."""
    collector = request.app[COLLECTOR]
    secret = request.match_info["token"]
    name = await collector.reader.ask(_share, tokens.digest(secret), collector.now())
    if name is None:
        if wait := collector.strangers.take(auth.address(request), collector.mono()):
            raise Refusal(429, "Too many unknown links.", word="429_share", retry_after=math.ceil(wait))
        raise Refusal(404, "This link is not good (any more).", word="404_share")
    response = web.Response(status=303, headers={"Location": f"/rooms/{quote(name, safe='')}" if name else "/"})
    auth.set_cookie(request, response, auth.SHARE_COOKIE, secret, SHARE_AGE_S)
    return response


async def make_share(request: web.Request) -> web.Response:
    """A new share link, from a form with room (empty: the fleet), label and days."""
    collector = request.app[COLLECTOR]
    form = await forms.fields(request)
    asked = forms.share(form)
    if asked is None:
        needed = f"a label of up to {forms.MOST_LABEL} characters and 1 to {people.MOST_DAYS} days"
        raise Refusal(400, f"A share link needs {needed}.", word="400_share")
    label, days = asked
    try:
        number, made = await collector.write(
            people.share, collector.now(), name=form.get("room") or None, label=label, days=days
        )
    except people.Nobody as error:
        raise Refusal(404, f"{str(error).capitalize()}.", word="404_room") from None
    return web.json_response({"id": number, "path": f"/share/{made}"})


async def end_share(request: web.Request) -> web.Response:
    """Revokes a share link by its number."""
    collector = request.app[COLLECTOR]
    number = request.match_info["number"]
    try:
        await collector.write(people.end, collector.now(), "share", int(number))
    except people.Nobody as error:
        raise Refusal(404, f"{str(error).capitalize()}.", word="404_share") from None
    return web.json_response({"id": int(number), "revoked": True})


def inside(onward: str) -> str:
    """A path on this server and nothing else: no other host, no header of its own."""
    fine = onward.startswith("/") and not onward.startswith(("//", "/\\")) and len(onward) <= 500
    return onward if fine and onward.isascii() and onward.isprintable() else "/"


def _password(db: sqlite3.Connection) -> str | None:
    row = db.execute("SELECT password FROM user WHERE name = ?", (people.ADMIN,)).fetchone()
    return None if row is None else str(row[0])


def _share(db: sqlite3.Connection, digest: bytes, now: int) -> str | None:
    """The room's name, "" for the fleet, None for no such link."""
    row = db.execute(
        "SELECT coalesce(name, '') FROM share LEFT JOIN room ON room.id = share.room "
        "WHERE hash = ? AND expires > ? AND revoked IS NULL",
        (digest, now),
    ).fetchone()
    return None if row is None else str(row[0])
