"""Connections that only hold a place: closed when no request comes in time, or when there are too many of them; and what is no request.

aiohttp bounds the body and the pause between requests, not the time that the head of a request may take.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

HEAD_S = 20.0  # from the connection, or the answer before, to the whole head of a request
SWEEP_S = 2.0
BACKLOG = 512
OTHER_FILES = 128  # the store, the threads' connections to it, exporters, and some to spare

Unread = Callable[[int], web.Response]  # status → the answer to what is no HTTP request


def affordable(most: int) -> tuple[int, int]:
    """Raises this process's limit of open files as far as it may; (connections up to `most`, backlog) that it allows.

    Without a place for the next one asyncio tries again without end, and says so each time. It takes a whole backlog from each of
    two sockets before it closes the first one that is too many.
    """
    wanted = most + 2 * BACKLOG + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    room = max(48, allowed - OTHER_FILES)
    backlog = min(BACKLOG, room // 3)
    return min(most, room - 2 * backlog), backlog


class _Handler(web.RequestHandler):
    """aiohttp's own, but for strangers' nonsense, which it would answer in its own words and log with a traceback each."""

    __slots__ = ("__weakref__", "_gone", "_unread")

    def __init__(self, server: Any, unread: Unread, gone: Callable[[Any], None], **options: Any) -> None:
        super().__init__(server, **options)
        self._unread, self._gone = unread, gone

    def connection_lost(self, exc: BaseException | None) -> None:
        """Its place is free."""
        super().connection_lost(exc)
        self._gone(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what could not be read, or to somebody who has gone."""
        if not isinstance(exc, HttpProcessingError | ConnectionError):
            return super().handle_error(request, status, exc, message)
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is out")
        answer = self._unread(400 if isinstance(exc, ConnectionError) else status)
        answer.force_close()
        return answer


class _Full(asyncio.Protocol):
    """There is no place for this one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Closes it."""
        transport.close()


class Connections:
    """Makes the server's protocols and looks after them. `middleware` goes into the application, `sweep` runs beside it."""

    def __init__(self, most: int, unread: Unread, options: Mapping[str, Any], head_s: float = HEAD_S) -> None:
        self._most = most
        self._unread = unread
        self._options = options  # of aiohttp's handler
        self._head_s = head_s
        # Protocol → since when. Weak: of one whose TLS handshake failed nobody else is told.
        self._waiting: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._busy: set[Any] = set()

    def factory(self, server: web.Server) -> Any:
        """What asyncio calls for each new connection."""

        def made() -> Any:
            if len(self._waiting) + len(self._busy) >= self._most:
                return _Full()
            protocol = _Handler(server, self._unread, self._forget, loop=asyncio.get_running_loop(), **self._options)
            self._waiting[protocol] = asyncio.get_running_loop().time()
            return protocol

        return made

    def begin(self, request: web.Request) -> None:
        """A request's head is here."""
        self._forget(request.protocol)
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
                if loop.time() - since > self._head_s:
                    self._abort(protocol)

    def _forget(self, protocol: Any) -> None:
        self._waiting.pop(protocol, None)

    def _abort(self, protocol: Any) -> None:
        self._forget(protocol)
        if protocol.transport is not None:
            protocol.transport.abort()
