"""Plan → evidence: every check of a stage at once, each bounded by the run's deadline, stoppable at any moment.

A check that the time or the user ended is a Skip, never a guess; a probe that raises is our own bug and ends the run.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast

from roomprobe import probes
from roomprobe.evidence import PathEvidence
from roomprobe.model import Check, Skip
from roomprobe.net import Net
from roomprobe.net.flow import FlowSpec
from roomprobe.net.survey import survey
from roomprobe.outcome import Reason
from roomprobe.probes import Evidence

Done = TypeVar("Done")
LAST_PACKET_S = 14.5  # nobody waits longer than fifteen seconds for a path
MOST_SURVEY_S = 12.0  # a path under routers' default ICMP limits takes about nine
OUT_OF_TIME = Skip(reason=Reason.TIME, sentence="This was not done: the time of this run was over (--timeout).")
STOPPED = Skip(reason=Reason.INTERRUPTED, sentence="This was not done: the run was stopped.")


@dataclasses.dataclass(frozen=True, slots=True)
class Clock:
    """When a run began and has to end (monotonic seconds), and whether somebody wants it to end now."""

    started: float
    deadline: float
    stop: asyncio.Event

    @property
    def left(self) -> float:
        """Seconds that are left, never below zero; zero once stopped."""
        return 0.0 if self.stop.is_set() else max(0.0, self.deadline - time.monotonic())

    async def bounded(self, work: Coroutine[Any, Any, Done]) -> Done | None:
        """What `work` gives; None when the deadline or the stop comes first, and the work is then cancelled."""
        task = asyncio.create_task(work)
        await _until_over([task], self, lambda _: None)
        return None if task.cancelled() else task.result()

    @property
    def why(self) -> Skip:
        """Why a check that could not end did not."""
        return STOPPED if self.stop.is_set() else OUT_OF_TIME


async def _until_over(tasks: Sequence[asyncio.Task[object]], clock: Clock, done: Callable[[int], None]) -> None:
    """Waits for the tasks, the deadline or the stop, whichever is first; what is left is cancelled and awaited."""
    stop = asyncio.create_task(clock.stop.wait())
    pending: set[asyncio.Task[object]] = set(tasks)
    try:
        while pending and clock.left > 0:
            ended, _ = await asyncio.wait({*pending, stop}, timeout=clock.left, return_when=asyncio.FIRST_COMPLETED)
            pending -= ended
            done(len(tasks) - len(pending))
    finally:
        for task in (*pending, stop):
            task.cancel()
        await asyncio.gather(*pending, stop, return_exceptions=True)


async def run_checks(
    checks: Sequence[Check], net: Net, clock: Clock, done: Callable[[int], None]
) -> dict[str, Evidence | Skip]:
    """Evidence by check id, or the Skip of a check that could not be done. Checks planned as skipped are left alone."""
    tasks: dict[str, asyncio.Task[object]] = {}
    for check in checks:
        if check.skip is None:
            tasks[check.id] = asyncio.create_task(probes.load(check.kind).run(check, net), name=check.id)
    if tasks:
        await _until_over(list(tasks.values()), clock, done)
    found: dict[str, Evidence | Skip] = {}
    for check in checks:
        if check.skip is not None:
            found[check.id] = check.skip
        else:
            task = tasks[check.id]
            found[check.id] = clock.why if task.cancelled() else cast(Evidence, task.result())
    return found


async def run_surveys(wanted: dict[str, tuple[FlowSpec, ...]], net: Net, clock: Clock) -> dict[str, PathEvidence]:
    """The ladders of every address, one survey a family, side by side."""
    tasks: list[asyncio.Task[object]] = []
    for v6 in (False, True):
        family = {address: specs for address, specs in wanted.items() if (":" in address) == v6}
        if family and clock.left > 0:
            deadline = min(clock.deadline - 0.2, clock.started + LAST_PACKET_S, time.monotonic() + MOST_SURVEY_S)
            tasks.append(asyncio.create_task(survey(family, net, deadline)))
    found: dict[str, PathEvidence] = {}
    if tasks:
        await _until_over(tasks, clock, lambda _: None)
        for task in tasks:
            if not task.cancelled():
                found.update(cast(dict[str, PathEvidence], task.result()))
    return found
