"""A real HTTP receiver on loopback that takes what exporters send, with switches for everything that can go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web


class Receiver:
    """`faults` are used up one a request: a status, "slow", "reset", "half", "nonsense", "redirect"; then 200 with `body`."""

    def __init__(self) -> None:
        self.url = ""
        self.faults: list[Any] = []
        self.headers: dict[str, str] = {}
        self.body = b"{}"
        self.requests: list[tuple[str, dict[str, str], bytes]] = []  # path, headers, body as it came
        self.taken: list[tuple[str, dict[str, str], bytes]] = []  # those that were answered with 200
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        one = (request.path, {name.lower(): value for name, value in request.headers.items()}, body)
        self.requests.append(one)
        await self.gate.wait()
        fault = self.faults.pop(0) if self.faults else None
        if fault == "slow":
            await asyncio.sleep(3600)
        if fault in ("reset", "half", "nonsense"):
            transport = request.transport
            assert transport is not None
            if fault == "nonsense":
                transport.write(b"\x1b[2Jnonsense\r\n\r\n")  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
            if fault == "half":
                transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
            transport.abort()  # type: ignore[attr-defined]
            return web.Response()
        if fault == "redirect":
            return web.Response(status=307, headers={"Location": f"{self.url}/elsewhere"})
        if fault == "huge":
            return web.Response(body=b"x" * (8 << 20))
        if fault is not None:
            return web.Response(status=fault, headers=self.headers)
        self.taken.append(one)
        return web.Response(body=self.body, content_type="application/json")

    async def until(self, many: int) -> None:
        """Waits until so many were taken."""
        for _ in range(1000):
            if len(self.taken) >= many:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(self.taken)} of {many} taken, {len(self.requests)} requests")


@contextlib.asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{rest:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.url = f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def unpacked(body: bytes) -> bytes:
    return gzip.decompress(body)
