"""Between an agent and a real collector: passes uploads on, notes them, and spoils what is said, before it is stored or after."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from aiohttp import web

from roomprobe.wire import upload
from tests.sinks.collectors import Fault, serving

Later = Callable[[web.Request, Callable[[], Awaitable[web.Response]]], Awaitable[web.StreamResponse]]


class Between:
    """`faults` are used up one a request, then `always`; each gets the request and may pass it on. `batches`: each upload that the
    collector has stored, whatever the agent was told of it."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.faults: list[Later] = []
        self.always: Later | None = None
        self.batches: list[list[upload.Record]] = []
        self.answered = asyncio.Event()
        self.port = 0
        self._http: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else self.always
        try:
            return await (fault(request, lambda: self._passed_on(request)) if fault else self._passed_on(request))
        finally:
            self.answered.set()

    async def _passed_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert self._http is not None
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in ("host", "content-length")
        }
        async with self._http.request(
            request.method, f"{self.target}{request.path}", data=body, headers=headers
        ) as answer:
            told = await answer.read()
            if answer.status == 200:
                self.batches.append([upload.parse(line) for line in upload.unpack(body)])
            kind = {"Content-Type": answer.headers["Content-Type"]}
            return web.Response(status=answer.status, body=told, headers=kind)


@contextlib.asynccontextmanager
async def between(found: Between) -> AsyncIterator[str]:
    """Serves it, on its own port the next time again; its URL."""
    async with aiohttp.ClientSession() as http, serving(found) as url:
        found._http = http
        yield url


def before(fault: Fault) -> Later:
    """The fault instead of the collector: nothing is stored."""

    async def spoilt(request: web.Request, _: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        return await fault(request)

    return spoilt


def after(fault: Fault) -> Later:
    """The collector stores it, and the agent hears the fault."""

    async def spoilt(request: web.Request, passed_on: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        assert (await passed_on()).status == 200
        return await fault(request)

    return spoilt
