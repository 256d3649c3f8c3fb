"""What a report document says in short, and what changed between two of them. Pure: documents in, values out.

The hash covers the statements only (states, outcomes, reasons, places), never numbers, sentences, evidence or times: two runs
that found the same have the same hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from roomprobe.model import Frozen

Document = Mapping[str, Any]


class Said(Frozen, frozen=True, kw_only=True):
    """What was said of a service or a check: `word` is the state of a service, the outcome of a check."""

    word: str
    reason: str
    where: str | None
    confidence: str
    sentence: str
    at_least: str | None = None


class Change(Frozen, frozen=True, kw_only=True):
    """One service or check of which something else is said now. `before` None: it is new; `after` None: it is gone.

    `id` is the service's id, or the check's; `row` is None for a service.
    """

    kind: Literal["service", "check"]
    profile: str
    id: str
    row: str | None
    before: Said | None
    after: Said | None


def outcome_hash(document: Document) -> str:
    """The first 32 hex digits of SHA-256 over canonical JSON (ASCII, no blanks) of two sorted lists.

    [[profile, service id, state, at_least, reason, where] ...] and [[check id, outcome, reason, where, confidence] ...].
    """
    services = [[s["profile"], s["id"], *_service_key(s)] for s in document["services"]]
    checks = [[c["id"], *_check_key(c)] for c in document["checks"]]
    canonical = json.dumps([sorted(services, key=_order), sorted(checks, key=_order)], separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:32]


def between(before: Document, after: Document) -> tuple[Change, ...]:
    """Every service and check of which `after` says something else: services first, each in the order of `after`.

    Empty exactly when the hashes are the same (ids are unique in a document).
    """
    return (
        *_compare("service", _services(before), _services(after)),
        *_compare("check", _checks(before), _checks(after)),
    )


def _compare(kind: Literal["service", "check"], before: _Told, after: _Told) -> list[Change]:
    found = []
    for key in [*after, *(key for key in before if key not in after)]:
        was, now = before.get(key), after.get(key)
        if was is None or now is None or was[0] != now[0]:
            profile, row, _ = (now or was or ((), ("", None, None)))[1]
            found.append(
                Change(
                    kind=kind,
                    profile=profile,
                    id=key[-1],
                    row=row,
                    before=was[1][2] if was else None,
                    after=now[1][2] if now else None,
                )
            )
    return found


# Key → what the hash covers of it, and (profile, row, what was said).
_Told = dict[tuple[str, ...], tuple[tuple[Any, ...], tuple[str, str | None, Any]]]


def _services(document: Document) -> _Told:
    return {
        (s["profile"], s["id"]): (
            _service_key(s),
            (s["profile"], None, _said(s, s["state"], s["at_least"])),
        )
        for s in document["services"]
    }


def _checks(document: Document) -> _Told:
    return {(c["id"],): (_check_key(c), (c["profile"], c["row"], _said(c, c["outcome"]))) for c in document["checks"]}


def _service_key(service: Document) -> tuple[Any, ...]:
    return (service["state"], service["at_least"], service["reason"], service["where"])


def _check_key(check: Document) -> tuple[Any, ...]:
    return (check["outcome"], check["reason"], check["where"], check["confidence"])


def _said(of: Document, word: str, at_least: str | None = None) -> Said:
    return Said(
        word=word,
        reason=of["reason"],
        where=of["where"],
        confidence=of["confidence"],
        sentence=of["sentence"],
        at_least=at_least,
    )


def _order(item: list[Any]) -> list[tuple[bool, str]]:
    return [(part is not None, part or "") for part in item]
