"""A form's fields, and every other small body: read once, bounded in size and time.

Only what browsers send for a form without files; anything else is a refusal, never a mistake of the collector.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from aiohttp import web

from roomprobe.collector import people
from roomprobe.collector.context import COLLECTOR
from roomprobe.collector.problems import Refusal

KIND = "application/x-www-form-urlencoded"
MOST = 8192
MOST_LABEL = 200
_FIELDS: web.RequestKey[dict[str, str]] = web.RequestKey("fields", dict)


async def body(request: web.Request) -> bytes:
    """At most `MOST` bytes of a body."""
    async with asyncio.timeout(request.app[COLLECTOR].settings.chunk_s):
        read = await request.content.read(MOST + 1)
        while len(read) <= MOST and (more := await request.content.read(MOST + 1)):
            read += more
    if len(read) > MOST:
        raise Refusal(413, f"At most {MOST} bytes.", word="413_form")
    return read


async def fields(request: web.Request) -> dict[str, str]:
    """The fields of a form; the body is read by whoever asks first."""
    if request.content_type != KIND:
        raise Refusal(415, f"Send {KIND}.", word="415_form")
    if _FIELDS not in request:
        text = (await body(request)).decode("utf-8", "replace")
        request[_FIELDS] = dict(parse_qsl(text, keep_blank_values=True))
    return request[_FIELDS]


def share(form: dict[str, str]) -> tuple[str, int] | None:
    """Label and days of a new share link; None when they make no sense."""
    label, days = form.get("label", "").strip(), form.get("days", "30")
    if not 0 < len(label) <= MOST_LABEL or not (days.isascii() and days.isdigit() and len(days) <= 3):
        return None
    return (label, int(days)) if 1 <= int(days) <= people.MOST_DAYS else None
