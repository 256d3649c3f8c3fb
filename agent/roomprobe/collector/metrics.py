"""Prometheus text (exposition format 0.0.4) of the whole fleet and of the collector itself. A pure read of the store.

A silent room has `roomprobe_room_silent` and nothing else: what it said last says nothing of now. Revoked boxes are left out.
How many series that makes, and what to do about it, stands in docs/monitoring.md.
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from roomprobe import __version__
from roomprobe.collector.across import LIVE
from roomprobe.collector.prepare import BUCKET_MS
from roomprobe.collector.queries import FLEET, SILENT, counters
from roomprobe.model import Frozen
from roomprobe.wire.upload import LossReason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# More than any profile has; one box that makes names up must not fill the monitoring of all rooms.
MOST_SERVICES = 64
MOST_CHECKS = 1000
MOST_CHECKS_OF_ALL = 100_000  # 300,000 series, 50 MB of text, about a second
# The table of docs/vocabulary.md; what cannot be told has no value, neither 0 nor 1.
_MET = {"open": 1, "reached": 1, "passes": 1} | dict.fromkeys(
    ("closed", "filtered", "rejected", "intercepted", "no-target"), 0
)
EXPORTERS = ("webhook", "otlp_logs", "otlp_metrics", "file")

Labels = Mapping[str, str]


class Family(Frozen, frozen=True, kw_only=True):
    """One metric: `kind` is gauge or counter, `samples` are its series."""

    name: str
    kind: str
    help: str
    samples: tuple[tuple[Labels, float], ...]


def families(
    db: sqlite3.Connection,
    now: int,
    waiting: Mapping[str, int],
    writer: Mapping[str, int],
    *,
    checks: bool,
    only: Sequence[str] = (),
) -> list[Family]:
    """Every metric; `waiting` are counts that are not in the store yet, `writer` its commits, jobs and what waits; `only`
    the checks of these rows."""
    out: list[Family] = []
    totals = dict(counters(db))
    for name, value in waiting.items():
        totals[name] = totals.get(name, 0) + value
    _collector(out, db, totals, writer)
    left_out = _rooms(out, db, now)
    if checks:
        left_out += _checks(out, db, now, only)
    _family(
        out, "roomprobe_collector_series_left_out", "gauge",
        f"Services beyond {MOST_SERVICES} and checks beyond {MOST_CHECKS} of one room.", [({}, left_out)],
    )  # fmt: skip
    return out


def text(
    db: sqlite3.Connection,
    now: int,
    waiting: Mapping[str, int],
    writer: Mapping[str, int],
    *,
    checks: bool,
    only: Sequence[str] = (),
) -> str:
    """The same as Prometheus reads it."""
    lines: list[str] = []
    for family in families(db, now, waiting, writer, checks=checks, only=only):
        lines.append(f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n")
        for labels, value in family.samples:
            inner = ",".join(f'{key}="{_label(said)}"' for key, said in labels.items())
            lines.append(f"{family.name}{{{inner}}} {value}\n" if inner else f"{family.name} {value}\n")
    return "".join(lines)


def _collector(out: list[Family], db: sqlite3.Connection, totals: Mapping[str, int], writer: Mapping[str, int]) -> None:
    _family(out, "roomprobe_build_info", "gauge", "The collector's version.", [({"version": __version__}, 1)])
    _family(out, "roomprobe_collector_records_total", "counter", "Records by what became of them.", [
        ({"result": name}, totals.get(f"records_{name}", 0)) for name in ("stored", "repeated")
    ])  # fmt: skip
    _one(out, "roomprobe_collector_uploads_total", "counter", "Uploads that were stored.", totals.get("uploads", 0))
    refused = {("503", "store"): 0}  # there from the start: the first one is an increase
    refused |= {(k[8:11], k[12:]): v for k, v in sorted(totals.items()) if k.startswith("refused_")}
    _family(out, "roomprobe_collector_refused_total", "counter", "Requests refused, by status and why.", [
        ({"status": status, "why": why}, value) for (status, why), value in refused.items()
    ])  # fmt: skip
    _one(out, "roomprobe_collector_commits_total", "counter", "Commits since the start.", writer["commits"])
    _one(out, "roomprobe_collector_jobs_total", "counter", "Jobs in these commits.", writer["jobs"])
    _one(out, "roomprobe_collector_queue_jobs", "gauge", "Jobs that wait for the store.", writer["waiting"])
    pages, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    _one(out, "roomprobe_collector_store_bytes", "gauge", "Size of the store.", pages * size)
    disk = os.statvfs(os.path.dirname(db.execute("PRAGMA database_list").fetchone()[2]))  # noqa: PTH120
    free = disk.f_bavail * disk.f_frsize
    _one(out, "roomprobe_collector_disk_free_bytes", "gauge", "Room left on the disk of the store.", free)
    lost = dict.fromkeys(get_args(LossReason), (0, 0))  # as above
    lost |= {
        row[0]: (row[1], row[2])
        for row in db.execute("SELECT reason, count(*), coalesce(sum(count), 0) FROM loss GROUP BY 1 ORDER BY 1")
    }
    _family(out, "roomprobe_lost_runs", "gauge", "Runs that will never come, by the kept loss records that count them.", [
        ({"reason": reason}, runs) for reason, (_, runs) in lost.items()
    ])  # fmt: skip
    _family(out, "roomprobe_loss_records", "gauge", "Loss records kept; those without a count are in here alone.", [
        ({"reason": reason}, records) for reason, (records, _) in lost.items()
    ])  # fmt: skip
    _family(out, "roomprobe_exporter_events_total", "counter", "What the exporters did with what they had to send.", [
        ({"exporter": name, "result": result}, totals[f"export_{name}_{result}"])
        for name in EXPORTERS for result in ("sent", "failed", "dropped") if f"export_{name}_{result}" in totals
    ])  # fmt: skip


def _rooms(out: list[Family], db: sqlite3.Connection, now: int) -> int:
    rows = db.execute(
        "SELECT room.name AS room, room.site, agent.uuid, agent.last_seen, "
        f"{SILENT} AS silent {FLEET} WHERE agent.revoked IS NULL ORDER BY room.id",
        {"now": now},
    ).fetchall()
    place = [_place(row) for row in rows]
    _family(out, "roomprobe_room_silent", "gauge", "1: nothing was heard of this room for three of its intervals.", [
        (labels, row["silent"]) for labels, row in zip(place, rows, strict=True)
    ])  # fmt: skip
    heard = [
        (labels | {"agent": row["uuid"]}, row["last_seen"] / 1000)
        for labels, row in zip(place, rows, strict=True)
        if row["last_seen"] is not None
    ]
    name = "roomprobe_agent_last_seen_timestamp_seconds"
    _family(out, name, "gauge", "When the room's box was last heard, by the collector's clock.", heard)
    _family(out, "roomprobe_agent_last_seen_seconds", "gauge", "How long ago that was, by the same clock.", [
        (labels, max(0.0, round(now / 1000 - at, 3))) for labels, at in heard
    ])  # fmt: skip
    services, left_out = _bounded(_now(db, now, "service"), MOST_SERVICES)
    _family(out, "roomprobe_service_state", "gauge", "1 for the state that a service is in.", [
        ({**_place(row), "profile": row["profile"], "service": row["name"], "state": row["outcome"], "reason": row["reason"]}, 1)
        for row in services
    ])  # fmt: skip
    return left_out


def _checks(out: list[Family], db: sqlite3.Connection, now: int, only: Sequence[str]) -> int:
    found, left_out = _bounded(_now(db, now, "check", only), MOST_CHECKS)
    if len(found) + left_out == MOST_CHECKS_OF_ALL:
        left_out += max(0, _how_many(db, now, only) - MOST_CHECKS_OF_ALL)
    labels = [{**_place(row), "profile": row["profile"], "row": row["row"], "check": row["name"]} for row in found]
    _family(out, "probe_success", "gauge", "1: the requirement is met, 0: it is not; none: cannot tell.", [
        (one, _MET[row["outcome"]]) for one, row in zip(labels, found, strict=True) if row["outcome"] in _MET
    ])  # fmt: skip
    times = _durations(db, now, only, found[-1]["room_id"]) if found else {}
    _family(out, "probe_duration_seconds", "gauge", "Round-trip time, the mean of the newest five minutes that have one.", [
        (one, times[row["room"], row["name"]]) for one, row in zip(labels, found, strict=True)
        if (row["room"], row["name"]) in times
    ])  # fmt: skip
    _family(out, "roomprobe_check_outcome", "gauge", "1 for the outcome of a check.", [
        (one | {"outcome": row["outcome"], "reason": row["reason"]}, 1) for one, row in zip(labels, found, strict=True)
    ])  # fmt: skip
    return left_out


_SAYS = (
    "FROM subject CROSS JOIN interval i ON i.subject = subject.id AND i.last = 1 JOIN live ON live.chain = i.chain "
    "WHERE kind = :kind AND i.outcome IS NOT NULL AND NOT silent "
    "AND (:only IS NULL OR row IN (SELECT value FROM json_each(:only)))"
)


def _now(db: sqlite3.Connection, now: int, kind: str, only: Sequence[str] = ()) -> list[sqlite3.Row]:
    """What every room says now that is not silent, in the order of the rooms' numbers."""
    return db.execute(
        f"{LIVE} SELECT room_id, room, site, profile, row, subject.name, outcome, reason "
        f"{_SAYS} ORDER BY room_id, subject.id LIMIT :most",
        {
            "kind": kind,
            "now": now,
            "only": json.dumps(only) if only else None,
            "most": MOST_CHECKS_OF_ALL if kind == "check" else -1,
        },
    ).fetchall()


