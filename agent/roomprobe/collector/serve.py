"""One collector process from start to stop: sockets, certificate, first password, housekeeping, signals."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import signal
import sqlite3
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from roomprobe.collector import app as application
from roomprobe.collector import notify, people, retention, tls, tokens
from roomprobe.collector.auth import Handler
from roomprobe.collector.clock import Looked, remember
from roomprobe.collector.connections import Connections, affordable
from roomprobe.collector.context import Collector, Settings
from roomprobe.collector.database import writable
from roomprobe.collector.exporters import running as exporters
from roomprobe.collector.exporters.options import Export
from roomprobe.collector.problems import Refusal
from roomprobe.collector.retention import Keep
from roomprobe.config import ConfigError
from roomprobe.model import Frozen

BEAT_S = 5.0
TIDY_S = 60.0
STOP_S = 1.0
HANDSHAKE_S = 10.0
PAUSE_S = 75.0  # a connection between two requests


class Serve(Frozen, frozen=True, kw_only=True):
    """What `roomprobe collector` was told. `url` is what boxes reach it by, when it is not what it listens on."""

    address: str = "127.0.0.1"
    port: int = 8080
    state: Path
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    url: str | None = None
    keep: Keep = Keep()
    export: Export = Export()
    head_s: float = 20.0
    body_s: float = 120.0


def main(serve: Serve, say: Callable[[str], None]) -> int:
    """Runs until SIGTERM or SIGINT; 0. ConfigError when it cannot begin."""
    asyncio.run(_serve(serve, say))
    return 0


def plan_tls(serve: Serve) -> tuple[ssl.SSLContext | None, str | None]:
    """Context and pin; (None, None) for plain HTTP, which never leaves this machine except to a proxy. ConfigError."""
    if serve.certificate is not None and serve.key is not None:
        if serve.behind_proxy:
            raise ConfigError("Behind a proxy the proxy has the certificate; leave out --cert and --key.")
        return tls.context(serve.certificate, serve.key), tls.pin(serve.certificate)
    if serve.behind_proxy or ipaddress.ip_address(serve.address).is_loopback:
        return None, None
    certificate, key = tls.own(serve.state, tls.host_names(serve.address), datetime.datetime.now(datetime.UTC))
    return tls.context(certificate, key), tls.pin(certificate)


async def _serve(serve: Serve, say: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    writable(serve.state)
    context, pin = plan_tls(serve)
    settings = Settings(
        state=serve.state,
        secure=context is not None,
        behind_proxy=serve.behind_proxy,
        keep=serve.keep,
        body_s=serve.body_s,
    )
    collector = Collector(settings)
    try:
        async with exporters.exporting(collector, serve.export), listening(serve, collector, context) as port:
            await _hello(serve, collector, "http" if context is None else "https", port, pin, say)
            notify.say("READY=1")
            await stop.wait()
            notify.say("STOPPING=1")
    finally:
        collector.close()


@contextlib.asynccontextmanager
async def listening(serve: Serve, collector: Collector, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """The collector's socket and its housekeeping; gives the port. ConfigError when the place is taken."""
    options = {"access_log": None, "auto_decompress": False, "keepalive_timeout": PAUSE_S, "lingering_time": 2.0}
    connections = Connections(
        affordable(collector.settings.most_connections), partial(application.unread, collector), options, serve.head_s
    )
    app = application.make(collector)
    app.middlewares.insert(0, _watch(connections))
    runner = web.AppRunner(app, shutdown_timeout=STOP_S)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            connections.factory(runner.server),
            # asyncio keeps IPv4 out of "::", and whoever says all addresses means both families
            ["::", "0.0.0.0"] if serve.address == "::" else serve.address,
            serve.port,
            ssl=context,
            backlog=512,
            ssl_handshake_timeout=None if context is None else HANDSHAKE_S,
        )
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            f"Cannot listen on {_place(serve.address, serve.port)} ({_why(error)}); --listen ADDRESS:PORT names another place."
        ) from None
    jobs = [loop.create_task(job) for job in (_beat(collector), _tidy(collector), connections.sweep())]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await runner.cleanup()
        await collector.flush()


def _why(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "it cannot be used"


def _watch(connections: Connections) -> Middleware:
    @web.middleware
    async def watched(request: web.Request, handler: Handler) -> web.StreamResponse:
        connections.begin(request)
        try:
            return await handler(request)
        finally:
            connections.done(request)

    return watched


async def _hello(
    serve: Serve, collector: Collector, scheme: str, port: int, pin: str | None, say: Callable[[str], None]
) -> None:
    """Says where the dashboard is, and at the first start the password that opens it."""
    address = ipaddress.ip_address(serve.address)
    host = tls.host_names(serve.address)[0] if address.is_unspecified else str(address)
    url = serve.url or f"{scheme}://{_place(host, port)}"
    first = tokens.password()
    stretched = await asyncio.to_thread(tokens.stretch, first)
    made = await collector.write(_begin, collector.now(), url, pin, stretched)
    say(f"roomprobe collector: {url}")
    if made:
        say(f"The first password is {first}")
        say("It is not shown again; `roomprobe collector password` sets another.")


def _begin(db: sqlite3.Connection, now: int, url: str, pin: str | None, stretched: str) -> bool:
    for name, value in (("url", url), ("pin", pin or "")):
        db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))
    if db.execute("SELECT 1 FROM user").fetchone() is not None:
        return False
    people.set_password(db, now, stretched)
    return True


async def _beat(collector: Collector) -> None:
    """Writes the counters and tells the watchdog, as long as the store answers."""
    while True:
        await asyncio.sleep(BEAT_S)
        await collector.flush()
        await _quietly(lambda: collector.write(lambda db: None))
        notify.say("WATCHDOG=1")


async def _tidy(collector: Collector) -> None:
    """Lets go of what is too old, one bite at a time with room for uploads between; nothing while the clock is in doubt."""
    while True:
        await asyncio.sleep(TIDY_S)
        while await _quietly(lambda: collector.write(_tidied, collector.look(), collector.settings.keep)):
            await asyncio.sleep(0.2)


def _tidied(db: sqlite3.Connection, looked: Looked, keep: Keep) -> bool:
    remember(db, looked)
    return not looked.ahead and retention.let_go(db, looked.at, keep)


async def _quietly(job: Callable[[], Awaitable[bool | None]]) -> bool:
    try:
        return bool(await job())
    except Refusal:
        return False  # the disk is full, say: the uploads are told, and the next round tries again


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
