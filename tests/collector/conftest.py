"""A collector on a real socket of loopback, and a box that is enrolled with it."""

from __future__ import annotations

import io
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from roomprobe.collector import people, serve, tokens
from roomprobe.collector.context import Collector, Settings
from roomprobe.wire import upload
from roomprobe.wire.upload import Record

PASSWORD = "a long enough password"
STRETCHED = tokens.stretch(PASSWORD)


class Running:
    """One collector that listens; `http` is a client without any cookie or token."""

    def __init__(self, collector: Collector, url: str, http: aiohttp.ClientSession) -> None:
        self.collector = collector
        self.url = url
        self.http = http
        self.token = ""
        self.agent = ""
        self.reader = ""

    async def enrol(self, room: str = "Boardroom 4", **more: Any) -> people.Enrolled:
        """A box of this room, straight into the store."""
        now = self.collector.now() - 400 * people.DAY_MS  # so long ago that every test's runs lie after it
        made = await self.collector.write(people.mint, now, room, minutes=60, **more)
        return await self.collector.write(people.enrol, now, made, "box")

    async def post(
        self, records: Iterable[Record | bytes], *, token: str | None = None, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """An upload: (status, answer)."""
        lines = [upload.build(r) if not isinstance(r, bytes) else r for r in records]
        sent = {
            "Authorization": f"Bearer {self.token if token is None else token}",
            "Content-Type": upload.CONTENT_TYPE,
            "Content-Encoding": "gzip",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        data = upload.pack(lines) if body is None else body
        async with self.http.post(f"{self.url}/v1/runs", data=io.BytesIO(data), headers=sent) as answer:
            return answer.status, await answer.json(content_type=None)

    async def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """An answer of the API, as a program with a token."""
        headers = {"Authorization": f"Bearer {self.reader}"}
        async with self.http.get(f"{self.url}{path}", params=params, headers=headers) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)


@asynccontextmanager
async def running(state: Path, *, context: ssl.SSLContext | None = None, **more: Any) -> AsyncIterator[Running]:
    """A collector in this process, on a port of its own."""
    told = serve.Serve(state=state, port=0, head_s=more.pop("head_s", 20.0))
    collector = Collector(Settings(state=state, secure=context is not None, **more))
    async with AsyncExitStack() as stack:
        stack.callback(collector.close)
        port = await stack.enter_async_context(serve.listening(told, collector, context))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar())
        )
        scheme = "http" if context is None else "https"
        yield Running(collector, f"{scheme}://127.0.0.1:{port}", http)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    """A collector with one box, one API token and a password."""
    async with running(tmp_path / "state") as found:
        made = await found.enrol()
        found.token, found.agent = made.token, made.agent
        _, found.reader = await found.collector.write(people.api_token, found.collector.now(), "tests")
        await found.collector.write(people.set_password, found.collector.now(), STRETCHED)
        yield found
