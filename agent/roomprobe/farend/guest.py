"""A connection that is being served, with an end to every wait; and the emulator that serves it, as all ports share it."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import time
from collections.abc import Callable

from roomprobe.farend.channel import Channel
from roomprobe.farend.journal import Visit
from roomprobe.farend.limits import IDLE_S, REMEMBERED
from roomprobe.wire.exchange import State


class Over(Exception):
    """The end of a connection: by whom, and the word for why (events.ENDS). `gently`: our last words are to arrive."""

    def __init__(self, by: str, why: str, *, gently: bool = False) -> None:
        super().__init__(by, why)
        self.by, self.why, self.gently = by, why, gently


@dataclasses.dataclass(slots=True)
class Emulator:
    """`instance` and `salt` are new at each start. `context` is the TLS of 443. `ports` are those that are listened on.

    `met` and `gone` hold the peers of connections that had an exchange, by number: those that are open, and the last
    REMEMBERED of those that were.
    """

    version: str
    instance: str
    salt: str
    context: ssl.SSLContext
    ports: tuple[int, ...] = ()
    met: dict[int, str] = dataclasses.field(default_factory=dict)
    gone: dict[int, str] = dataclasses.field(default_factory=dict)

    def forget(self, connection: int) -> None:
        """A connection has closed."""
        if connection in self.met:
            self.gone[connection] = self.met.pop(connection)
        while len(self.gone) > REMEMBERED:
            del self.gone[next(iter(self.gone))]

    def state(self, connection: int, peer: str) -> State:
        """Whether a connection of this very peer is open; another's is as unknown as one that never was."""
        if self.met.get(connection) == peer:
            return "open"
        return "closed" if self.gone.get(connection) == peer else "unknown"


@dataclasses.dataclass(slots=True)
class Guest:
    """`saw` tells the journal what the connection is. Each wait ends with what was waited for, or with Over."""

    channel: Channel
    visit: Visit
    saw: Callable[[str], None]
    idle_s: float = IDLE_S

    async def first(self) -> None:
        """Waits until there is something in the buffer, at most `idle_s`."""
        if not self.channel.buffer:
            await self.more(time.monotonic() + self.idle_s, "idle")

    async def more(self, until: float, why: str) -> None:
        """Waits for more bytes, at most until then; `why` is the word when none came."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                came = await self.channel.more()
        except OSError as error:
            raise _over(error, why) from None
        if not came:
            raise Over("client", "end")

    async def handshake(self, context: ssl.SSLContext, within_s: float) -> None:
        """TLS as the server."""
        try:
            async with asyncio.timeout(within_s):
                done = await self.channel.handshake(context)
        except OSError as error:
            raise _over(error, "slow") from None
        if not done:
            raise Over("client", "end")

    async def send(self, data: bytes, within_s: float) -> None:
        """Sends all of it, if the client reads."""
        try:
            async with asyncio.timeout(within_s):
                await self.channel.send(data)
        except OSError as error:
            raise _over(error, "unread") from None
        await asyncio.sleep(0)  # many commands came in one piece: the others get their turn after each


def _over(error: OSError, why: str) -> Over:
    if isinstance(error, ssl.SSLError):
        return Over("codec", "error", gently=True)
    if isinstance(error, TimeoutError) and error.errno is None:  # with a number it is the kernel that gave up
        return Over("codec", why)
    return Over("client", "reset")
