"""One sweep: the facts of this box afresh, the plan, what of it is asked now, the run, and what is reported of it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping

import msgspec

from roomprobe import pipeline, plan
from roomprobe.config import Config
from roomprobe.daemon import memory, steady
from roomprobe.daemon.schedule import Schedule, Sweep, key
from roomprobe.daemon.settings import Settings
from roomprobe.daemon.steady import Steady
from roomprobe.evidence import PathEvidence
from roomprobe.link import known
from roomprobe.model import Check, Host, Plan, Result
from roomprobe.report.progress import Progress
from roomprobe.report.run import Report

GRACE_S = 10.0  # beyond a run's own time


class Stuck(Exception):
    """A run did not come back in time and was cut off."""


class Sweeper:
    """Makes the sweeps of one daemon; remembers between them. `facts` gathers what this box knows of itself."""

    def __init__(self, schedule: Schedule, reported: tuple[Result, ...], facts: Callable[[Config], Host]) -> None:
        self.schedule = schedule
        self.steady = Steady(reported)
        self._facts = facts
        self._where: tuple[object, ...] | None = None
        self._askable: dict[str, float] = {}
        self._paths: dict[str, PathEvidence] = {}

    async def sweep(self, sweep: Sweep, settings: Settings, now: float, stop: asyncio.Event) -> Report | None:
        """The report; None when nothing was to be asked. `now` is the schedule's time.

        The schedule is told of the beginning in any case, so that a sweep that fails is not made again at once.
        """
        try:
            here = self._facts(settings.config)
            made = plan.make(
                settings.profiles, settings.config, here, only=settings.only, port_offset=settings.port_offset
            )
        except BaseException:
            self.schedule.begun(sweep, (), now)
            raise
        moved = self.steady.moved(here)
        if moved:
            self._paths.clear()
        where = (steady.network(here), here.trouble)
        news, self._where = moved or where != self._where, where
        chosen = self.schedule.chosen(sweep, made, now)
        if here.trouble is not None:
            chosen = tuple(check for check in chosen if check.kind == "controller")
        if sweep.kind == "network" and not news:
            chosen = ()  # a router advertisement changes nothing
        self.schedule.begun(sweep, chosen, now)
        self.steady.keep({key(check) for check in made.checks})
        if not chosen and not news and sweep.kind != "full":
            return None
        memory.keep(settings.runtime, self.schedule.asked, self._reported())
        report = await self._measured(sweep, settings, here, made, chosen, stop)
        memory.keep(settings.runtime, self.schedule.asked, self._reported())
        return report

    def over(self, report: Report | None, settings: Settings) -> None:
        """The sweep is over, well or not: what is to be confirmed and checked quickly from here on."""
        quick = None
        if report is not None:
            self._askable = {
                key(r.check): float(r.check.min_interval_s) for r in report.results if r.check.skip is None
            }
            quick = {row: self._askable[row] for row in quick_rows(report) if row in self._askable}
        doubted = {row: self._askable[row] for row in self.steady.doubts if row in self._askable}
        self.schedule.ended(doubted, quick)

    def _reported(self) -> tuple[Result, ...]:
        return tuple(result for results in self.steady.reported.values() for result in results)

    async def _measured(
        self, sweep: Sweep, settings: Settings, here: Host, made: Plan, chosen: tuple[Check, ...], stop: asyncio.Event
    ) -> Report:
        asked = {key(check) for check in chosen}
        told = [c for c in made.checks if c.skip is not None or (here.trouble is not None and c.kind != "controller")]
        part = [check for check in made.checks if check in chosen or check in told]
        rest = [check for check in made.checks if check not in part]
        order = {(check.profile, check.row): number for number, check in enumerate(made.checks)}
        standing = self.steady.standing(rest)

        before = tuple(self._paths[a] for a in dict.fromkeys(r.check.address for r in standing) if a in self._paths)

        def settled(fresh: tuple[Result, ...]) -> tuple[Result, ...]:
            for result in fresh:
                self._paths.pop(result.check.address or "", None)
            for row in asked:
                self.schedule.sent(row, somewhere=any(steady.sent(r) for r in fresh if key(r.check) == row))
            results = [*self.steady.take(fresh, asked), *standing]
            return tuple(sorted(results, key=lambda r: order[r.check.profile, r.check.row]))

        certificates = known.read(settings.state)
        resident = pipeline.Resident(
            trigger=sweep.kind,
            stop=stop,
            standing=standing,
            paths=before,
            settled=settled,
        )
        try:
            async with asyncio.timeout(settings.timeout_s + GRACE_S):
                report = await pipeline.measure(
                    Plan(profiles=made.profiles, checks=tuple(part)),
                    settings.config,
                    here,
                    settings.timeout_s,
                    Progress(io.StringIO()),
                    {address: seen.sha256 for address, seen in certificates.items()},
                    resident,
                )
        except TimeoutError:
            raise Stuck(f"The run did not end within {settings.timeout_s + GRACE_S:.0f} s and was cut off.") from None
        self._paths |= {path.address: path for path in report.paths}
        return self._finished(report, settings, certificates)

    def _finished(self, report: Report, settings: Settings, certificates: Mapping[str, known.Seen]) -> Report:
        unkept = known.remember(settings.state, certificates, known.shown(report))
        notes = (*report.notes, *steady.notes(self.steady.doubts, report.results), *([unkept] if unkept else []))
        return msgspec.structs.replace(report, notes=notes, agent_id=settings.agent)


def quick_rows(report: Report) -> tuple[str, ...]:
    """The keys of the rows that the room system's own walk ended on: what it uses, or what it tried last."""
    found: dict[str, None] = {}
    for service in report.services:
        if service.walk is None or not service.walk.steps:
            continue
        ended = service.walk.transport or service.walk.steps[-1].transport
        for result in report.results:
            check = result.check
            if check.profile == service.profile and service.id in check.services and check.kind != "dns":
                if f"{check.transport}/{check.port}" == ended:
                    found[key(check)] = None
    return tuple(found)
