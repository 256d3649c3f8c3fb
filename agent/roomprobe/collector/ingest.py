"""POST /v1/runs: one upload, checked in full, stored and committed before it is answered, or refused as a whole.

The order of the checks is the price of each: who it is, how much it is, whether it unpacks, whether it is what it says it is.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import math
import sqlite3
from typing import Any

from aiohttp import web

from roomprobe.collector import auth, people, shape, store
from roomprobe.collector.context import COLLECTOR, Collector
from roomprobe.collector.intervals import Names
from roomprobe.collector.prepare import Prepared, prepare
from roomprobe.collector.problems import Refusal
from roomprobe.wire import reply, upload
from roomprobe.wire.reader import Malformed

MOST_FAULTS = 200  # records named in one problem document
EVERY_S = 300.0


async def runs(request: web.Request) -> web.Response:
    """Stores an upload; 200 with a receipt, or a problem document."""
    collector = request.app[COLLECTOR]
    who = auth.who(request)
    _media(request)
    if wait := collector.uploads.take(who.uuid, collector.mono()):
        raise Refusal(429, "Too many uploads from this box.", word="429_uploads", retry_after=math.ceil(wait))
    body = await _body(request, collector, who.uuid)
    try:
        looked = collector.look()
        received, sent = looked.at, None if looked.seen else _date(request)
        # One of a box at a time: else whoever sends many costly ones at once is ahead of everybody else.
        turn = collector.turns.setdefault(who.uuid, asyncio.Lock())
        async with turn, collector.parsing:
            loop = asyncio.get_running_loop()
            records = await loop.run_in_executor(collector.parsers, _records, body, who, received, sent)
    finally:
        _hold(collector, who.uuid, -len(body))
    if wait := collector.records.take(who.uuid, collector.mono(), len(records)):
        raise Refusal(429, "Too many records from this box.", word="429_records", retry_after=math.ceil(wait))
    try:
        stored = await collector.write(
            _store,
            collector.names,
            who,
            records,
            received=received,
            every_ms=_every(request),
        )
    except store.Conflict as conflict:
        raise Refusal(422, f"{conflict}.", word="422_conflict", records=conflict.faults[:MOST_FAULTS]) from None
    except people.Nobody:
        raise Refusal(401, "This box was removed; enrol it again.", headers=auth.CHALLENGE) from None
    collector.count("uploads")
    receipt = reply.Receipt(
        stored=stored.stored,
        repeated=stored.repeated,
        want_full=stored.want_full,
        time=datetime.datetime.fromtimestamp(received / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return web.Response(body=reply.build_receipt(receipt), content_type="application/json")


def _media(request: web.Request) -> None:
    if request.content_type != upload.CONTENT_TYPE:
        raise Refusal(
            415, f"Send {upload.CONTENT_TYPE}.", word="415_type", headers={"Accept-Post": upload.CONTENT_TYPE}
        )
    if request.headers.get("Content-Encoding", "").strip().lower() != "gzip":
        raise Refusal(
            415, "Send it with Content-Encoding: gzip.", word="415_encoding", headers={"Accept-Encoding": "gzip"}
        )
    if request.content_length is not None and request.content_length > upload.MOST_COMPRESSED:
        raise Refusal(413, f"At most {upload.MOST_COMPRESSED} bytes of gzip.", word="413_compressed")


async def _body(request: web.Request, collector: Collector, box: str) -> bytes:
    """The raw body; refused while it comes when it grows too large or comes too slowly, or when too many come at once.

    Its length stays held until the caller lets go of it.
    """
    parts: list[bytes] = []
    size = 0
    settings = collector.settings
    try:
        async with asyncio.timeout(settings.body_s):
            while True:
                async with asyncio.timeout(settings.chunk_s):
                    part = await request.content.readany()
                if not part:
                    body = b"".join(parts)
                    size = 0
                    return body
                size += len(part)
                _hold(collector, box, len(part))
                if size > upload.MOST_COMPRESSED:
                    raise Refusal(413, f"At most {upload.MOST_COMPRESSED} bytes of gzip.", word="413_compressed")
                if collector.held > settings.most_held:
                    raise Refusal(503, "Too many uploads at once.", word="503_held", retry_after=5)
                if collector.held_by[box] > settings.most_held // 8:
                    raise Refusal(429, "Too many uploads of this box at once.", word="429_held", retry_after=5)
                parts.append(part)
    finally:
        _hold(collector, box, -size)


def _hold(collector: Collector, box: str, size: int) -> None:
    """Counts bytes in memory, in all and by box: one that is slow on purpose must not keep the others out."""
    collector.held += size
    collector.held_by[box] += size
    if not collector.held_by[box]:
        del collector.held_by[box]


def _records(body: bytes, who: auth.Who, received: int, sent: int | None) -> list[Prepared]:
    """Every record of a body, ready for the store. Refusal."""
    try:
        lines = upload.unpack(body)
    except upload.TooLarge as error:
        raise Refusal(413, f"The upload is too large: {error}.", word="413_plain") from None
    except Malformed as error:
        raise Refusal(400, f"The body cannot be read: {error}.", word="400_gzip") from None
    ready: list[Prepared] = []
    faults: list[tuple[int, str]] = []
    for index, line in enumerate(lines):
        try:
            record = upload.parse(line)
            if record.agent != who.uuid:
                raise Refusal(403, "A record of another box than the token's.", word="403_agent")
            if isinstance(record, upload.Full) and (why := shape.fault(record.document)) is not None:
                raise upload.Unfit(why)
            ready.append(prepare(record, received=received, sent=sent, enrolled=who.enrolled))
        except upload.TooLarge as error:
            raise Refusal(413, f"Line {index + 1} is too large: {error}.", word="413_line") from None
        except upload.Unfit as error:
            faults.append((index, str(error)))
        except RecursionError:
            faults.append((index, "nested too deeply"))
        except Malformed as error:
            raise Refusal(400, f"Line {index + 1} cannot be read: {error}.", word="400_json") from None
    if faults:
        said = "1 record is" if len(faults) == 1 else f"{len(faults)} records are"
        raise Refusal(
            422, f"{said} not as the schema says; nothing was stored.", word="422_schema", records=faults[:MOST_FAULTS]
        )
    return ready


def _store(db: sqlite3.Connection, names: Names, who: auth.Who, *values: Any, **more: Any) -> store.Stored:
    # Removed while the body came; its number may be another box's by now.
    if db.execute("SELECT 1 FROM agent WHERE id = ? AND uuid = ?", (who.agent, who.uuid)).fetchone() is None:
        raise people.Nobody("this box was removed")
    return store.upload(db, names, who.agent, *values, **more)


def _date(request: web.Request) -> int | None:
    """The agent's clock when it sent this (RFC 9110 6.6.1), milliseconds; None when it did not say."""
    try:
        at = email.utils.parsedate_to_datetime(request.headers["Date"])
        return int(at.timestamp() * 1000)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _every(request: web.Request) -> int:
    try:
        seconds = float(request.headers.get("X-Roomprobe-Every", EVERY_S))
    except ValueError:
        seconds = EVERY_S
    return round(seconds * 1000) if 1.0 <= seconds <= 86_400.0 else round(EVERY_S * 1000)
