"""What systemd hears: on a real socket, and the watchdog only while the loop is where it promised to be."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomprobe.daemon.notify import Notifier, Pulse
from tests.daemon.running import FarEnd, World, running, until


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def hear(self) -> list[str]:
        while True:
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.heard


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


def env(tmp_path: Path, watchdog_s: float = 0.2) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}


async def test_ready_status_watchdog_reload_stopping(tmp_path: Path, manager: Manager) -> None:
    far = FarEnd()
    await far.on()
    world = World(tmp_path, far.port)
    async with running(world, Notifier(env(tmp_path))) as daemon:
        await until(lambda: manager.hear().count("WATCHDOG=1") >= 3)
        await until(lambda: any("tcp" in line or "full" in line for line in manager.hear()))
        before = time.monotonic_ns() // 1000
        daemon.reload()
        await until(lambda: any(line.startswith("RELOADING=1") for line in manager.hear()))
        await until(lambda: sum(line.startswith("READY=1") for line in manager.hear()) == 2)
    await far.off()
    heard = [line for line in manager.hear() if line != "WATCHDOG=1"]
    assert heard[0] == "READY=1\nSTATUS=the first run is under way"
    assert heard[-1].startswith("STOPPING=1")
    reloading = next(line for line in heard if line.startswith("RELOADING=1"))
    told = dict(line.split("=", 1) for line in reloading.splitlines())
    assert before <= int(told["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


async def test_a_loop_that_hangs_feeds_no_watchdog(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roomprobe.daemon import run, sweeper

    async def hang(*_: object) -> None:
        while True:  # deaf to its deadline
            try:
                await released.wait()
                return
            except asyncio.CancelledError:
                asyncio.current_task().uncancel()  # type: ignore[union-attr]

    released = asyncio.Event()
    monkeypatch.setattr(run, "HANG_S", 0.1)
    monkeypatch.setattr(run, "GRACE_S", -4.9)
    monkeypatch.setattr(sweeper, "GRACE_S", -4.9)
    monkeypatch.setattr(sweeper.pipeline, "measure", hang)
    world = World(tmp_path, 9)
    async with running(world, Notifier(env(tmp_path))):
        await until(lambda: "WATCHDOG=1" in manager.hear())
        await asyncio.sleep(0.5)
        manager.hear()
        manager.heard.clear()
        await asyncio.sleep(0.5)
        assert "WATCHDOG=1" not in manager.hear()
        released.set()
        monkeypatch.undo()


def test_an_abstract_socket_and_none_at_all(tmp_path: Path) -> None:
    name = f"roomprobe-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}).status("a\nREADY=1")
    assert manager.hear() == ["STATUS=a\\x0aREADY=1"]  # nothing that the network said becomes an assignment
    manager.socket.close()
    Notifier({}).ready("nobody listens")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).stopping()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_ours_or_it_is_not(given: dict[str, str], wanted: float | None) -> None:
    assert Notifier(given).watchdog_s == wanted


def test_a_pulse_beats_until_its_promise_is_broken() -> None:
    pulse = Pulse(10.0, 100.0)
    assert pulse.beats(110.0) and not pulse.beats(110.1)
    pulse.expect(200.0)
    assert pulse.beats(210.0) and not pulse.beats(210.1)
