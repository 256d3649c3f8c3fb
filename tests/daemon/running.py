"""A daemon in this process, on loopback alone: a profile of one TCP row, a far end that can be switched off, facts of one's own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from roomprobe.config import Config, ConfigError
from roomprobe.daemon import logs
from roomprobe.daemon.notify import Notifier
from roomprobe.daemon.run import Daemon
from roomprobe.daemon.settings import Settings
from roomprobe.model import Address, Host, Profile, Requirement, ServiceSpec
from roomprobe.outcome import Need
from roomprobe.sections import DaemonSection, ScheduleSection

LOOPBACK = Host(
    interface="lo", interfaces={"lo": 1}, addresses=(Address(address="127.0.0.1", prefix=8),), families=(4,)
)
NAME = "far.example"


class FarEnd:
    """A TCP port on 127.0.0.1 that takes connections, or does not; `connections` counts them."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def on(self) -> None:
        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            with contextlib.suppress(OSError):
                writer.write(b"220 far.example\r\n")
                await reader.read()
            writer.close()

        self._server = await asyncio.start_server(client, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def off(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()


def profile(port: int, interval_s: int = 0) -> Profile:
    common: dict[str, Any] = {"purpose": "test", "document": "d", "services": ("calls",), "need": Need.REQUIRED}
    return Profile(
        schema=1, id="tiny", title="Tiny", version="1", documents={"d": "a test"},
        service=(ServiceSpec(id="calls", title="Calls"),),
        row=(
            Requirement(id="N", kind="dns", host=NAME, **common),
            Requirement(id="T", kind="tcp", transport="tcp", host=NAME, port=port, min_interval_s=interval_s, **common),
        ),
    )  # fmt: skip


class World:
    """What a daemon runs in; everything may be changed while it runs."""

    def __init__(
        self, place: Path, port: int, *, interval_s: int = 0, full_s: float = 0.3, quick_s: float = 0.1
    ) -> None:
        schedule = msgspec.structs.replace(ScheduleSection(jitter=0.0), full_s=full_s, quick_s=quick_s)  # type: ignore[arg-type]
        daemon = DaemonSection(metrics="off", ndjson=str(place / "runs.ndjson"))
        self.settings = Settings(
            config=Config(schedule=schedule, daemon=daemon, targets={NAME: ("127.0.0.1",)}),
            profiles=(profile(port, interval_s),),
            timeout_s=5.0,
            state=place / "state",
            runtime=place / "run",
        )
        self.host: Host | Callable[[], Host] = LOOPBACK
        self.mistake: str | None = None
        self.said = io.StringIO()
        self.place = place

    def load(self) -> Settings:
        if self.mistake is not None:
            raise ConfigError(self.mistake)
        return self.settings

    def facts(self, _config: Config) -> Host:
        return self.host if isinstance(self.host, Host) else self.host()

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said.getvalue().splitlines()]

    @property
    def documents(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in (self.place / "runs.ndjson").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def outcomes(self) -> list[str]:
        return [c["outcome"] for d in self.documents for c in d["checks"] if c["row"] == "T"]

    def make(self, **more: Any) -> Daemon:
        return Daemon(self.load, logs.set_up(self.said, {}), facts=self.facts, **more)


@contextlib.asynccontextmanager
async def running(world: World, notifier: Notifier | None = None, **more: Any) -> AsyncIterator[Daemon]:
    daemon = world.make(notifier=notifier, **more)
    task = asyncio.create_task(daemon.serve())
    try:
        yield daemon
        assert not task.done() or task.result() is None
    finally:
        daemon.stop()
        await asyncio.wait_for(task, 10)


async def until(true: Callable[[], object], patience_s: float = 20.0) -> None:
    """Waits for something that has to happen."""
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.01)
