"""Simulated rooms: real reports from the lab, when the daemon's own schedule would make them, sent whole or in short as its spool does.

A situation changes as a whole, and is reported at the second sweep that finds it, as the daemon does.
"""

from __future__ import annotations

import json
import random
import subprocess
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from roomprobe.changes import outcome_hash
from roomprobe.collector.pages import told, words
from roomprobe.daemon.schedule import Schedule, Sweep, key, period
from roomprobe.daemon.sweeper import quick_rows
from roomprobe.model import Frozen, Plan
from roomprobe.outcome import Outcome
from roomprobe.sections import ScheduleSection
from roomprobe.spool import records
from roomprobe.wire.upload import Full, Record
from tests.collector.making import stamp
from tests.lab import faults, peers, product
from tests.lab.network import Lab

Document = Mapping[str, Any]
EPOCH = "00112233aabbccdd"
HOUR_S = 3600
DAY_S = 24 * HOUR_S
# From, to (hours of each day), and what is so then. Of 50 rooms one has an outage, one flaps, two change once, the others are well.
STEADY: tuple[tuple[float, float, str], ...] = ()
ONCE = ((9.2, 13.4, "no-udp"),)
FLAPPING = tuple((hour + 0.3, hour + 0.8, "no-udp") for hour in range(0, 24, 4))
OUTAGE = ((10.1, 13.1, "nothing"),)


def reports() -> dict[str, Document]:
    """One real run for each situation: all open, UDP dropped at the room's firewall, TCP too."""
    found = {}
    with Lab() as lab:
        peers.everything(lab)
        argv, needed = product.command(lab, ["--once", "--json"], None)
        enter = product.entered(lab, argv, "room", product.NOBODY, lab.resolvers, None)

        def run() -> Document:
            made = subprocess.run(enter, env={**product.BASE_ENV, **needed}, stdout=subprocess.PIPE, check=False)
            report: Document = json.loads(made.stdout)
            return report

        found["open"] = run()
        with faults.udp_drop(lab, "fw"):
            found["no-udp"] = run()
            with faults.tcp_drop(lab, "fw"):
                found["nothing"] = run()
    return found


def troubles(number: int) -> tuple[tuple[float, float, str], ...]:
    """What happens in a room every day."""
    return {0: OUTAGE, 1: FLAPPING, 2: ONCE, 3: ONCE}.get(number % 50, STEADY)


class Situation(Frozen, frozen=True, kw_only=True):
    """A report as one room would make it: `said` is what each row states, `plan` its checks with their intervals."""

    document: dict[str, Any]
    hash: str
    said: dict[str, frozenset[tuple[Any, ...]]]
    quick: tuple[str, ...]
    rows: dict[str, str]
    plan: Plan


def situation(document: Document, site: int) -> Situation:
    """The report as a room of this site would make it: another site has another network and other resolvers."""
    text = json.dumps(document).replace("192.168.50.", f"10.50.{site}.").replace("fd00:50::", f"fd00:50:{site:x}::")
    here: dict[str, Any] = json.loads(text)
    report = told.report(here)
    assert report is not None
    said: dict[str, set[tuple[Any, ...]]] = {}
    for result in report.results:
        verdict = result.verdict
        said.setdefault(key(result.check), set()).add(
            (verdict.outcome, verdict.reason, verdict.where, verdict.confidence)
        )
    checks = tuple(
        msgspec.structs.replace(
            one.check, min_interval_s=words.rows(one.check.profile, one.check.row)[0].min_interval_s
        )
        for one in report.results
        if one.verdict.outcome is not Outcome.SKIPPED
    )
    return Situation(
        document=here,
        hash=outcome_hash(here),
        said={row: frozenset(values) for row, values in said.items()},
        quick=quick_rows(report),
        rows={one.check.id: key(one.check) for one in report.results},
        plan=Plan(profiles=(), checks=checks),
    )


class Room:
    """One box. `often`: its profile lets the rows of the quick checks be asked as often as these come. `seq`: its first number."""

    def __init__(
        self,
        agent: str,
        situations: Mapping[str, Situation],
        trouble: Sequence[tuple[float, float, str]] = STEADY,
        *,
        often: bool = False,
        seq: int = 0,
    ) -> None:
        self.agent = agent
        self._situations = situations
        self._trouble = trouble
        self._often = often
        self._chance = random.Random(agent)
        self._seq = seq
        self._last: records.Last | None = None

    def runs(self, begin_s: int, days: float) -> Iterator[tuple[int, Record]]:
        """(milliseconds, record) of every run from `begin_s` (a midnight) on."""
        wanted = ScheduleSection()
        end = days * DAY_S
        schedule = Schedule(period(wanted.full_s, wanted.jitter, self.agent), wanted.quick_s, 0.0)
        reported = self._now(0.0)
        doubted: Situation | None = None
        now = self._chance.uniform(0, wanted.full_s)
        while now < end:
            sweep = schedule.next(now)
            assert sweep is not None
            actual = self._now(now)
            asked = self._asked(schedule, sweep, actual, now)
            changed = {row for row in asked if actual.said[row] != reported.said[row]}
            if changed:
                reported, doubted = (actual, None) if doubted is actual else (reported, actual)
            elif doubted is not None and actual is reported:
                doubted = None
            if asked or sweep.kind == "full":
                at = round((begin_s + now) * 1000)
                yield at, self._record(at, sweep, reported, asked - (changed if doubted else set()))
            intervals = {key(check): 0 if self._often else check.min_interval_s for check in actual.plan.checks}
            schedule.ended(
                {row: float(intervals[row]) for row in changed if doubted},
                {row: float(intervals[row]) for row in reported.quick if row in intervals},
            )
            now = max(now, schedule.when()[1])

    def _asked(self, schedule: Schedule, sweep: Sweep, actual: Situation, now: float) -> set[str]:
        made = actual.plan
        if self._often:
            made = Plan(
                profiles=(),
                checks=tuple(
                    msgspec.structs.replace(c, min_interval_s=0) if key(c) in actual.quick else c for c in made.checks
                ),
            )
        chosen = schedule.chosen(sweep, made, now)
        schedule.begun(sweep, chosen, now)
        return {key(check) for check in chosen}

    def _now(self, at: float) -> Situation:
        hour = at / HOUR_S % 24
        named = (name for begin, end, name in self._trouble if begin <= hour < end)
        return self._situations[next(named, "open")]

    def _record(self, at: int, sweep: Sweep, so: Situation, measured: Collection[str]) -> Record:
        """The run as the spool makes it; what was not asked has no round-trip time."""
        run = so.document["run"] | {
            "id": str(uuid.UUID(int=self._chance.getrandbits(128), version=4)),
            "trigger": sweep.kind,
            "started": stamp(at),
            "started_mono": at / 1000,
            "clock_synced": True,
        }
        checks = [
            check | {"rtt_ms": round(check["rtt_ms"] * self._chance.uniform(50, 60), 3)}  # the lab's far end is near
            if check["rtt_ms"] is not None and so.rows[check["id"]] in measured
            else check | {"rtt_ms": None}
            for check in so.document["checks"]
        ]
        document = so.document | {"run": run, "checks": checks}
        full = records.full_wanted(self._last, so.hash, at / 1000)
        made = records.record(document, so.hash, self.agent, EPOCH, self._seq, full=full)
        self._seq += 1
        if isinstance(made, Full):
            self._last = records.Last(hash=so.hash, at=at / 1000)
        return made
