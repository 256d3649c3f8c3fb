"""Lines of JSON in a file: every run and every change, through rotation, SIGHUP, a crash and a full disk."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest

from roomprobe.collector.exporters.options import Export
from roomprobe.collector.exporters.running import exporting
from tests.collector.conftest import Running
from tests.collector.making import full, loss, same
from tests.collector.test_process import enrol, post, process
from tests.exporters.conftest import Room

SCHEMA = json.loads(resources.files("roomprobe.collector.exporters").joinpath("event.schema.json").read_text())


def lines(*files: Path) -> list[dict[str, Any]]:
    """Every line of these files."""
    texts = [file.read_bytes() for file in files if file.exists()]
    return [json.loads(line) for text in texts for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


def check(found: list[dict[str, Any]]) -> None:
    """Each line against the schema."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for one in found:
        validator.validate(one)


async def until(done: Callable[[], Any]) -> None:
    for _ in range(1000):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def runs(*files: Path) -> list[int]:
    return [one["seq"] for one in lines(*files) if one["kind"] == "run"]


@pytest.mark.usefixtures("hasty")
async def test_every_run_change_and_loss_is_a_line(server: Running, box: Room, tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    async with exporting(server.collector, Export(file=file)):
        await box.says("full", "broken")
        first = full(2, {"F1": "open"}, agent=box.agent, at=box.begin + 2000)
        again = same(3, first, at=box.begin + 3000)
        for _ in range(2):  # a repeat is stored once, and told once
            assert (await server.post([first, again, loss(4, 0, 0, agent=box.agent)]))[0] == 200
        await until(lambda: len(lines(file)) >= 9)
        await asyncio.sleep(0.1)
    found = lines(file)
    assert runs(file) == [0, 1, 2, 3]
    changes = [(one["name"], one["before"]["outcome"], one["after"]["outcome"]) for one in found if "after" in one]
    check(found)
    row = "starleaf/F1/config.starleaf.com/203.0.113.10/tcp/443"
    assert sorted(changes) == sorted(
        [
            ("calls", "full", "broken"),
            ("calls", "broken", "full"),
            (row, "open", "filtered"),
            (row, "filtered", "open"),
        ]
    )
    assert [(one["reason"], one["count"]) for one in found if one["kind"] == "loss"] == [("spool-full", 1)]
    assert len({one["id"] for one in found}) == len(found) == 9
    assert [one["full"] for one in found if one["kind"] == "run"] == [True, True, True, False]


@pytest.mark.usefixtures("hasty")
async def test_it_is_rotated_by_size(server: Running, box: Room, tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson"
    async with exporting(server.collector, Export(file=file, file_bytes=4000)):
        await box.says(*["full", "broken"] * 3)
        await until(lambda: 5 in runs(file))
    old = tmp_path / "out.ndjson.1"
    assert 0 < file.stat().st_size <= 4000 and 0 < old.stat().st_size <= 4000


@pytest.mark.usefixtures("hasty")
async def test_a_file_that_cannot_be_written_is_waited_for_and_that_is_said_once(
    server: Running, box: Room, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "later" / "out.ndjson"
    async with exporting(server.collector, Export(file=file)):
        await box.says("full", "broken")
        await until(lambda: server.collector.counts["export_file_failed"] > 1)
        file.parent.mkdir()
        await until(lambda: len(lines(file)) == 4)
    assert runs(file) == [0, 1]
    assert [one.message for one in caplog.records if "file exporter" in one.message] == [
        f"the file exporter: {file} cannot be written (No such file or directory)."
    ]


@pytest.mark.usefixtures("hasty")
async def test_a_store_that_cannot_be_written_makes_no_line_twice(server: Running, box: Room, tmp_path: Path) -> None:
    file, collector = tmp_path / "out.ndjson", server.collector
    async with exporting(collector, Export(file=file)):
        await box.says("full")
        await until(lambda: runs(file) == [0])
        await box.says("broken", "full")
        collector.writer._db.execute("PRAGMA query_only = 1")
        await until(lambda: len(runs(file)) >= 3)
        await asyncio.sleep(0.3)  # some rounds that cannot be written down
        collector.writer._db.execute("PRAGMA query_only = 0")
        await box.says("broken")
        await until(lambda: 3 in runs(file))
    assert runs(file) == [0, 1, 2, 3]


async def test_a_real_collector_reopens_it_and_misses_nothing_over_a_kill(tmp_path: Path) -> None:
    """SIGHUP, then kill -9 amid uploads: every acknowledged run is in the files, and what is there twice has one id."""
    state, file, moved = tmp_path / "state", tmp_path / "out.ndjson", tmp_path / "moved.ndjson"
    arguments = ("--export-file", str(file))
    now = time.time_ns() // 1_000_000
    agent, token = enrol(state)
    made = [full(seq, {"F1": "open"}, agent=agent, at=now - 60_000 + seq) for seq in range(40)]
    async with aiohttp.ClientSession() as http:
        async with process(state, *arguments) as running:
            assert (await post(http, running.url, token, [*made[:5]]))[0] == 200
            await until(lambda: len(runs(file)) == 5)
            file.rename(moved)
            running.child.send_signal(signal.SIGHUP)
            assert (await post(http, running.url, token, [*made[5:10]]))[0] == 200
            await until(lambda: len(runs(file)) == 5)
            for one in made[10:]:
                assert (await post(http, running.url, token, [one]))[0] == 200
            running.child.kill()
            await running.child.wait()
        async with process(state, *arguments) as running:
            await until(lambda: set(runs(moved, file)) >= set(range(40)))
            running.child.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running.child.wait(), 5) == 0
    found = lines(moved, file)
    check(found)
    by_id = {one["id"]: one["seq"] for one in found if one["kind"] == "run"}
    assert sorted(by_id.values()) == list(range(40))