def _how_many(db: sqlite3.Connection, now: int, only: Sequence[str]) -> int:
    values = {"kind": "check", "now": now, "only": json.dumps(only) if only else None}
    return int(db.execute(f"{LIVE} SELECT count(*) {_SAYS}", values).fetchone()[0])


def _durations(db: sqlite3.Connection, now: int, only: Sequence[str], last: int) -> dict[tuple[str, str], float]:
    """(room, check) → seconds, of these rows and of the rooms up to number `last`."""
    rows = db.execute(
        # SQLite takes the other columns from the row of max: the newest bucket.
        "SELECT room.name, series.name, aggregate.sum, aggregate.n, max(bucket) FROM room CROSS JOIN agent ON agent.id = room.agent "
        "CROSS JOIN aggregate ON aggregate.agent = agent.id AND bucket >= (:now - 3 * agent.every_ms) / :width "
        "JOIN series ON series.id = aggregate.series WHERE room.id <= :last AND (:only IS NULL OR series IN "
        "(SELECT series.id FROM subject JOIN series ON series.name = subject.name WHERE kind = 'check' "
        "AND row IN (SELECT value FROM json_each(:only)))) GROUP BY room.id, series",
        {"now": now, "width": BUCKET_MS, "only": json.dumps(only) if only else None, "last": last},
    )
    return {(room, check): round(total / count / 1e6, 6) for room, check, total, count, _ in rows}


def _bounded(rows: list[sqlite3.Row], most: int) -> tuple[list[sqlite3.Row], int]:
    kept: list[sqlite3.Row] = []
    room, count = None, 0
    for row in rows:
        room, count = row["room"], count + 1 if row["room"] == room else 1
        if count <= most:
            kept.append(row)
    return kept, len(rows) - len(kept)


def _place(row: sqlite3.Row) -> dict[str, str]:
    return {"room": row["room"], "site": row["site"] or ""}


def _one(out: list[Family], name: str, kind: str, help: str, value: float) -> None:
    _family(out, name, kind, help, [({}, value)])


def _family(out: list[Family], name: str, kind: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:
    out.append(Family(name=name, kind=kind, help=help, samples=tuple(samples)))


@functools.lru_cache(1 << 15)  # a fleet's names, each of them in many lines
def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
