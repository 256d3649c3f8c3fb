"""What a collector bears: uploads a second, the bytes of a day, pages with a large fleet in the store. `scripts/bench collector`.

The rooms are simulated (fleet.py), all else is real: reports from the lab, HTTP, a collector process, the disk. Quote the ratios.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "agent")]

from bench import day, many, uploads  # noqa: E402
from bench.fleet import Document, reports  # noqa: E402
from bench.uploads import RUNS  # noqa: E402
from roomprobe.collector.database import NAME  # noqa: E402
from roomprobe.collector.pages.frame import check_url, room_url, row_url  # noqa: E402
from tests.collector.test_process import process  # noqa: E402

ROOMS = int(os.environ.get("ROOMS", "10000"))
DAYS = int(os.environ.get("DAYS", "30"))
TIMES = 3 * RUNS
LEAST = 60  # rooms: one of each kind


async def large(place: Path, told: Mapping[str, Document]) -> None:
    """Pages, API and uploads with a large fleet in the store."""
    state = place / "large"
    begun = time.monotonic()
    fleet = many.build(state, ROOMS, DAYS, told, 1 + uploads.BOXES)
    took, size = time.monotonic() - begun, (state / NAME).stat().st_size / 1e9
    print(f"\n{ROOMS:,} rooms x {DAYS} days in the store: {size:.1f} GB, built in {took:.0f} s; {fleet.rows}")
    print(f"  {f'median of {TIMES}':<30}{'first':>9}{'median':>11}{'packed':>13}{'unpacked':>13}", flush=True)
    check = next(one["id"] for one in told["open"]["checks"] if one["row"] == "F3")
    async with process(state) as running, aiohttp.ClientSession(auto_decompress=False) as http:
        for name, path in (
            ("/", "/"),
            ("/, the last page", f"/?page={max(1, ROOMS // 100)}"),
            ("/, a filter", "/?q=site+4&state=full"),
            ("a room that is well", room_url(fleet.well)),
            ("a room that flaps", f"{room_url(fleet.flapping)}?days=30"),
            ("a check of it", f"{check_url(fleet.flapping, check)}?days=30"),
            ("/checks", "/checks"),
            ("/checks/starleaf/F3", row_url("starleaf", "F3")),
            ("/changes", "/changes"),
            ("/changes, checks too", "/changes?kind=all"),
            ("/v1/summary", "/v1/summary"),
            ("/v1/rooms", "/v1/rooms"),
            ("/v1/rooms, 500", "/v1/rooms?size=500"),
            ("/v1/rooms/{room}", f"/v1{room_url(fleet.flapping)}"),
            ("/v1/.../history of 30 days", f"/v1{check_url(fleet.flapping, check)}/history?every_ms=3600000"),
            ("/v1/checks/starleaf/F3", "/v1/checks/starleaf/F3"),
            ("/v1/changes", "/v1/changes"),
            ("/metrics", "/metrics"),
            ("/metrics?checks=1&row=F3", "/metrics?checks=1&row=F3"),
        ):
            await page(http, running.url, fleet.reader, name, path)
        one, *others = uploads.bodies(fleet.senders, told)
        times = []
        for body in one[: 1 + TIMES]:
            begun = time.monotonic()
            await uploads.post(http, running.url, body)
            times.append(time.monotonic() - begun)
        print(f"  {'an upload':<30}{times[0] * 1000:6.0f} ms{statistics.median(times[1:]) * 1000:8.1f} ms")
        rate = await uploads.burst(running.url, others)
        _, rss = uploads.used(running.child.pid)
    print(f"  accepted uploads from {len(others)} boxes: {rate:.0f} /s; the collector had {rss:.0f} MiB at most")


async def page(http: aiohttp.ClientSession, url: str, reader: str, name: str, path: str) -> None:
    """One line: the first answer's time, the median's, and how large it is packed and unpacked."""
    times, size, plain = [], 0, 0
    for _ in range(1 + TIMES):
        begun = time.monotonic()
        headers = {"Authorization": f"Bearer {reader}", "Accept-Encoding": "gzip"}
        async with http.get(f"{url}{path}", headers=headers) as answer:
            body = await answer.read()
            if answer.status != 200:
                sys.exit(f"{path}: {answer.status} {body[:500]!r}")
        times.append(time.monotonic() - begun)
        size = plain = len(body)
        if answer.headers.get("Content-Encoding") == "gzip":
            plain = len(zlib.decompress(body, wbits=31))
    told = f"{times[0] * 1000:6.0f} ms{statistics.median(times[1:]) * 1000:8.1f} ms{size:11,} B{plain:11,} B"
    print(f"  {name:<30}{told}", flush=True)


def end(number: int, frame: FrameType | None) -> None:
    """Ends the bench by an exception, so that what was made is taken away; one raised in a finaliser would be lost, so later then."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            signal.alarm(1)
            return
        frame = frame.f_back
    sys.exit(3)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end)
    if ROOMS < LEAST:
        sys.exit(f"ROOMS must be {LEAST} at least.")
    told = reports()
    print(f"reports of {len(told['open']['checks'])} checks, as the lab gives them")
    with tempfile.TemporaryDirectory(dir=os.environ.get("PLACE", "/var/tmp")) as directory:  # /tmp may be no disk
        for part in (uploads.measure, day.measure, large):
            asyncio.run(part(Path(directory), told))


if __name__ == "__main__":
    main()
