"""Prometheus text (exposition format 0.0.4) of the whole fleet and of the collector itself. A pure read of the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from roomprobe.collector.queries import FLEET, SILENT, counters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(
    db: sqlite3.Connection, now: int, waiting: Mapping[str, int], writer: Mapping[str, int], *, checks: bool
) -> str:
    """Every metric; `waiting` are counts that are not in the store yet."""
    lines: list[str] = []
    totals = dict(counters(db))
    for name, value in waiting.items():
        totals[name] = totals.get(name, 0) + value
    _family(lines, "roomprobe_collector_records_total", "counter", "Records by what became of them.", [
        ({"result": name}, totals.get(f"records_{name}", 0)) for name in ("stored", "repeated")
    ])  # fmt: skip
    _family(
        lines,
        "roomprobe_collector_uploads_total",
        "counter",
        "Uploads that were stored.",
        [({}, totals.get("uploads", 0))],
    )
    refused = [({"status": k[8:11], "why": k[12:]}, v) for k, v in sorted(totals.items()) if k.startswith("refused_")]
    _family(lines, "roomprobe_collector_refused_total", "counter", "Requests refused, by status and why.", refused)
    _family(
        lines, "roomprobe_collector_commits_total", "counter", "Commits since the start.", [({}, writer["commits"])]
    )
    _family(lines, "roomprobe_collector_jobs_total", "counter", "Jobs in these commits.", [({}, writer["jobs"])])
    rows = db.execute(
        f"SELECT room.name AS room, room.site, agent.uuid, agent.last_seen, chain.version, {SILENT} AS silent {FLEET} ORDER BY room.id",
        {"now": now},
    ).fetchall()
    place = [{"room": row["room"], "site": row["site"] or ""} for row in rows]
    _family(lines, "roomprobe_room_silent", "gauge", "1: nothing was heard of this room for three of its intervals.", [
        (labels, row["silent"]) for labels, row in zip(place, rows, strict=True)
    ])  # fmt: skip
    _family(lines, "roomprobe_agent_last_seen_timestamp_seconds", "gauge", "When the room's box was last heard.", [
        (labels | {"agent": row["uuid"]}, row["last_seen"] / 1000)
        for labels, row in zip(place, rows, strict=True) if row["last_seen"] is not None
    ])  # fmt: skip
    services = _now(db, "service")
    _family(lines, "roomprobe_service_state", "gauge", "1 for the state that a service is in.", [
        ({**_place(row), "profile": row["profile"], "service": row["name"], "state": row["outcome"], "reason": row["reason"]}, 1)
        for row in services
    ])  # fmt: skip
    if checks:
        found = _now(db, "check")
        labels = [{**_place(row), "profile": row["profile"], "row": row["row"], "check": row["name"]} for row in found]
        _family(lines, "probe_success", "gauge", "1: the room system's own traffic gets an answer or is let out.", [
            (one, int(row["outcome"] in ("open", "reached", "passes"))) for one, row in zip(labels, found, strict=True)
        ])  # fmt: skip
        _family(lines, "roomprobe_check_outcome", "gauge", "1 for the outcome of a check.", [
            (one | {"outcome": row["outcome"], "reason": row["reason"]}, 1) for one, row in zip(labels, found, strict=True)
        ])  # fmt: skip
    return "".join(lines)


def _now(db: sqlite3.Connection, kind: str) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT room.name AS room, room.site, profile, row, subject.name, outcome, reason FROM room "
        "JOIN agent ON agent.id = room.agent JOIN interval ON interval.chain = agent.chain AND interval.last = 1 "
        "JOIN subject ON subject.id = interval.subject WHERE kind = ? AND outcome IS NOT NULL ORDER BY room.id, subject.id",
        (kind,),
    ).fetchall()


def _place(row: sqlite3.Row) -> dict[str, str]:
    return {"room": row["room"], "site": row["site"] or ""}


def _family(
    lines: list[str], name: str, kind: str, help: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> None:
    lines.append(f"# HELP {name} {help}\n# TYPE {name} {kind}\n")
    for labels, value in samples:
        inner = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value}\n" if inner else f"{name} {value}\n")


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
