"""One record of the wire made ready for the store: hashed, packed and taken apart before the writer's turn comes. Pure.

The writer thread is what everybody waits for, so nothing that can be done outside of it is done in it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
import zlib
from collections.abc import Mapping
from typing import Any

from roomprobe.changes import outcome_hash
from roomprobe.model import Frozen
from roomprobe.wire.upload import Full, Loss, Record, Unfit

BUCKET_MS = 300_000
CLOCK_SLACK_MS = 300_000
MOST_SUBJECTS = 2_000  # services and checks of one document
MOST_MS = 10**9
MOST_NAME = 512  # characters of an id that the store indexes
NO_NAMES = frozenset({"", ".", ".."})  # no address of a page can hold them, and no profile has them

# kind, profile, row, name, outcome, confidence, reason, where, at_least
Said = tuple[str, str, str, str, str, str | None, str, str | None, str | None]
_RANK = {"broken": 3, "degraded": 2, "unknown": 1, "full": 0}


class Content(Frozen, frozen=True, kw_only=True):
    """What a document says, without numbers and words: `body` is JSON, `digest` its SHA-256."""

    digest: bytes
    body: bytes


class Prepared(Frozen, frozen=True, kw_only=True):
    """A record as the store takes it. Times in milliseconds since 1970. Of a loss record only `loss` says more.

    `numbers`: round-trip times in whole microseconds by check id: sums of integers do not depend on their order.
    """

    epoch: bytes
    seq: int
    run_id: bytes = b""
    hash: bytes | None = None
    started: int = 0
    at: int = 0
    full: bool = False
    trigger: str = ""
    duration_ms: int = 0
    version: str | None = None
    content: Content | None = None
    document: bytes | None = None
    numbers: tuple[tuple[str, int], ...] = ()
    loss: Loss | None = None


def prepare(record: Record, *, received: int, sent: int | None, enrolled: int) -> Prepared:
    """`sent`: the agent's clock when it sent the upload, if it said so. Unfit when a document contradicts itself."""
    epoch = bytes.fromhex(record.epoch)
    if isinstance(record, Loss):
        for text in (record.since, record.until):
            if text is not None:
                moment(text)
        return Prepared(epoch=epoch, seq=record.seq, loss=record, at=received)
    run = record.run
    started = moment(str(run["started"]))
    synced = run["clock_synced"] is True
    common: dict[str, Any] = {
        "epoch": epoch,
        "seq": record.seq,
        "run_id": uuid.UUID(str(run["id"])).bytes,
        "hash": bytes.fromhex(record.hash),
        "started": started,
        "at": place(started, synced=synced, received=received, sent=sent, enrolled=enrolled),
        "trigger": str(run["trigger"]),
        "duration_ms": round(run["duration_s"] * 1000),
    }
    if not isinstance(record, Full):
        return Prepared(**common, numbers=_numbers(record.numbers))
    document = record.document
    if record.hash != outcome_hash(document):
        raise Unfit("the hash is not that of its document")
    return Prepared(
        **common,
        full=True,
        version=document["agent"]["version"],
        content=_content(document),
        document=pack(document),
        numbers=_numbers({c["id"]: c["rtt_ms"] for c in document["checks"] if c["rtt_ms"] is not None}),
    )


def moment(text: str) -> int:
    """RFC 3339 as milliseconds since 1970; Unfit when there is no such moment (the pattern lets the 31st of June pass)."""
    try:
        whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
        at = datetime.datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise Unfit("a time that does not exist") from None
    return int(at.timestamp()) * 1000 + int((fraction + "000")[:3])


def place(started: int, *, synced: bool, received: int, sent: int | None, enrolled: int) -> int:
    """When a run was, by the collector's clock (docs/decisions/0004): nothing is later than its receipt, and nothing that
    cannot be is believed."""
    at = started
    if not synced and sent is not None and abs(received - sent) > CLOCK_SLACK_MS:
        at = started + received - sent  # the clock was as wrong then as it is now
    if enrolled - CLOCK_SLACK_MS <= at <= received + CLOCK_SLACK_MS:
        return min(at, received)
    return received


def pack(value: Any) -> bytes:
    """A JSON value as the store keeps it."""
    return zlib.compress(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8"), 6)


def unpack(body: bytes) -> Any:
    """What `pack` made."""
    return json.loads(zlib.decompress(body))


def rank(states: list[tuple[str, str]]) -> int:
    """The worst of (state, reason): 3 broken, 2 degraded, 1 unknown, 0 full. Services that were not tested do not count,
    unless there is no other."""
    tested = [state for state, reason in states if (state, reason) != ("unknown", "not-tested")]
    return max((_RANK.get(state, 1) for state in tested), default=1)


def _numbers(numbers: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    if len(numbers) > MOST_SUBJECTS or any(len(name) > MOST_NAME for name in numbers):
        raise Unfit(f"more than {MOST_SUBJECTS} numbers, or an id longer than {MOST_NAME} characters")
    if any(ms > MOST_MS for ms in numbers.values()):
        raise Unfit(f"a round-trip time above {MOST_MS} ms")
    return tuple(sorted((name, round(ms * 1000)) for name, ms in numbers.items()))


def subjects(document: Mapping[str, Any]) -> dict[tuple[str, str, str, str], Mapping[str, Any]]:
    """(kind, profile, row, name) → the service or check."""
    found: dict[tuple[str, str, str, str], Mapping[str, Any]] = {}
    for service in document["services"]:
        found["service", service["profile"], "", service["id"]] = service
    for check in document["checks"]:
        found["check", check["profile"], check["row"], check["id"]] = check
    return found


def _content(document: Mapping[str, Any]) -> Content:
    found = subjects(document)
    names = [check["id"] for check in document["checks"]]
    if len(found) != len(document["services"]) + len(names) or len(set(names)) != len(names):
        raise Unfit("two services or two checks with one id")
    if len(found) > MOST_SUBJECTS or any(len(part) > MOST_NAME for key in found for part in key):
        raise Unfit(f"more than {MOST_SUBJECTS} services and checks, or an id longer than {MOST_NAME} characters")
    parts = {part for service in document["services"] for part in (service["profile"], service["id"])}
    parts |= {part for check in document["checks"] for part in (check["profile"], check["row"], check["id"])}
    if parts & NO_NAMES:
        raise Unfit("an id that is empty, . or ..")
    # A quick run asks some rows only; every other document is the whole plan, and what is not in it is gone.
    whole = document["run"]["trigger"] != "quick"
    body = json.dumps([whole, sorted(_said(key, one) for key, one in found.items())], separators=(",", ":")).encode()
    return Content(digest=hashlib.sha256(body).digest(), body=zlib.compress(body, 6))


def _said(key: tuple[str, str, str, str], one: Mapping[str, Any]) -> list[Any]:
    if key[0] == "service":  # its confidence is no part of the hash, so it is none of what the hash stands for
        return [*key, one["state"], None, one["reason"], one["where"], one["at_least"]]
    return [*key, one["outcome"], one["confidence"], one["reason"], one["where"], None]
