"""What the ports of a 5141 do with a connection: TLS and a page on 443, /auth on 23456, silence on the others.

On each of them the exchange (measure.py) begins with its own first line; whatever is of no known kind is counted, never
answered. Docs: docs/codec.md.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from typing import Literal, NoReturn

from roomprobe.farend import measure
from roomprobe.farend.guest import Emulator, Guest, Over
from roomprobe.farend.limits import BLOCK_S, HEAD_S, MOST_UNKNOWN
from roomprobe.wire import auth, exchange, http1
from roomprobe.wire.reader import Malformed

TLS_PORT, AUTH_PORT = 443, 23_456
ITERATIONS = 10_000
PAGE = b"""<!doctype html>
<html lang="en"><title>roomprobe</title>
<p>This is roomprobe, standing in for a Teamline 5141. The controller link gets as far as here.</p></html>
"""
_TLS_RECORD = b"\x16\x03"  # a handshake record (RFC 8446 section 5.1)
_SERVER = ("Server", exchange.GREETING)

Begins = Literal["exchange", "http", "tls", "unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """The one path that a port answers; `kind` is the word for a request of it."""

    path: str
    kind: str
    media_type: str


SITES = {
    TLS_PORT: Site("/", "http-root", "text/html; charset=utf-8"),
    AUTH_PORT: Site(auth.PATH, "http-auth", "application/json"),
}


async def serve(guest: Guest, emulator: Emulator) -> NoReturn:
    """One connection, from its first byte to its end, which is always an Over."""
    stands_for = guest.visit.stands_for
    await guest.first()
    until = time.monotonic() + HEAD_S
    begins = await _begins(guest, until)
    site = SITES.get(stands_for)
    if stands_for == TLS_PORT:
        site = None  # not before TLS
        if begins == "tls":
            await _handshake(guest, emulator, until)
            site = SITES[TLS_PORT]
            await guest.first()
            until = time.monotonic() + HEAD_S
            begins = await _begins(guest, until)
    while begins == "http" and site is not None:
        await _answer(guest, emulator, site, until)
        await guest.first()
        until = time.monotonic() + HEAD_S
        begins = await _begins(guest, until)
    if begins == "exchange":
        await measure.converse(guest, emulator, until)
    await _count(guest, {"http": "http", "tls": "tls-hello"}.get(begins, "unknown"), until)


async def _begins(guest: Guest, until: float) -> Begins:
    """What the buffer begins with, as soon as that can be told."""
    while True:
        data = bytes(guest.channel.buffer[: 2 * http1.MOST_HEAD])
        if measure.begins(data):
            return "exchange"
        if data.startswith(_TLS_RECORD):
            return "tls"
        request = http1.is_request(data)
        if request:
            return "http"
        if request is False and measure.begins(data) is False and not _TLS_RECORD.startswith(data):
            return "unknown"
        await guest.more(until, "slow")


async def _handshake(guest: Guest, emulator: Emulator, until: float) -> None:
    try:
        await guest.handshake(emulator.context, until - time.monotonic())
    except Over:
        guest.saw("tls-failed")
        raise
    guest.saw("tls")


async def _answer(guest: Guest, emulator: Emulator, site: Site, until: float) -> None:
    """One request and its answer; Over when the connection is not used again."""
    channel = guest.channel
    try:
        while (request := http1.parse_request(bytes(channel.buffer))) is None:
            await guest.more(until, "slow")
    except Over:
        guest.saw("http-bad")
        raise
    except Malformed:
        guest.saw("http-bad")
        await guest.send(http1.answer(400, [_SERVER], keep_alive=False), HEAD_S)
        raise Over("codec", "answered", gently=True) from None
    channel.take(request.length)
    guest.visit.requests += 1
    # What a client sends after its head is not read: the connection is closed instead (RFC 9112 section 9.3).
    keep = request.keep_alive and not request.body
    if request.method != "GET":
        guest.saw("http-other")
        answer = http1.answer(405, [_SERVER, ("Allow", "GET")], keep_alive=keep)
    elif request.target.partition("?")[0] != site.path:
        guest.saw("http-other")
        answer = http1.answer(404, [_SERVER], keep_alive=keep)
    else:
        guest.saw(site.kind)
        body = PAGE if site.path == "/" else auth.build(emulator.salt, ITERATIONS, secrets.token_hex(32))
        answer = http1.answer(200, [_SERVER, ("Content-Type", site.media_type)], body, keep_alive=keep)
    await guest.send(answer, BLOCK_S)
    if not keep:
        raise Over("codec", "answered", gently=True)


async def _count(guest: Guest, kind: str, until: float) -> NoReturn:
    """Reads on for a moment, to say how much it was, and throws it away."""
    guest.saw(kind)
    while guest.channel.received < MOST_UNKNOWN:
        guest.channel.buffer.clear()
        await guest.more(until, "unknown")
    raise Over("codec", "unknown")
