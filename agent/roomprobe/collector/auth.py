"""Who asks, and may they: one access rule for each route, held by one middleware; closed where no rule was said.

A session (cookie) may do all; an API token and a share link may only read, a share link for a room only that room.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import sqlite3
from collections.abc import Awaitable, Callable
from enum import StrEnum

from aiohttp import web

from roomprobe.collector import forms, tokens
from roomprobe.collector.context import COLLECTOR, Collector
from roomprobe.collector.problems import Refusal
from roomprobe.model import Frozen

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(StrEnum):
    """Who may use a route."""

    OPEN = "open"  # anybody: it gives nothing away
    AGENT = "agent"  # a box, by its bearer token
    READ = "read"  # a session, an API token, a share link
    WRITE = "write"  # a session with its CSRF token


class Who(Frozen, frozen=True, kw_only=True):
    """Whoever asks. `room`: the only room that a share link opens. `agent`, `uuid`, `enrolled` are a box's."""

    kind: str  # nobody, session, token, share, agent
    room: int | None = None
    csrf: str | None = None
    agent: int = 0
    uuid: str = ""
    enrolled: int = 0


RULES: web.AppKey[dict[web.AbstractRoute, Access]] = web.AppKey("rules", dict)
WHO: web.RequestKey[Who] = web.RequestKey("who", Who)
SHARE_COOKIE = "roomprobe_share"
MOST_SECRET = 200
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="roomprobe"'}  # of every 401 (RFC 9110 11.6.1)


def add(app: web.Application, method: str, path: str, handler: Handler, access: Access) -> None:
    """A route with its rule; there is no other way in."""
    whole = re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", path)  # aiohttp's own pattern leaves out names with braces
    app[RULES][app.router.add_route(method, whole, handler)] = access


def who(request: web.Request) -> Who:
    """Whoever asks; set before every handler."""
    found: Who = request[WHO]
    return found


def secure(request: web.Request) -> bool:
    """Whether the asker's own connection is TLS, ours or that of a proxy on this machine."""
    settings = request.app[COLLECTOR].settings
    if settings.behind_proxy and _loopback(request.remote):
        return _forwarded(request, "X-Forwarded-Proto").lower() == "https"
    return settings.secure


