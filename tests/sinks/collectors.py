"""A collector over real HTTP that stores in memory, with switches for everything that a far end can do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from roomprobe.farend import selfsigned
from roomprobe.wire import reply, upload
from roomprobe.wire.reply import Problem, Receipt
from roomprobe.wire.upload import Loss

TOKEN = "a-token-of-the-agent"
Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Collector:
    """What arrived, and what is to go wrong next: `faults` are used up one a request, `always` stays."""

    def __init__(self) -> None:
        self.runs: dict[str, upload.Record] = {}
        self.losses: dict[tuple[str, int], Loss] = {}
        self.order: list[int] = []
        self.batches: list[int] = []
        self.requests: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.refuse: set[int] = set()
        self.want_full = False
        self.most_records = 2_000
        self.answered = asyncio.Event()
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append({"path": request.path, **{name.lower(): value for name, value in request.headers.items()}})
        try:
            fault = self.faults.pop(0) if self.faults else self.always
            return await fault(request) if fault else await self._store(request)
        finally:
            self.answered.set()

    async def _store(self, request: web.Request) -> web.Response:
        if request.path != "/v1/runs" or request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "No such token.")
        records = [upload.parse(line) for line in upload.unpack(await request.read())]
        if len(records) > self.most_records:
            return problem(413, "Too many.")
        faults = [
            reply.Fault(index=index, detail=f"number {record.seq} is not wanted")
            for index, record in enumerate(records)
            if record.seq in self.refuse
        ]
        if faults:
            return problem(422, "Some are not wanted.", records=tuple(faults))
        before = len(self.runs) + len(self.losses)
        for record in records:
            if isinstance(record, Loss):
                self.losses[record.epoch, record.seq] = record
            else:
                self.runs.setdefault(record.run_id, record)
        self.order += [record.seq for record in records]
        self.batches.append(len(records))
        stored = len(self.runs) + len(self.losses) - before
        receipt = Receipt(
            stored=stored,
            repeated=len(records) - stored,
            want_full=self.want_full,
            time="2026-11-21T12:00:00Z",
        )
        return web.Response(body=reply.build_receipt(receipt), content_type="application/json")


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    body = reply.build_problem(Problem(title="A problem", status=status, detail=detail, **more))
    return web.Response(status=status, body=body, content_type=reply.PROBLEM_TYPE, headers=headers)


def says(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Fault:
    """A fault: any answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        if status >= 400 and not body:
            return problem(status, "As asked.", headers)
        return web.Response(status=status, body=body, headers=headers)

    return answer


async def resets(request: web.Request) -> web.StreamResponse:
    """A fault: the connection is reset before any answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    """A fault: a 200 that promises more than comes."""
    await request.read()
    response = web.StreamResponse(headers={"Content-Length": "500"})
    await response.prepare(request)
    await response.write(b'{"stored": 1, "repea')
    assert request.transport is not None
    request.transport.close()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    """A fault: a 200 whose body does not end, or not for a long time."""
    await request.read()
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            if request.transport is None or request.transport.is_closing():
                break
            await response.write(bytes(65536))
            await asyncio.sleep(0)
    return response


async def slow(request: web.Request) -> web.StreamResponse:
    """A fault: nothing at all, until the client gives up."""
    await asyncio.sleep(3600)
    return web.Response()


class Served(Protocol):
    """What `serving` needs: 0 for any port, which it keeps."""

    port: int

    async def handle(self, request: web.Request) -> web.StreamResponse: ...


@contextlib.asynccontextmanager
async def serving(collector: Served, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The collector on loopback; its URL."""
    app = web.Application(client_max_size=8 << 20)
    app.router.add_route("*", "/{path:.*}", collector.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", collector.port, ssl_context=tls)
    await site.start()
    assert site._server is not None
    collector.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{collector.port}"
    finally:
        await runner.cleanup()


def certificate(directory: Path, name: str = "server") -> tuple[Path, str]:
    """A self-signed certificate with its key in one PEM file, and its fingerprint."""
    import hashlib

    data = selfsigned.certificate(name, ["localhost", name])
    path = directory / f"{name}.pem"
    path.write_bytes(data)
    der = ssl.PEM_cert_to_DER_cert(data[: data.index(b"-----END CERTIFICATE-----") + 26].decode())
    return path, hashlib.sha256(der).hexdigest()


def server_tls(pem: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """The server's side of TLS; `client_ca`: only clients with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context
