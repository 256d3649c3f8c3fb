"""The daemon against a real far end on loopback: what it reports when, and what it survives."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema
import msgspec
import pytest

from roomprobe.config import ConfigError
from roomprobe.daemon import clocks, control, status
from roomprobe.model import Address, Host, Skip
from roomprobe.outcome import Reason
from roomprobe.report.document import schema
from roomprobe.sections import CollectorSection
from tests.daemon.running import LOOPBACK, FarEnd, World, running, until


@pytest.fixture
async def far_end() -> AsyncIterator[FarEnd]:
    far = FarEnd()
    await far.on()
    yield far
    await far.off()


@pytest.fixture
def world(tmp_path: Path, far_end: FarEnd) -> World:
    return World(tmp_path, far_end.port)


async def test_runs_are_made_again_and_again_and_are_reports(world: World) -> None:
    async with running(world):
        await until(lambda: len(world.documents) >= 3)
    for found in world.documents:
        jsonschema.validate(found, schema())
        assert found["run"]["trigger"] in ("full", "quick", "network")
        assert [c["outcome"] for c in found["checks"]] == ["skipped", "skipped", "reached"]
    assert len({d["run"]["id"] for d in world.documents}) == len(world.documents)


async def test_a_change_is_confirmed_at_once_and_reported_once(world: World, far_end: FarEnd) -> None:
    msgspec.structs.force_setattr(
        world.settings.config.schedule, "full_s", 2
    )  # far from what a slow machine makes of "at once"
    async with running(world) as daemon:
        await until(lambda: world.outcomes() == ["reached"])
        await far_end.off()
        await until(lambda: "reached" not in world.outcomes()[-1:])
        said = await daemon.status()
        await far_end.on()
    triggers = [d["run"]["trigger"] for d in world.documents]
    changed = next(n for n, outcome in enumerate(world.outcomes()) if outcome != "reached")
    assert triggers[changed] == "confirm"
    assert "another outcome was seen once" in world.documents[changed - 1]["notes"][-1]
    assert said["services"][0]["state"] != "full"
    said = [entry for entry in world.log if entry["event"] == "service"]
    assert [entry["before"] for entry in said] == [None, "full"]


async def test_what_is_not_due_is_not_asked_and_keeps_its_value(tmp_path: Path, far_end: FarEnd) -> None:
    world = World(tmp_path, far_end.port, interval_s=3600)
    async with running(world):
        await until(lambda: len(world.documents) >= 4)
    assert far_end.connections == 1
    assert set(world.outcomes()) == {"reached"}
    numbers = [c["rtt_ms"] for d in world.documents for c in d["checks"] if c["row"] == "T"]
    assert numbers[0] is not None and set(numbers[1:]) == {None}


async def test_a_restart_asks_nothing_too_early_and_knows_the_last_value(tmp_path: Path, far_end: FarEnd) -> None:
    world = World(tmp_path, far_end.port, interval_s=3600)
    for runs in (1, 2, 3):
        async with running(world):
            await until(lambda: len(world.documents) >= runs)  # noqa: B023
    assert far_end.connections == 1
    assert set(world.outcomes()) == {"reached"}


async def test_the_cable_is_out_and_in_again(world: World) -> None:
    async with running(world):
        await until(lambda: world.outcomes()[-1:] == ["reached"])
        world.host = Host(interface="lo", trouble=Skip(reason=Reason.NO_CARRIER, sentence="lo has no link."))
        await until(lambda: world.outcomes()[-1:] == ["unanswered"])
        world.host = LOOPBACK
        await until(lambda: world.outcomes()[-1:] == ["reached"])
    assert not [entry for entry in world.log if entry["level"] == "error"]


async def test_in_another_network_old_values_do_not_count(tmp_path: Path, far_end: FarEnd) -> None:
    world = World(tmp_path, far_end.port, interval_s=3600)
    async with running(world):
        await until(lambda: world.outcomes()[-1:] == ["reached"])
        world.host = msgspec.structs.replace(LOOPBACK, addresses=(Address(address="198.51.100.9", prefix=24),))
        await until(lambda: world.outcomes()[-1:] == ["unanswered"])
    last = world.documents[-1]
    assert last["services"][0]["state"] == "unknown"
    assert next(c for c in last["checks"] if c["row"] == "T")["reason"] == "interval"
    assert far_end.connections == 1


async def test_a_bad_configuration_is_refused_and_the_old_one_stays(world: World) -> None:
    async with running(world) as daemon:
        await until(lambda: world.documents)
        world.mistake = "r.toml: unknown key."
        daemon.reload()
        await until(lambda: any(entry["event"] == "reload" for entry in world.log))
        runs = len(world.documents)
        assert (await daemon.status())["refused"] == "r.toml: unknown key."
        await until(lambda: len(world.documents) > runs)
        world.mistake = None
        daemon.reload()
        await until(lambda: daemon.board.refused is None)
    assert [e["stage"] for e in world.log if e["event"] == "reload"] == ["failed", "completed"]


async def test_a_reload_takes_effect(world: World, tmp_path: Path) -> None:
    async with running(world) as daemon:
        await until(lambda: world.documents)
        config = world.settings.config
        other = msgspec.structs.replace(config.daemon, ndjson=str(tmp_path / "other.ndjson"))
        site = msgspec.structs.replace(config.site, room="Another room")
        changed = msgspec.structs.replace(config, daemon=other, site=site)
        world.settings = msgspec.structs.replace(world.settings, config=changed)
        daemon.reload()
        await until((tmp_path / "other.ndjson").exists)
    assert "Another room" in (tmp_path / "other.ndjson").read_text()


async def test_a_collector_that_is_away_is_one_line_in_the_log(world: World, tmp_path: Path) -> None:
    away = CollectorSection(url="http://127.0.0.1:1", agent=str(uuid.uuid4()), token_file=str(tmp_path / "token"))
    (tmp_path / "token").write_text("a-token-of-the-box-0123456789")
    config = msgspec.structs.replace(world.settings.config, collector=away)
    world.settings = msgspec.structs.replace(world.settings, config=config)
    async with running(world):
        await until(lambda: [one for one in world.log if one["event"] == "push"])
        so_far = len(world.documents)
        await until(lambda: len(world.documents) > so_far + 3)
    told = [one for one in world.log if one["event"] == "push"]
    assert [one["stage"] for one in told] == ["failed"] and "cannot be reached" in told[0]["why"]
    assert "a-token-of-the-box" not in world.said.getvalue()


async def test_a_reload_changes_how_much_may_wait_for_the_collector(world: World, tmp_path: Path) -> None:
    away = CollectorSection(url="http://127.0.0.1:1", agent=str(uuid.uuid4()), token_file=str(tmp_path / "token"))
    config = msgspec.structs.replace(world.settings.config, collector=away)
    world.settings = msgspec.structs.replace(world.settings, config=config)
    async with running(world) as daemon:
        await until(lambda: len(world.documents) >= 2)
        before = (await daemon.status())["spool"]
        smaller = msgspec.structs.replace(config, daemon=msgspec.structs.replace(config.daemon, spool_mib=4))
        world.settings = msgspec.structs.replace(world.settings, config=smaller)
        daemon.reload()
        await until(lambda: any(entry["event"] == "reload" for entry in world.log))
        told = await daemon.status()
    assert before["most_bytes"] == 64 << 20 and told["spool"]["most_bytes"] == 4 << 20
    assert told["spool"]["epoch"] == before["epoch"] and told["spool"]["depth"] >= before["depth"] >= 1
    assert f"{told['spool']['bytes']} of 4194304 bytes" in status.text(told)


async def test_facts_that_cannot_be_had_end_nothing(world: World) -> None:
    def gone() -> Host:
        raise ConfigError("network.interface: this box has no 'eth9'.")

    world.host = gone
    async with running(world) as daemon:
        await until(lambda: daemon.board.trouble)
        assert (await daemon.status())["trouble"] == ["network.interface: this box has no 'eth9'."]
        failures = daemon.board.runs["full", "failed"]
        await asyncio.sleep(0.05)
        assert daemon.board.runs["full", "failed"] <= failures + 1  # not over and over
        world.host = LOOPBACK
        await until(lambda: world.documents)
        await until(lambda: daemon.board.trouble is None)


async def test_an_error_of_our_own_is_logged_and_the_next_run_is_made(world: World) -> None:
    def broken() -> Host:
        raise ZeroDivisionError("a bug")

    world.host = broken
    async with running(world) as daemon:
        await until(lambda: daemon.board.trouble)
        world.host = LOOPBACK
        await until(lambda: world.documents)
    failed = next(entry for entry in world.log if entry.get("stage") == "failed")
    assert "ZeroDivisionError" in failed["exception"]


async def test_a_run_that_hangs_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from roomprobe.daemon import sweeper

    async def hang(*_: object) -> None:
        await asyncio.sleep(3600)

    real = sweeper.pipeline.measure
    monkeypatch.setattr(sweeper, "GRACE_S", -4.8)
    monkeypatch.setattr(sweeper.pipeline, "measure", hang)
    async with running(world) as daemon:
        await until(lambda: daemon.board.trouble)
        assert "did not end within" in str(daemon.board.trouble)
        monkeypatch.setattr(sweeper.pipeline, "measure", real)
        monkeypatch.setattr(sweeper, "GRACE_S", 5.0)
        await until(lambda: world.documents)


async def test_stopping_in_the_midst_of_a_run_reports_nothing_half_done(world: World) -> None:
    async with running(world) as daemon:
        await until(lambda: daemon.board.running)
    assert all(not d["run"]["interrupted"] for d in world.documents)
    assert world.log[-1]["event"] == "daemon" and world.log[-1]["stage"] == "completed"


async def test_suspend_and_a_stepped_clock_are_reported(world: World) -> None:
    asleep = stepped = 0.0

    def read() -> clocks.Reading:
        now = clocks.read()
        return clocks.Reading(monotonic=now.monotonic, boottime=now.boottime + asleep, wall=now.wall + asleep + stepped)

    async with running(world, read_clocks=read):
        await until(lambda: world.documents)
        asleep, stepped = 7200.0, -86_400.0 * 365
        await until(lambda: any("suspended" in note for d in world.documents for note in d["notes"]))
    notes = [note for d in world.documents for note in d["notes"]]
    assert [n for n in notes if "suspended for 7200 s" in n] and [n for n in notes if "set back by 31536000 s" in n]


async def test_only_one_daemon_has_the_socket(world: World) -> None:
    async with running(world):
        await until((world.place / "run/roomprobe.sock").exists)
        with pytest.raises(ConfigError, match="Another roomprobe runs already"):
            await world.make().serve()


async def test_status_over_the_socket(world: World) -> None:
    path = world.place / "run" / control.SOCKET
    async with running(world) as daemon:
        await until(lambda: world.documents)
        assert path.stat().st_mode & 0o777 == 0o660
        told = await control.ask((path,))
        assert told.keys() == (await daemon.status()).keys()
        assert told["services"][0]["state"] == "full" and told["last_run"]["duration_s"] >= 0
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x" * 100_000)
        assert await reader.read() == b""  # nonsense is not answered
        writer.close()
        assert (await control.ask((path,)))["pid"] == told["pid"]
    with pytest.raises(ConfigError, match="No daemon answers here"):
        await control.ask((path,))


async def test_whoever_may_not_ask_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / control.SOCKET
    async with await asyncio.start_unix_server(lambda _, writer: writer.close(), path):
        path.chmod(0)
        before = os.geteuid()
        os.seteuid(before or 65534)  # root may always
        try:
            with pytest.raises(
                ConfigError, match="does not answer this user; ask as root, or as a member of the socket's"
            ):
                await control.ask((path,))
        finally:
            os.seteuid(before)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_who_asks_and_reads_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE_S", 0.1)

    async def long() -> dict[str, str]:
        return {"sentence": "x" * 1_000_000}

    server = await control.serve(tmp_path, long)
    before = open_files()
    held = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for one in held:
        one.connect(str(tmp_path / control.SOCKET))
        one.send(b"status\n")
    await until(lambda: open_files() == before + 2 * len(held))
    await until(lambda: open_files() == before + len(held))
    for one in held:
        one.close()
    server.close()


def test_what_clocks_tell() -> None:
    before = clocks.Reading(monotonic=10.0, boottime=10.0, wall=1000.0)
    assert clocks.noticed(before, clocks.Reading(monotonic=310.0, boottime=310.0, wall=1300.5)) == ()
    slept = clocks.noticed(before, clocks.Reading(monotonic=20.0, boottime=3620.0, wall=4610.0))
    assert slept == ("This box was suspended for 3600 s before this run.",)
    year = clocks.noticed(before, clocks.Reading(monotonic=20.0, boottime=20.0, wall=1010.0 + 365 * 86_400))
    assert year == ("The clock of this box was set forward by 31536000 s before this run.",)
