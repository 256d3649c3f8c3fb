"""Where the daemon's runs go: into the spool and from there to the collector, and into the NDJSON file; each only when configured.

Trouble of either is a sentence for `status`, never the end of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from roomprobe.daemon.settings import Settings, trust

AGAIN_S = 60.0
CLOSING_S = 1.0


class Outlet:
    """The sinks of one configuration."""

    def __init__(self, settings: Settings, log: Any) -> None:
        self.settings = settings
        self._log = log
        self._spool: Any = None
        self._push: Any = None
        self._pushing: asyncio.Task[None] | None = None
        self._file: Any = None
        self._trouble: str | None = None
        self._undelivered: str | None = None
        if settings.config.daemon.ndjson is not None:
            from roomprobe.sinks.ndjson import NdjsonFile

            self._file = NdjsonFile(Path(settings.config.daemon.ndjson))

    def same_as(self, settings: Settings) -> bool:
        """Whether another configuration needs no other outlet."""
        return _parts(self.settings) == _parts(settings)

    async def open(self) -> None:
        """Opens the spool and begins to push, when there is a collector and it is not done yet."""
        collector, state = self.settings.config.collector, self.settings.state
        if collector.url is None or collector.agent is None or self._spool is not None:
            return
        if state is None:
            self._trouble = "There is no directory for the spool: set [daemon] state_dir."
            return
        from roomprobe.sinks.push import Push, Target
        from roomprobe.spool import Spool, SpoolError

        spool = Spool(state / "spool", collector.agent, most_bytes=self.settings.config.daemon.spool_mib << 20)
        try:
            await spool.open()
        except SpoolError as error:
            self._said(str(error))
            return
        self._trouble = None
        target = Target(
            url=collector.url, token_file=collector.token_file, trust=trust(collector), proxy=collector.proxy
        )
        self._spool = spool
        self._push = Push(spool, target, self.settings.config.schedule.full_s)
        self._pushing = asyncio.create_task(self._keep_pushing(), name="push")

    async def keep(self, document: Mapping[str, Any]) -> tuple[str, int] | None:
        """Puts a report document everywhere; its (epoch, seq) in the spool, None without one."""
        if self._file is not None and not await self._file.write(document):
            self._log.warning("ndjson", stage="failed", why=self._file.trouble)
        await self.open()
        if self._spool is None:
            return None
        from roomprobe.spool import NotKept

        self._push_said()
        try:
            position = await self._spool.append(document)
        except NotKept as error:
            self._log.error("spool", stage="failed", why=str(error))
            return None
        return position.epoch, position.seq

    def retry_now(self) -> None:
        """The network is another one: whatever waits may try again."""
        if self._push is not None:
            self._push.retry_now()

    async def state(self) -> dict[str, Any]:
        """For `status`."""
        spool = None if self._spool is None else msgspec.to_builtins(await self._spool.state())
        push = None if self._push is None else msgspec.to_builtins(self._push.state)
        trouble = [t for t in (self._trouble, self._file.trouble if self._file else None) if t]
        return {"spool": spool, "push": push, "trouble": trouble}

    async def close(self) -> None:
        """Everything that was produced is on the disk; what is on its way is sent again at the next start."""
        if self._pushing is not None:
            self._pushing.cancel()
            await asyncio.wait([self._pushing], timeout=CLOSING_S)
        if self._spool is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSING_S):
                    await self._spool.close()
        if self._file is not None:
            self._file.close()
        self._spool = self._push = self._pushing = self._file = None

    async def _keep_pushing(self) -> None:
        while True:
            try:
                await self._push.run()
            except OSError as error:
                self._said(f"The collector cannot be asked: {error.strerror or error}.")
            except Exception as error:  # noqa: BLE001  our own bug must not end what else the daemon does
                self._log.error("push", stage="failed", why=repr(error), exc_info=True)
                self._trouble = "Pushing failed for a reason of our own; the log says more."
            await asyncio.sleep(AGAIN_S)

    def _push_said(self) -> None:
        """What delivery says, once: the log of a day without the collector is one line."""
        now = self._push.state.sentence if self._push is not None else None
        if now is not None and now != self._undelivered:
            self._log.warning("push", stage="failed", why=now)
        elif now is None and self._undelivered is not None:
            self._log.info("push", stage="completed")
        self._undelivered = now

    def _said(self, sentence: str) -> None:
        if sentence != self._trouble:
            self._log.error("outlet", stage="failed", why=sentence)
        self._trouble = sentence


def _parts(settings: Settings) -> tuple[Any, ...]:
    """What an outlet is made of."""
    config = settings.config
    return config.collector, config.daemon.ndjson, config.daemon.spool_mib, settings.state, config.schedule.full_s
