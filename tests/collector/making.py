"""Documents and records for the collector's tests: small, valid against the report's schema, and made from a few words."""

from __future__ import annotations

import copy
import functools
import uuid
from collections.abc import Mapping
from typing import Any

from roomprobe.changes import outcome_hash
from roomprobe.report.document import document as to_document
from roomprobe.wire.upload import Full, Loss, Same
from tests.report import samples

AGENT = "7a0c3a52-6fd6-41c8-aca5-bfc8ebc98737"
EPOCH = "00112233aabbccdd"
BEGIN = 1_790_000_000_000  # when the tests' agents were enrolled, milliseconds
STEP = 300_000


@functools.cache
def _sample() -> dict[str, Any]:
    return to_document(samples.full())


def stamp(at: int) -> str:
    """Milliseconds since 1970 as RFC 3339."""
    import datetime

    moment = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


def run(seq: int, *, epoch: str = EPOCH, agent: str = AGENT, at: int | None = None, **more: Any) -> dict[str, Any]:
    """The run part; its id follows from agent, epoch and number."""
    return {
        "id": str(uuid.uuid5(uuid.UUID(agent), f"{epoch}-{seq}")),
        "epoch": epoch,
        "seq": seq,
        "trigger": "schedule",
        "started": stamp(BEGIN + STEP * seq if at is None else at),
        "started_mono": 100.0 + seq,
        "duration_s": 1.5,
        "clock_synced": True,
        "interrupted": False,
    } | more


def document(
    seq: int,
    outcomes: Mapping[str, str],
    *,
    state: str = "full",
    agent: str = AGENT,
    sentence: str | None = None,
    host: str = "config.starleaf.com",
    **more: Any,
) -> dict[str, Any]:
    """A document whose checks are the rows of `outcomes` (row → "open", or "skipped/interval" with the reason)."""
    whole = copy.deepcopy(_sample())
    service, check = whole["services"][0], whole["checks"][0]
    whole["agent"] = {"id": agent, "version": "0.1.0"}
    whole["run"] = run(seq, agent=agent, **more)
    reason = {"full": "all-met", "broken": "required-not-met"}.get(state, "silence")
    words = sentence or f"as of run {seq}"
    whole["services"] = [service | {"id": "calls", "state": state, "reason": reason, "sentence": words}]
    whole["checks"] = []
    for number, (row, said) in enumerate(outcomes.items()):
        outcome, _, why = said.partition("/")
        whole["checks"].append(
            check
            | {"id": f"starleaf/{row}/{host}/203.0.113.10/tcp/443", "row": row, "host": host, "outcome": outcome}
            | {"reason": why or "verified", "sentence": f"{row} {outcome} {words}", "where": None, "hop": None}
            | {"rtt_ms": 10.0 + number + seq % 7 if outcome == "open" else None, "evidence": {"type": "x", "of": seq}}
        )
    whole["paths"], whole["links"], whole["search"] = [], [], None
    return whole


def full(seq: int, outcomes: Mapping[str, str], *, agent: str = AGENT, epoch: str = EPOCH, **more: Any) -> Full:
    """A full record."""
    made = document(seq, outcomes, agent=agent, epoch=epoch, **more)
    return Full(agent=agent, epoch=epoch, seq=seq, hash=outcome_hash(made), document=made)


def same(seq: int, of: Full, numbers: Mapping[str, float] | None = None, **more: Any) -> Same:
    """A record that says the same as `of`."""
    one = run(seq, agent=of.agent, epoch=of.epoch, **more)
    return Same(agent=of.agent, epoch=of.epoch, seq=seq, hash=of.hash, run=one, numbers=dict(numbers or {}))


def loss(seq: int, first: int, last: int, *, agent: str = AGENT, epoch: str = EPOCH, count: int | None = None) -> Loss:
    """A loss record."""
    return Loss(
        agent=agent,
        epoch=epoch,
        seq=seq,
        of=epoch,
        first=first,
        last=last,
        count=last - first + 1 if count is None else count,
        since=None,
        until=None,
        reason="spool-full",
    )
