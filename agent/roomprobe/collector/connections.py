"""Connections that only hold a place: closed when no request comes in time, or when there are too many of them.

aiohttp bounds the body and the pause between requests, not the time that the head of a request may take.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

HEAD_S = 20.0  # from the connection, or the answer before, to the whole head of a request
SWEEP_S = 2.0


class Connections:
    """Makes the server's protocols and looks after them. `middleware` goes into the application, `sweep` runs beside it."""

    def __init__(self, most: int, head_s: float = HEAD_S) -> None:
        self._most = most
        self._head_s = head_s
        self._waiting: dict[Any, float] = {}  # protocol → since when; those at work are in `_busy`
        self._busy: set[Any] = set()

    def factory(self, server: web.Server) -> Any:
        """What asyncio calls for each new connection."""

        def made() -> Any:
            protocol = server()
            loop = asyncio.get_running_loop()
            self._waiting[protocol] = loop.time()
            if len(self._waiting) + len(self._busy) > self._most:
                loop.call_soon(self._abort, protocol)
            return protocol

        return made

    def begin(self, request: web.Request) -> None:
        """A request's head is here."""
        self._waiting.pop(request.protocol, None)
        self._busy.add(request.protocol)

    def done(self, request: web.Request) -> None:
        """It was answered; the next head may take as long again."""
        self._busy.discard(request.protocol)
        if request.transport is not None:
            self._waiting[request.protocol] = asyncio.get_running_loop().time()

    async def sweep(self) -> None:
        """Runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(SWEEP_S, self._head_s / 2))
            for protocol, since in list(self._waiting.items()):
                if protocol.transport is None or loop.time() - since > self._head_s:
                    self._abort(protocol)

    def _abort(self, protocol: Any) -> None:
        self._waiting.pop(protocol, None)
        if protocol.transport is not None:
            protocol.transport.abort()
