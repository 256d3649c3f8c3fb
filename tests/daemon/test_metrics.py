"""The daemon's /metrics: read by Prometheus' own parser, whatever the network's names say, and by hostile clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from roomprobe.daemon import metrics
from roomprobe.daemon.board import Board
from roomprobe.daemon.clocks import Reading
from roomprobe.daemon.run import Daemon
from tests.daemon.making import check, result
from tests.daemon.running import FarEnd, World, running, until
from tests.ports import free_port

NOTHING: dict[str, Any] = {"spool": None, "push": None, "trouble": []}


def read(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def http(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionResetError:  # it did not want all of that
        return b""
    finally:
        writer.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Daemon, int]]:
    far, port = FarEnd(), free_port()
    await far.on()
    world = World(tmp_path, far.port)
    config = world.settings.config
    daemon = msgspec.structs.replace(config.daemon, metrics=f"127.0.0.1:{port}")
    world.settings = msgspec.structs.replace(world.settings, config=msgspec.structs.replace(config, daemon=daemon))
    async with running(world) as made:
        await until(lambda: made.board.report)
        yield made, port
    await far.off()


async def test_the_page_of_a_run(served: tuple[Daemon, int]) -> None:
    answer = await http(served[1], b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK") and f"Content-Length: {len(body)}".encode() in head
    found = read(body.decode())
    assert [(labels["row"], value) for labels, value in found["probe_success"]] == [("T", 1.0)]
    assert found["probe_duration_seconds"][0][1] < 5
    assert {labels["outcome"] for labels, _ in found["roomprobe_check_outcome"]} == {"skipped", "reached"}
    states = {labels["state"]: value for labels, value in found["roomprobe_service_state"]}
    assert states == {"full": 1, "degraded": 0, "broken": 0, "unknown": 0}
    assert found["process_resident_memory_bytes"][0][1] > 1e6 and found["process_open_fds"][0][1] > 3
    assert "roomprobe_spool_records" not in found


async def test_other_requests(served: tuple[Daemon, int]) -> None:
    port = served[1]
    assert (await http(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404")
    assert (await http(port, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405")
    assert (await http(port, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400")
    assert (await http(port, b"HEAD /metrics HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\n")
    assert await http(port, b"x" * 100_000) == b""
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(metrics.MOST_CLIENTS)]
    assert await http(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""  # not more at once
    for _, writer in idle:
        writer.close()
    await asyncio.sleep(0.1)
    assert (await http(port, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_port_that_is_taken_is_said_and_the_daemon_goes_on(served: tuple[Daemon, int], tmp_path: Path) -> None:
    one = metrics.Metrics(served[0]._exposed)
    await one.listen(f"127.0.0.1:{served[1]}")
    assert "cannot be listened on (Address already in use)." in str(one.trouble)
    await one.listen("off")
    assert one.trouble is None


def test_hostile_names_stay_inside_their_quotes() -> None:
    nasty = 'a"}\n probe_success 7\\\ud800'
    board = Board(Reading(monotonic=0.0, boottime=0.0, wall=0.0))
    of = msgspec.structs.replace(check("A"), host=nasty)
    report = msgspec.convert(
        {"agent_id": None, "agent_version": "1", "site": {}, "host": {}, "notes": [], "services": [], "results": [],
         "run": {"id": "x", "trigger": "full", "started": "2026-01-01T00:00:00Z", "started_mono": 0.0,
                 "duration_s": 1.0, "clock_synced": None}},
        metrics.Report,
    )  # fmt: skip
    board.report = msgspec.structs.replace(report, results=(result(of),))
    found = read(metrics.page(board, NOTHING))
    assert len(found["probe_success"]) == 1 and found["probe_success"][0][1] == 1
    assert found["probe_success"][0][0]["target"] == 'a"}\n probe_success 7\\?'


def test_the_queue_is_told() -> None:
    board = Board(Reading(monotonic=0.0, boottime=0.0, wall=0.0))
    spool = {"depth": 3, "bytes": 4096, "rejected": 1, "lost": None}
    found = read(metrics.page(board, {"spool": spool, "push": {"failures": 2, "delivered": 5}, "trouble": []}))
    assert found["roomprobe_spool_records"] == [({}, 3)] and found["roomprobe_push_failures"] == [({}, 2)]
    assert "roomprobe_spool_lost" not in found  # unknown is not a number
