"""`roomprobe demo`: stand-in far ends on loopback, the real pipeline against them, the report, and what it was.

The stand-ins are TLS servers for the two names and a UDP answerer on the five ports, all on 127.0.0.1 with ports of the
kernel's choice: the demo needs no privilege, no name service and no network, and sends nothing outside this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from typing import cast

import msgspec

from roomprobe import host, pipeline, plan, profile
from roomprobe.config import Config
from roomprobe.farend.selfsigned import certificate, in_memory
from roomprobe.options import Options
from roomprobe.report import output
from roomprobe.report.progress import Progress

ORG = "demo"
NAMES = ("config.starleaf.com", f"{ORG}.call.sl")
LOOPBACK = "127.0.0.1"

WHAT_IT_WAS = f"""
This was a demonstration. The far ends were stand-ins on this machine ({LOOPBACK}): two TLS servers with a
certificate made a moment ago, and an answerer for the five UDP ports (on other port numbers, which need no privilege).
Everything else was real: the same plan, packets, judging and report as in a meeting room. Nothing left this machine.

For real, on the network of the room system:

    roomprobe --once --org YOUR-ORGANISATION       (the part before .call.sl)
    roomprobe plan --org YOUR-ORGANISATION         (what it would send, without sending it)
    roomprobe explain F3                           (what one row of the report means)
"""


class Answerer(asyncio.DatagramProtocol):
    """Answers every datagram with a few bytes, never with more than it got."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) >= 8:
            self.transport.sendto(b"\xffdemo" + data[-3:], addr)


async def _web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def far_ends(file: pathlib.Path, rows: Mapping[str, str]) -> AsyncIterator[dict[str, int]]:
    """Starts one stand-in a row (`rows`: row id → transport); gives row id → port, and stops them all."""
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    async with contextlib.AsyncExitStack() as stack:
        ports: dict[str, int] = {}
        for row, transport in rows.items():
            if transport == "tcp":
                server = await asyncio.start_server(_web, LOOPBACK, 0, ssl=context)
                await stack.enter_async_context(server)
                ports[row] = server.sockets[0].getsockname()[1]
            else:
                made, _ = await loop.create_datagram_endpoint(Answerer, local_addr=(LOOPBACK, 0))
                stack.callback(made.close)
                ports[row] = made.get_extra_info("sockname")[1]
        yield ports


async def _run(options: Options) -> int:
    with in_memory(certificate("roomprobe demo", NAMES), "The demo") as file:
        base = Config()
        config = msgspec.structs.replace(
            base,
            site=msgspec.structs.replace(base.site, org=ORG, room="Demonstration"),
            network=msgspec.structs.replace(base.network, ca_file=str(file), resolvers=(LOOPBACK,)),
            targets=dict.fromkeys(NAMES, (LOOPBACK,)),
        )
        here = msgspec.structs.replace(host.gather(config), trouble=None, families=(4,), resolvers=(LOOPBACK,))
        made = plan.make(profile.load(("starleaf",)), config, here)
        runnable = {c.row: c.transport or "" for c in made.checks if c.skip is None and c.kind != "dns"}
        async with far_ends(file, runnable) as ports:
            moved = tuple(msgspec.structs.replace(c, port=ports[c.row]) if c.row in ports else c for c in made.checks)
            stand_in = msgspec.structs.replace(made, checks=moved)
            report = await pipeline.measure(stand_in, config, here, options.timeout, Progress(sys.stderr))
    status = output.write(report, options, sys.stdout)
    if not options.json and not options.ndjson:
        sys.stdout.write(WHAT_IT_WAS)
    return status


def main(options: Options) -> int:
    """Runs the demonstration; returns the exit status of its report."""
    return asyncio.run(_run(options))
