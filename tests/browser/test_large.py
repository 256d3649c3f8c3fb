"""Ten thousand rooms: the pages stay small and quick. Bytes are held; times depend on the machine and are only told."""

from __future__ import annotations

import random
import sqlite3
import uuid
from pathlib import Path

import msgspec
import pytest

from roomprobe.collector import command, people, store
from roomprobe.collector.intervals import Names
from roomprobe.collector.pages.frame import room_url
from roomprobe.collector.prepare import prepare
from tests.browser import filling
from tests.browser.chromium import Page
from tests.browser.conftest import PICTURES, Dashboard, clean
from tests.report import samples

ROOMS = 10_000
MOST_BYTES = 300_000


def fill(state: Path) -> None:
    """Rooms in a hundred sites, most of them well, through the store's own code."""
    chance = random.Random(4)
    now = filling.now()
    box = filling.Box(str(uuid.uuid4()), "", "")
    templates = [
        prepare(box.full(told, now - 60_000), received=now, sent=now, enrolled=now - filling.DAY)
        for told in (samples.full(), samples.degraded(), samples.broken())
    ]

    def job(db: sqlite3.Connection) -> None:
        names = Names()
        for number in range(ROOMS):
            site = number % 100
            name = f"Site {site:02d}, room {number:05d}"
            token = people.mint(db, now - filling.DAY, name, minutes=9999, site=f"Site {site:02d}", org="acme")
            made = people.enrol(db, now - filling.DAY, token, f"box-{number}")
            agent = db.execute("SELECT id FROM agent WHERE uuid = ?", (made.agent,)).fetchone()[0]
            which = chance.choices((0, 1, 2), (90, 7, 3))[0]
            record = msgspec.structs.replace(templates[which], run_id=uuid.uuid4().bytes, seq=0)
            silent = chance.random() < 0.02
            store.upload(
                db,
                names,
                agent,
                [record],
                received=now - (filling.DAY if silent else 0),
                every_ms=86_400_000 if not silent else 300_000,
            )

    command._write(state, job)


async def test_ten_thousand_rooms(empty: Dashboard, page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    fill(empty.state)
    await empty.login(page)
    told = []
    for name, place in (
        ("grid", "/"),
        ("last page", "/?page=100"),
        ("filter", "/?q=site+42&state=full"),
        ("room", room_url("Site 42, room 00042")),
        ("check", "/checks/starleaf/F2"),
        ("changes", "/changes?kind=all"),
    ):
        await page.send("Network.clearBrowserCache")
        await page.go(empty.url + place)
        paint = await page.first_paint_ms()
        told.append(f"{name}: first paint {paint:.0f} ms, {page.received:,} bytes")
        assert page.received < MOST_BYTES, told[-1]
        if name in ("grid", "check"):
            await page.picture(PICTURES / f"10000-{name}.png")
    with capsys.disabled():
        print("", *told, sep="\n  ")
    await page.go(f"{empty.url}/")
    assert "1 to 100 of 10,000 rooms" in await page.text()
    await page.click("a[rel=next]")
    assert "101 to 200 of 10,000 rooms" in await page.text()
    await page.go(f"{empty.url}/?page=100")
    assert "9,901 to 10,000 of 10,000 rooms" in await page.text()
    await page.go(f"{empty.url}/?page=5000")
    assert "9,901 to 10,000 of 10,000 rooms" in await page.text()
    clean(page, empty.url)
