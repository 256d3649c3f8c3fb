"""The client's side of the recognition exchange: who is there, how far away, which packet sizes get through, is it still alive.

Only ever spoken to a far end that showed `Server: roomprobe-codec/1` (wire/exchange.py, docs/codec.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Literal, NamedTuple

from roomprobe.link.evidence import Blocks, Emulator
from roomprobe.model import Check
from roomprobe.net import Net
from roomprobe.net.lines import Lines
from roomprobe.net.stream import Stream, connect
from roomprobe.net.tls import Conversation, context
from roomprobe.wire import asking, exchange
from roomprobe.wire.reader import Malformed

ANSWER_S = 1.5  # a lost packet is repeated by the kernel after 0.2, 0.6 and 1.4 s
LATE_S = 7.0  # the kernel's repeats of what an outage swallowed: 3.0 and 6.2 s after the first
AGAIN_S = 10.0  # a codec side that restarts takes a moment
CONNECT_AGAIN_S = 2.0
PINGS = 3
BLOCK = 4096  # several full packets

Again = Literal["same", "restarted", "refused", "silent"]


@dataclasses.dataclass(slots=True)
class Exchange:
    """A connection on which the far roomprobe has introduced itself."""

    lines: Lines
    emulator: Emulator

    async def ping(self, token: str = "") -> bool | None:
        """One round trip; False: nothing came back, None: something else did."""
        token = token or secrets.token_hex(8)
        line = await self.ask(asking.ping(token))
        if line is None:
            return None if self.lines.kept else False
        return True if asking.parse_pong(line, token) else None

    async def ask(self, request: bytes) -> bytes | None:
        """The one line that answers a request."""
        until = time.monotonic() + ANSWER_S
        if not await self.lines.write(request, until):
            return None
        return await self.lines.line(exchange.MOST_LINE, until)

    async def up(self, size: int) -> bool | None:
        """Whether a block of `size` bytes gets there: None when the answer was no answer to that, or the far end went."""
        line = await self.ask(asking.sink(size))
        if line is None:
            return None if self.lines.over or self.lines.kept else False
        return True if asking.parse_sunk(line, size) else None

    async def down(self, size: int) -> bool | None:
        """Whether a block of `size` bytes gets here; None as for `up`, and when it began to come."""
        line = await self.ask(asking.source(size))
        if line is None:
            return None if self.lines.over or self.lines.kept else False
        if not asking.parse_data(line, size):
            return None
        rest = await self.lines.exactly(size - len(line), time.monotonic() + ANSWER_S)
        return True if rest is not None else None  # a hole swallows the first packet as well

    async def idle(self, until: float) -> Literal["silent", "ended", "noise"]:
        """What comes of a connection on which nothing should come until then."""
        line = await self.lines.line(exchange.MOST_LINE, until)
        if line is not None or self.lines.kept:
            return "noise"
        return "silent" if time.monotonic() >= until else "ended"

    async def late(self, token: str, until: float) -> bool:
        """Whether the answer to an earlier `ping` comes after all."""
        line = await self.lines.line(exchange.MOST_LINE, until)
        return line is not None and asking.parse_pong(line, token)

    async def hold(self, seconds: float) -> bool | None:
        """Tells the far end that nothing will come for so long; False and None as for `ping`."""
        whole = max(1, math.ceil(seconds))
        line = await self.ask(asking.hold(whole))
        if line is None:
            return None if self.lines.kept else False
        return True if asking.parse_held(line, whole) else None


class Another(NamedTuple):
    """One more connection to the emulator, introduced if `met`; `refused`: it was refused, or ended before that."""

    met: Exchange | None = None
    stream: Stream | None = None
    refused: bool = False


async def meet(lines: Lines) -> Exchange | None:
    """Says hello; None when the far end is no roomprobe after all, or nothing gets through any more."""
    nonce = secrets.token_hex(8)
    until = time.monotonic() + ANSWER_S
    if not await lines.write(asking.hello(nonce), until):
        return None
    line = await lines.line(exchange.MOST_LINE, until)
    if line is None:
        return None
    try:
        found = asking.parse_codec(line, nonce)
    except Malformed:
        return None
    met = Exchange(lines=lines, emulator=_said(found, ()))
    line = await met.ask(asking.ports())
    if line is not None:
        with contextlib.suppress(Malformed):
            met.emulator = _said(found, asking.parse_listening(line))
    return met


def _said(found: exchange.Codec, listening: tuple[int, ...]) -> Emulator:
    return Emulator(
        instance=found.instance,
        connection=found.connection,
        version=found.version,
        seen_address=found.address,
        seen_port=found.port,
        listening=listening,
    )


async def measure(met: Exchange, check: Check, net: Net, seek: Callable[[], bool]) -> Blocks:
    """Round trips for the kernel to time, then a large block each way; `seek` says whether to look for the size that passes."""
    for _ in range(PINGS):
        if not await met.ping():
            return Blocks(size=BLOCK)
    up = await met.up(BLOCK)
    # Behind a stuck block everything waits for its repeats: the other way is asked on a connection of its own.
    down = await met.down(BLOCK) if up else await _anew(check, net, BLOCK)
    stuck = False in (up, down)
    if not stuck or not seek():
        return Blocks(size=BLOCK, up=up, down=down)
    from roomprobe.net.packets import largest  # few runs look for sizes

    upward, downward = await asyncio.gather(
        largest(check, net, Exchange.up, wanted=up is False), largest(check, net, Exchange.down, wanted=down is False)
    )
    return Blocks(
        size=BLOCK,
        up=up,
        down=down,
        largest_up=upward.size,
        largest_down=downward.size,
        sure=upward.sure or downward.sure,
    )


async def _anew(check: Check, net: Net, size: int) -> bool | None:
    async with another(check, net, tls=check.params["ask"] == ["tls"]) as one:
        return None if one.met is None else await one.met.down(size)


@contextlib.asynccontextmanager
async def another(check: Check, net: Net, *, tls: bool) -> AsyncIterator[Another]:
    """One more connection to the same emulator and port."""
    address = check.address or ""
    interface = None if "%" in address else net.interface
    made, stream = await connect(
        address, check.port or 0, deadline_s=CONNECT_AGAIN_S, bucket=net.bucket, interface=interface
    )
    if stream is None:
        yield Another(refused=made.result == "refused")
        return
    try:
        channel: Stream | Conversation = stream
        if tls:
            channel = Conversation(stream, context(()), None)
            if not await channel.handshake(time.monotonic() + ANSWER_S):
                yield Another(stream=stream, refused=stream.ended is not None)
                return
        met = await meet(Lines(channel))
        yield Another(met=met, stream=stream, refused=met is None and stream.ended is not None)
    finally:
        stream.close()


async def after_loss(
    met: Exchange, check: Check, net: Net, *, tls: bool
) -> tuple[Again, Literal["open", "closed", "unknown"] | None]:
    """After a held connection died: is the same emulator still there, and does it think that the old one lives?

    Asked again for AGAIN_S seconds while nobody takes a connection.
    """
    until = time.monotonic() + AGAIN_S
    while True:
        again, far_side = await _once_more(met, check, net, tls=tls)
        if again in ("same", "restarted") or time.monotonic() >= until:
            return again, far_side
        await asyncio.sleep(0.25)


async def _once_more(
    met: Exchange, check: Check, net: Net, *, tls: bool
) -> tuple[Again, Literal["open", "closed", "unknown"] | None]:
    async with another(check, net, tls=tls) as one:
        now = one.met
        if now is None:
            return "refused" if one.refused else "silent", None
        if now.emulator.instance != met.emulator.instance:
            return "restarted", None
        number = met.emulator.connection
        line = await now.ask(asking.alive(number))
        try:
            return "same", None if line is None else asking.parse_alive(line, number)
        except Malformed:
            return "same", None
