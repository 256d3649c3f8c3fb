"""One collector process from start to stop: sockets, certificate, housekeeping, signals, and what systemd hears."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import logging
import math
import os
import signal
import sqlite3
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from roomprobe.collector import app as application
from roomprobe.collector import first, logs, retention, tls
from roomprobe.collector.auth import Handler
from roomprobe.collector.clock import Looked, remember
from roomprobe.collector.connections import Connections, affordable
from roomprobe.collector.context import Collector, Settings
from roomprobe.collector.database import alone, writable
from roomprobe.collector.exporters import running as exporters
from roomprobe.collector.exporters.options import Export
from roomprobe.collector.problems import Refusal
from roomprobe.collector.retention import Keep
from roomprobe.config import ConfigError
from roomprobe.daemon.notify import Notifier
from roomprobe.model import Frozen
from roomprobe.text import escape

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
    logs.set_up()
    writable(serve.state)
    with alone(serve.state):
        asyncio.run(_serve(serve, say))
    return 0


def plan_tls(serve: Serve) -> tls.Chain | None:
    """The certificate; None for plain HTTP, which never leaves this machine except to a proxy. ConfigError."""
    if serve.certificate is not None and serve.key is not None:
        if serve.behind_proxy:
            raise ConfigError("Behind a proxy the proxy has the certificate; leave out --cert and --key.")
        return tls.Chain(serve.certificate, serve.key)
    if serve.behind_proxy or ipaddress.ip_address(serve.address).is_loopback:
        return None
    return tls.Chain(*tls.own(serve.state, tls.host_names(serve.address), datetime.datetime.now(datetime.UTC)))


async def _serve(serve: Serve, say: Callable[[str], None]) -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.put_nowait, number)
    notifier = Notifier()
    chain = plan_tls(serve)
    settings = Settings(
        state=serve.state,
        secure=chain is not None,
        behind_proxy=serve.behind_proxy,
        url=serve.url,
        keep=serve.keep,
        body_s=serve.body_s,
    )
    collector = Collector(settings)
    try:
        async with (
            exporters.exporting(collector, serve.export) as reopen,
            listening(serve, collector, chain.context if chain else None) as port,
        ):
            url = _url(serve, port, secure=chain is not None)
            await _hello(collector, url, chain.pin if chain else "", say)
            notifier.ready(url)
            while await told.get() == signal.SIGHUP:
                notifier.reloading()
                reopen()
                if chain is not None:
                    await _renew(collector, chain, say)
                notifier.ready(url)
            notifier.stopping()
    finally:
        collector.close()


@contextlib.asynccontextmanager
async def listening(serve: Serve, collector: Collector, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """The collector's socket and its housekeeping; gives the port. ConfigError when the place is taken."""
    options = {"access_log": None, "auto_decompress": False, "keepalive_timeout": PAUSE_S, "lingering_time": 2.0}
    most, backlog = affordable(collector.settings.most_connections)
    connections = Connections(most, partial(application.unread, collector), options, serve.head_s)
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
            backlog=backlog,
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


def _url(serve: Serve, port: int, *, secure: bool) -> str:
    address = ipaddress.ip_address(serve.address)
    host = tls.host_names(serve.address)[0] if address.is_unspecified else str(address)
    return serve.url or f"{'https' if secure else 'http'}://{_place(host, port)}"


async def _hello(collector: Collector, url: str, pin: str, say: Callable[[str], None]) -> None:
    """Says where the dashboard is, and at the first start where the password that opens it is."""
    password = None
    try:
        await collector.write(_meta, url=url, pin=pin)
        password = await first.password(collector, terminal=sys.stdout.isatty())
    except Refusal as refusal:  # a full disk, say: what is there can be read, and boxes are told to wait
        if not await collector.reader.ask(first.is_set):
            raise ConfigError(
                f"The store in {escape(str(collector.settings.state))} cannot be begun. {refusal}"
            ) from None
        logging.getLogger("roomprobe").warning(str(refusal))
    say(f"roomprobe collector: {url}")
    if password is not None:
        say(password)


async def _renew(collector: Collector, chain: tls.Chain, say: Callable[[str], None]) -> None:
    """Reads the certificate anew; a bad one is refused and the one before stays."""
    before = chain.pin
    try:
        chain.renew()
    except ConfigError as error:
        logging.getLogger("roomprobe").warning("the certificate stays as it was: %s", error)
        return
    if chain.pin != before:
        await _quietly(lambda: collector.write(_meta, pin=chain.pin))
        say("Another certificate is served from now on; boxes that pinned the one before have to be enrolled again.")


def _meta(db: sqlite3.Connection, **values: str) -> None:
    """What the sub-words need to know for their links."""
    db.executemany("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", values.items())


async def _beat(collector: Collector) -> None:
    """Writes the counters and tells the watchdog, as long as the store answers."""
    notifier = Notifier()
    every = min(BEAT_S, (notifier.watchdog_s or math.inf) / 4)
    while True:
        await asyncio.sleep(every)
        await collector.flush()
        await _quietly(lambda: collector.write(lambda db: None))
        notifier.alive()


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
