"""A touch controller in the lab: holds its five connections to a codec and counts how often it loses one.

A program of its own (standard library only): controller_standin.py ADDRESS LOG [OFFSET]
It asks for the web page and for /auth once a connection, like a panel that starts, then waits; a connection that ends
is made again. LOG gets a JSON object a line: `connected`, `lost` (an outage) and `failed` (an attempt), with the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import TextIO

ASKED = {69: b"", 443: b"GET / HTTP/1.1\r\nHost: codec\r\n\r\n", 5000: b"", 5152: b""}
ASKED[23456] = b"GET /auth HTTP/1.1\r\nHost: codec\r\n\r\n"
AGAIN_S = 0.2
CONNECT_S = 3.0
# Without these it would not notice a codec that went without goodbye.
KEEPALIVE = {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 3}


def insecure() -> ssl.SSLContext:
    """A controller takes the codec's self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def hold(address: str, port: int, offset: int, log: TextIO) -> None:
    """Keep one connection for ever."""

    def tell(event: str, **more: object) -> None:
        print(json.dumps({"time": time.time(), "event": event, "port": port, **more}), file=log, flush=True)

    while True:
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                tls = insecure() if port == 443 else None
                reader, writer = await asyncio.open_connection(address, port + offset, ssl=tls)
                for option, value in KEEPALIVE.items():
                    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, value)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                writer.write(ASKED[port])
                await writer.drain()
            tell("connected", source=writer.get_extra_info("sockname")[1])
            while await reader.read(4096):
                pass
            tell("lost", why="closed")
        except (OSError, TimeoutError) as error:
            tell("failed" if writer is None else "lost", why=type(error).__name__)
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await asyncio.sleep(AGAIN_S)


async def main(address: str, log: TextIO, offset: int) -> None:
    """All five, until ended."""
    async with asyncio.TaskGroup() as group:
        for port in ASKED:
            group.create_task(hold(address, port, offset, log))


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a") as file:
        asyncio.run(main(sys.argv[1], file, int(sys.argv[3]) if len(sys.argv) > 3 else 0))
