"""A real Chromium before a real collector process with rooms in every state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.browser import chromium, filling
from tests.browser.chromium import Browser, Page
from tests.browser.filling import DAY, MINUTE, Box
from tests.collector.test_process import process
from tests.report import samples

PICTURES = Path(__file__).resolve().parents[2] / "build" / "screenshots"
HOUR = 60 * MINUTE


class Dashboard:
    """A collector that runs: where, its store, its first password, and the boxes that send to it."""

    def __init__(self, url: str, state: Path, password: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.state = state
        self.password = password
        self.http = http
        self.boxes: dict[str, Box] = {}

    async def login(self, page: Page) -> None:
        """As a person does it."""
        await page.go(f"{self.url}/")
        await page.type("#password", self.password)
        await page.click("form button")

    async def send(self, room: str, records: list[Any], **more: Any) -> None:
        await filling.send(self.http, self.url, self.boxes[room], records, **more)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = pytest.mark.skip(reason="there is no Chromium; scripts/test installs it")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if chromium.PATH is None:
                item.add_marker(missing)


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Dashboard]:
    """A collector at its first start."""
    state = tmp_path / "state"
    async with process(state) as running, aiohttp.ClientSession() as http:
        yield Dashboard(running.url, state, (state / "first-password").read_text().strip(), http)


@pytest.fixture
async def fleet(empty: Dashboard) -> Dashboard:
    """Five rooms: full, degraded after two hours of trouble, broken, silent, and never heard."""
    begin = (filling.now() - DAY) // (5 * MINUTE) * 5 * MINUTE
    end = filling.now()
    for name, site in (
        ("Boardroom 4", "London"),
        ("Huddle 2", "London"),
        ("Training 1", "Paris"),
        ("Auditorium", "Paris"),
        ("Store room", "Oslo"),
    ):
        empty.boxes[name] = filling.enrol(empty.state, name, site=site, org="acme")
    full, degraded, broken = samples.full(), samples.degraded(), samples.broken()
    told = {
        "Boardroom 4": [(begin, full), (end - 6 * HOUR, broken), (end - 4 * HOUR, degraded)],
        "Huddle 2": [(begin, full)],
        "Training 1": [(begin, full), (end - 3 * HOUR, broken)],
        "Auditorium": [(begin, full)],
    }
    for name, moments in told.items():
        until = end - 5 * HOUR if name == "Auditorium" else end
        await empty.send(name, empty.boxes[name].day(begin, until, *moments))
    filling.unheard(empty.state, "Auditorium", 5 * HOUR)
    return empty


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with chromium.browser(tmp_path / "profile") as made:
        yield made


@pytest.fixture
async def page(browser: Browser) -> Page:
    """A tab nobody has used."""
    return await browser.page()


def clean(page: Page, url: str) -> None:
    """No complaint on the console, and nobody else was asked for anything."""
    assert page.wrong == []
    assert [asked for asked in page.asked if not asked.startswith(f"{url}/")] == []
