"""`roomprobe run`: the loop. Waits for the schedule, makes the sweep, hands the report on; signals, reload, watchdog, status.

One sweep at a time; everything beside it (socket, metrics, push, watchdog) is a task of its own on the same loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from roomprobe import config, host
from roomprobe.config import Config, ConfigError
from roomprobe.daemon import clocks, control, lean, logs, memory, settings
from roomprobe.daemon.board import Board
from roomprobe.daemon.clocks import Reading
from roomprobe.daemon.metrics import Metrics
from roomprobe.daemon.notify import Notifier, Pulse
from roomprobe.daemon.outlet import Outlet
from roomprobe.daemon.schedule import Schedule, Sweep, period
from roomprobe.daemon.settings import Settings
from roomprobe.daemon.sweeper import GRACE_S, Sweeper
from roomprobe.model import Host
from roomprobe.net.watch import Watch
from roomprobe.options import Options
from roomprobe.report.document import document
from roomprobe.report.run import Report

TICK_S = 5.0  # the longest sleep, so that waking up from suspend is noticed
HANG_S = 10.0  # how late the loop may be


class Daemon:
    """One daemon. `load` reads the settings anew; `facts` and `read_clocks` are the world."""

    def __init__(
        self,
        load: Callable[[], Settings],
        log: Any,
        *,
        files: Callable[[], list[str]] = list,
        facts: Callable[[Config], Host] = host.gather,
        read_clocks: Callable[[], Reading] = clocks.read,
        notifier: Notifier | None = None,
    ) -> None:
        self.settings = load()
        self.notifier = notifier or Notifier({})
        self._load, self._log, self._files, self._clocks = load, log, files, read_clocks
        now = read_clocks()
        self.board = Board(now)
        self._before = now
        self._spread = secrets.token_hex(8)  # stands for the agent's id while there is none
        kept = memory.recall(self.settings.runtime)
        full_s, quick_s = self._times()
        self.schedule = Schedule(full_s, quick_s, now.boottime, kept.asked if kept else None)
        self._sweeper = Sweeper(self.schedule, kept.results if kept else (), facts)
        self._outlet = Outlet(self.settings, log)
        self._metrics = Metrics(self._exposed)
        self._pulse = Pulse(HANG_S, now.monotonic)
        self._stop, self._wake, self._reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._run_stop = asyncio.Event()
        self._litter = False  # what the last run left lies about still

    async def serve(self) -> None:
        """Until `stop`. ConfigError when it cannot begin at all."""
        async with contextlib.AsyncExitStack() as stack:
            place = self.settings.runtime
            if place is not None:
                server = await control.serve(place, self.status)
                stack.callback(server.close)
            stack.callback(Watch(self._network_changed).close)
            stack.push_async_callback(self._close)
            await self._metrics.listen(self.settings.config.daemon.metrics)
            await self._outlet.open()
            await stack.enter_async_context(_background(self._watchdog()))
            self._log.info("daemon", stage="started", room=self.settings.config.site.room)
            self.notifier.ready(self.board.line())
            while not self._stop.is_set():
                await self._turn()
            self.notifier.stopping()
        self._log.info("daemon", stage="completed")

    def stop(self) -> None:
        """Ends the daemon, and the run that is under way."""
        self._stop.set()
        self._run_stop.set()
        self._wake.set()

    def reload(self) -> None:
        """Reads the configuration anew, as soon as the loop is free."""
        self._reload.set()
        self._wake.set()

    async def status(self) -> dict[str, Any]:
        """What `roomprobe status` shows."""
        outlet = await self._outlet.state()
        if self._metrics.trouble is not None:
            outlet["trouble"].append(self._metrics.trouble)
        return self.board.status(self._clocks(), self.schedule.when(), outlet, self._files())

    # --- the loop

    async def _turn(self) -> None:
        """One sweep, or a wait for the next."""
        if self._reload.is_set():
            await self._reloaded()
        now = self._clocks()
        sweep = self.schedule.next(now.boottime)
        if sweep is not None:
            await self._make(sweep, now)
            return
        wait = min(TICK_S, max(0.0, self.schedule.when()[1] - now.boottime))
        self._pulse.expect(now.monotonic + wait)
        if self._litter and wait >= 1.0:
            lean.give_back()
            self._litter = False
        self._wake.clear()
        if self._stop.is_set() or self._reload.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()

    async def _make(self, sweep: Sweep, now: Reading) -> None:
        log = self._log.bind(trigger=sweep.kind)
        self._pulse.expect(now.monotonic + self.settings.timeout_s + GRACE_S)
        self.board.running = {"trigger": sweep.kind, "started_mono": round(now.monotonic, 3)}
        self._run_stop.clear()
        log.debug("run", stage="started")
        report = None
        try:
            if not self._stop.is_set():
                report = await self._sweeper.sweep(sweep, self.settings, now.boottime, self._run_stop)
            if report is not None:
                await self._report(report, log)
        except Exception as error:
            self.board.trouble = (
                str(error) if isinstance(error, ConfigError) else f"The last run failed: {error!r}"[:300]
            )
            self.board.count(sweep.kind, "failed")
            log.error("run", stage="failed", why=self.board.trouble, exc_info=not isinstance(error, ConfigError))
        finally:
            self.board.running = None
            self._sweeper.over(report, self.settings)
        self._litter = True

    async def _report(self, report: Report, log: Any) -> None:
        if report.run.interrupted:
            self.board.count(report.run.trigger, "stopped")
            log.info("run", stage="failed", why="stopped", id=report.run.id)
            return
        now = self._clocks()
        told = clocks.noticed(self._before, now)
        self._before = now
        if told:
            report = msgspec.structs.replace(report, notes=(*report.notes, *told))
            log.warning("clocks", told=list(told))
        self.board.position = await self._outlet.keep(document(report))
        self.board.trouble = None
        self.board.doubted = tuple(self._sweeper.steady.doubts)
        self.board.count(report.run.trigger, "completed")
        for service, before in self.board.show(report, self._clocks()):
            log.info(
                "service", profile=service.profile, id=service.id, state=service.state.value, before=before,
                sentence=service.sentence,
            )  # fmt: skip
        states = {f"{s.profile}/{s.id}": s.state.value for s in report.services}
        log.info("run", stage="completed", id=report.run.id, duration_s=report.run.duration_s, states=states)
        self.notifier.status(self.board.line())

    async def _reloaded(self) -> None:
        self._reload.clear()
        self.notifier.reloading()
        try:
            fresh = self._load()
        except ConfigError as error:
            self.board.refused = str(error)
            self._log.error("reload", stage="failed", why=str(error))
        else:
            self.board.refused = None
            self.settings = fresh
            if not self._outlet.same_as(fresh):
                await self._outlet.close()
                self._outlet = Outlet(fresh, self._log)
                await self._outlet.open()
            await self._metrics.listen(fresh.config.daemon.metrics)
            self.schedule.change(*self._times(), self._clocks().boottime)
            self._log.info("reload", stage="completed")
        self.notifier.ready(self.board.line())

    async def _close(self) -> None:
        await self._metrics.close()
        await self._outlet.close()

    async def _watchdog(self) -> None:
        """Feeds systemd's watchdog for as long as the loop is where it said it would be."""
        every = (self.notifier.watchdog_s or math.inf) / 4
        if math.isinf(every):
            return
        while True:
            if self._pulse.beats(self._clocks().monotonic):
                self.notifier.alive()
            await asyncio.sleep(every)

    # --- what is asked of it

    def _network_changed(self) -> None:
        self.schedule.network_changed(self._clocks().boottime)
        self._outlet.retry_now()
        self._wake.set()

    def _times(self) -> tuple[float, float]:
        wanted = self.settings.config.schedule
        return period(wanted.full_s, wanted.jitter, self.settings.agent or self._spread), float(wanted.quick_s)

    async def _exposed(self) -> tuple[Board, dict[str, Any]]:
        return self.board, await self._outlet.state()


@contextlib.asynccontextmanager
async def _background(work: Any) -> AsyncIterator[None]:
    """A task for as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def main(options: Options) -> int:
    """`roomprobe run`: 0 when it was told to stop. ConfigError when it cannot begin."""

    def load() -> Settings:
        return settings.load(options)

    def files() -> list[str]:
        return [str(path) for path in config.files(explicit=options.config, env=os.environ)]

    log = logs.set_up()

    async def run() -> None:
        # Before the configuration is read, so that no signal is lost; the loop calls them when the daemon is there.
        daemon: Daemon
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: daemon.stop())
        loop.add_signal_handler(signal.SIGHUP, lambda: daemon.reload())
        daemon = Daemon(load, log, files=files, notifier=Notifier())
        loop.set_exception_handler(lambda _, context: _said(log, context))
        await daemon.serve()

    lean.one_heap()
    asyncio.run(run())
    return 0


def _said(log: Any, context: dict[str, Any]) -> None:
    """What a callback raised outside of a run."""
    error = context.get("exception")
    log.error("loop", stage="failed", why=str(context.get("message")), exc_info=error if error is not None else False)
