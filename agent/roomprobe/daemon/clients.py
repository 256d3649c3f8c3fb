"""Whoever asks the daemon something, over its unix socket or its metrics port: so many at once, and so long each, whatever they do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def bounded(answer: Answer, most: int, patience_s: float) -> Answer:
    """`answer` for asyncio's servers: at most `most` clients at once, and each is gone after `patience_s`, even one that reads nothing."""
    busy = 0

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        busy += 1
        try:
            if busy <= most:
                async with asyncio.timeout(patience_s):
                    await answer(reader, writer)
                    writer.close()
                    await writer.wait_closed()
        except (OSError, ValueError, EOFError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or asked nonsense
        finally:
            busy -= 1
            writer.transport.abort()  # what nobody reads would keep the connection open

    return client
