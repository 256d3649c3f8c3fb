"""A far end that never stops sending: reads end when they should, and everybody else keeps running."""

from __future__ import annotations

import asyncio
import socket
import time

from roomprobe.net.pace import Bucket
from roomprobe.net.stream import Stream, connect


async def _flooded() -> tuple[Stream, asyncio.Server]:
    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            await writer.drain()

    server = await asyncio.start_server(flood, "::1", 0, family=socket.AF_INET6)
    port = server.sockets[0].getsockname()[1]
    _, stream = await connect("::1", port, bucket=Bucket(1000, 1000))
    assert stream is not None
    await asyncio.sleep(0.05)
    return stream, server


async def test_nothing_is_read_once_the_time_is_over() -> None:
    stream, server = await _flooded()
    try:
        assert await stream.read(100, time.monotonic() + 1) == b"x" * 100
        assert await stream.read(100, time.monotonic() - 1) is None
    finally:
        stream.close()
        server.close()


async def test_a_flood_leaves_the_loop_to_others() -> None:
    stream, server = await _flooded()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    try:
        for _ in range(200):
            await stream.read(16, time.monotonic() + 1)
        assert turns >= 150
    finally:
        task.cancel()
        stream.close()
        server.close()


async def test_an_end_in_good_order_does_not_read_for_ever() -> None:
    stream, server = await _flooded()
    await asyncio.wait_for(stream.finish(time.monotonic() + 60), 10)
    server.close()
