"""What the daemon knows of itself and of the last run, for `status`, for /metrics and for systemd's one line."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import Any

from roomprobe import __version__
from roomprobe.daemon.clocks import Reading
from roomprobe.model import Service
from roomprobe.outcome import State
from roomprobe.report.run import Report

WORST = (State.BROKEN, State.DEGRADED, State.UNKNOWN, State.FULL)


def told(wall: float) -> str:
    """Seconds since 1970 as RFC 3339 UTC."""
    return datetime.datetime.fromtimestamp(wall, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Board:
    """Written to by the loop, read by everybody else."""

    def __init__(self, started: Reading) -> None:
        self.started = started
        self.report: Report | None = None
        self.position: tuple[str, int] | None = None
        self.ended: float | None = None  # boottime
        self.running: dict[str, Any] | None = None
        self.refused: str | None = None
        self.trouble: str | None = None
        self.doubted: tuple[str, ...] = ()
        self.runs: dict[tuple[str, str], int] = {}
        self.since: dict[tuple[str, str], tuple[str, str]] = {}

    def count(self, trigger: str, result: str) -> None:
        """One more run that was completed, failed, or stopped."""
        self.runs[trigger, result] = self.runs.get((trigger, result), 0) + 1

    def show(self, report: Report, now: Reading) -> list[tuple[Service, str | None]]:
        """Takes a report; the services of which something else is said now, each with what was said before."""
        changed = []
        since = {}
        for service in report.services:
            name = (service.profile, service.id)
            before = self.since.get(name)
            if before is not None and before[0] == service.state.value:
                since[name] = before
            else:
                since[name] = (service.state.value, told(now.wall))
                changed.append((service, None if before is None else before[0]))
        self.since = since
        self.report, self.ended = report, now.boottime
        return changed

    def line(self) -> str:
        """systemd's one line: the worst state, when, and where a call would go."""
        if self.report is None:
            return "the first run is under way"
        states = {service.state for service in self.report.services}
        worst = next((state.value for state in WORST if state in states), "nothing to judge")
        at = datetime.datetime.fromisoformat(self.report.run.started).astimezone().strftime("%H:%M")
        call = next((s for s in self.report.services if s.transport), None)
        parts = [worst, at]
        if call is not None and call.transport is not None:
            protocol, _, port = call.transport.partition("/")
            host = next((r.check.host for r in self.report.results
                         if r.check.transport == protocol and str(r.check.port) == port and call.id in r.check.services), None)  # fmt: skip
            parts.append(f"{host} {call.transport}" if host else call.transport)
        if self.refused is not None:
            parts.append("the new configuration was refused")
        return " · ".join(parts)

    def status(
        self, now: Reading, upcoming: tuple[str, float], outlet: Mapping[str, Any], files: list[str]
    ) -> dict[str, Any]:
        """All of it as plain values (docs/daemon.md)."""
        report = self.report
        kind, at = upcoming
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started": told(self.started.wall),
            "up_s": round(now.boottime - self.started.boottime),
            "configuration": files,
            "refused": self.refused,
            "trouble": [*([self.trouble] if self.trouble else []), *outlet["trouble"]],
            "services": [] if report is None else [self._service(service) for service in report.services],
            "doubted": list(self.doubted),
            "notes": [] if report is None else list(report.notes),
            "last_run": None if report is None else self._run(report, now),
            "running": self.running,
            "next_run": {"trigger": kind, "in_s": max(0, round(at - now.boottime))},
            "runs": {f"{trigger} {result}": n for (trigger, result), n in sorted(self.runs.items())},
            "spool": outlet["spool"],
            "push": outlet["push"],
        }

    def _service(self, service: Service) -> dict[str, Any]:
        return {
            "profile": service.profile,
            "id": service.id,
            "state": service.state.value,
            "at_least": service.at_least.value if service.at_least else None,
            "since": self.since[service.profile, service.id][1],
            "transport": service.transport,
            "sentence": service.sentence,
        }

    def _run(self, report: Report, now: Reading) -> dict[str, Any]:
        run = report.run
        return {
            "id": run.id,
            "trigger": run.trigger,
            "started": run.started,
            "duration_s": run.duration_s,
            "ago_s": None if self.ended is None else round(now.boottime - self.ended),
            "epoch": self.position[0] if self.position else None,
            "seq": self.position[1] if self.position else None,
        }