def address(request: web.Request) -> str:
    """Where the asker is, for limits: an IPv4 address or an IPv6 /64. X-Forwarded-For counts only from this machine's proxy."""
    told = request.remote or ""
    if request.app[COLLECTOR].settings.behind_proxy and _loopback(told):
        told = _forwarded(request, "X-Forwarded-For") or told
    try:
        ip = ipaddress.ip_address(told.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _forwarded(request: web.Request, name: str) -> str:
    """What the proxy itself said: the last value of the last line, as some add a line of their own to those of the asker."""
    return (request.headers.getall(name, []) or [""])[-1].rpartition(",")[2].strip()


def cookie_name(request: web.Request) -> str:
    """The session's cookie; __Host- makes a browser refuse one that is not ours alone (RFC 6265bis 4.1.3.2)."""
    return "__Host-roomprobe" if secure(request) else "roomprobe"


def set_cookie(request: web.Request, response: web.StreamResponse, name: str, value: str, max_age: int) -> None:
    """A cookie that no script can read and no other site can send."""
    response.set_cookie(name, value, max_age=max_age, path="/", httponly=True, samesite="Lax", secure=secure(request))


def check_origin(request: web.Request) -> None:
    """Refuses a form that another site's page sent."""
    origin = request.headers.get("Origin")
    if origin is not None and _host(origin) not in (_host(base(request)), request.headers.get("Host", "").lower()):
        raise Refusal(403, "The form comes from another site.", word="403_origin")


def base(request: web.Request) -> str:
    """What people reach the collector by: as it was told (a proxy may pass on another Host), else as this one does."""
    told = request.app[COLLECTOR].settings.url
    return told or f"{'https' if secure(request) else 'http'}://{request.headers.get('Host', '')}"


def _host(url: str) -> str:
    return url.lower().partition("://")[2].partition("/")[0]


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Holds every request against the rule of its route."""
    if request.match_info.http_exception is not None:
        return await handler(request)  # no such route: nothing to guard
    collector = request.app[COLLECTOR]
    access = request.app[RULES].get(request.match_info.route)
    if access is Access.OPEN:
        request[WHO] = await _reader(request, collector) or Who(kind="nobody")
    elif access is Access.AGENT:
        request[WHO] = await _agent(request, collector)
    elif access in (Access.READ, Access.WRITE):
        found = await _reader(request, collector)
        if found is None:
            if _bearer(request):
                _stranger(request, collector)
            raise Refusal(401, "Log in, or send a token.", headers=CHALLENGE)
        request[WHO] = found
        await _may(request, collector, found, access)
    else:
        raise Refusal(403, "This is not open to anybody.", word="403_rule")
    return await handler(request)


async def _may(request: web.Request, collector: Collector, found: Who, access: Access) -> None:
    if access is Access.WRITE:
        if found.kind != "session" or found.csrf is None:
            raise Refusal(403, "Only who is logged in may change something.", word="403_write")
        check_origin(request)
        given = request.headers.get("X-CSRF-Token")
        if given is None and request.content_type == forms.KIND:
            given = (await forms.fields(request)).get("csrf")
        if given is None or not tokens.equal(given, found.csrf):
            raise Refusal(403, "The form is too old; load its page again.", word="403_csrf")
    elif found.kind == "share" and found.room is not None:
        name = request.match_info.get("room")
        if name is None or await collector.reader.ask(_is_room, found.room, name) is False:
            raise Refusal(403, "This link opens another room.", word="403_share")


def _is_room(db: sqlite3.Connection, number: int, name: str) -> bool:
    return db.execute("SELECT 1 FROM room WHERE id = ? AND name = ?", (number, name)).fetchone() is not None


async def _reader(request: web.Request, collector: Collector) -> Who | None:
    """Session before token before share link; None for nobody."""
    bearer = _bearer(request)
    given = [
        ("session", request.cookies.get(cookie_name(request))),
        ("token", bearer),
        ("share", bearer or request.cookies.get(SHARE_COOKIE)),
    ]
    if not any(secret for _, secret in given):
        return None
    for kind, secret in given:
        if secret and len(secret) <= MOST_SECRET:
            found = await collector.reader.ask(_look_up, kind, tokens.digest(secret), collector.now())
            if found is not None:
                return found
    return None


async def _agent(request: web.Request, collector: Collector) -> Who:
    secret = _bearer(request)
    if not secret or len(secret) > MOST_SECRET:
        raise Refusal(401, "Send the token that this box got when it was enrolled.", headers=CHALLENGE)
    row = await collector.reader.ask(_look_up_agent, tokens.digest(secret))
    if row is None:
        _stranger(request, collector)
        raise Refusal(401, "This token is not known; enrol the box again.", headers=CHALLENGE)
    if row[1]:
        raise Refusal(403, "This box's enrolment was revoked.", word="403_revoked")
    return row[0]


def _stranger(request: web.Request, collector: Collector) -> None:
    wait = collector.strangers.take(address(request), collector.mono())
    if wait:
        raise Refusal(429, "Too many unknown tokens from this address.", word="429_tokens", retry_after=int(wait) + 1)


def _bearer(request: web.Request) -> str | None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


_ASK = {
    "session": "SELECT hash, NULL AS room, csrf FROM session WHERE hash = :hash AND expires > :now",
    "token": "SELECT hash, NULL AS room, NULL AS csrf FROM token WHERE hash = :hash AND revoked IS NULL",
    "share": "SELECT hash, room, NULL AS csrf FROM share WHERE hash = :hash AND expires > :now AND revoked IS NULL",
}


def _look_up(db: sqlite3.Connection, kind: str, digest: bytes, now: int) -> Who | None:
    row = db.execute(_ASK[kind], {"hash": digest, "now": now}).fetchone()
    if row is None or not hmac.compare_digest(row["hash"], digest):
        return None
    return Who(kind=kind, room=row["room"], csrf=row["csrf"])


def _look_up_agent(db: sqlite3.Connection, digest: bytes) -> tuple[Who, bool] | None:
    row = db.execute(
        "SELECT id, uuid, enrolled, revoked, token_hash FROM agent WHERE token_hash = ?", (digest,)
    ).fetchone()
    if row is None or not hmac.compare_digest(row["token_hash"], digest):
        return None
    made = Who(kind="agent", agent=row["id"], uuid=row["uuid"], enrolled=row["enrolled"])
    return made, row["revoked"] is not None


def _loopback(told: str | None) -> bool:
    try:
        return ipaddress.ip_address((told or "").partition("%")[0]).is_loopback
    except ValueError:
        return False
