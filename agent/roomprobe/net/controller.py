"""One port of the controller link played as the touchscreen controller plays it: connect, listen or ask, hold, close cleanly.

A real codec is never disturbed: nothing but a TLS handshake, `GET /` and `GET /auth` is sent, nothing is repeated, and the
first refusal ends what is left. Only a far end that showed itself to be a roomprobe (wire/exchange.py) is measured.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from typing import Any, Literal

import msgspec

from roomprobe import trust
from roomprobe.link.evidence import Api, ControllerEvidence, Hold
from roomprobe.model import Check
from roomprobe.net import Net, emulator
from roomprobe.net.claims import Claims
from roomprobe.net.lines import Lines
from roomprobe.net.stream import CONNECT_S, Stream, connect
from roomprobe.net.tls import Conversation, context
from roomprobe.wire import auth, exchange, http1
from roomprobe.wire.reader import Malformed

LISTEN_S = 2.0  # rows I1, I3, I4: wait so long for a banner
ASK_S = 3.0
FINISH_S = 0.3
KEEP_ALIVE_S = 3.5  # the kernel's own question and its repeats
HTTPS = 443
MOST_BANNER, MOST_SERVER, MOST_BODY, MOST_INTERIM = 64, 200, 4096, 3


@dataclasses.dataclass(slots=True)
class Link:
    """What the ports of one codec know of each other during a run. `asking`: how many still wait for an HTTP answer."""

    named: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    refused: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    hole_sought: bool = False
    asking: int = 0


async def play(check: Check, net: Net) -> ControllerEvidence:
    """Everything that one port of the link is asked, in one connection; never raises for what the far end does."""
    with Claims(check.address or "") as claims:
        evidence = await _play(check, net)
        return msgspec.structs.replace(evidence, macs=claims.macs())


async def _play(check: Check, net: Net) -> ControllerEvidence:
    started = time.monotonic()
    address, ask = check.address or "", check.params["ask"][0]
    link: Link = net.links.setdefault(address, Link())
    link.asking += ask != "listen"
    seen: dict[str, Any] = {}
    try:
        interface = None if "%" in address else net.interface
        made, stream = await connect(
            address, check.port or 0, deadline_s=CONNECT_S, bucket=net.bucket, interface=interface
        )
        if stream is not None:
            port = _Port(check, net, link, stream, seen)
            try:
                await port.talk()
            except asyncio.CancelledError:
                if not port.held:
                    raise
                # Stopped by hand, or by the end of the run, while nothing was left to do but wait: the rest is known.
                held = round(time.monotonic() - port.held, 3)
                seen["hold"] = Hold(asked_s=port.hold_s or LISTEN_S, after_s=held, end="stopped")
            finally:
                stream.close()
        elif made.result == "refused":
            link.refused.set()
    finally:
        link.asking -= ask != "listen" and "asked" not in seen
    seen.pop("asked", None)
    return ControllerEvidence(
        connect=made,
        ask=ask,
        named_emulator=link.named.is_set(),
        duration_s=round(time.monotonic() - started, 4),
        **seen,
    )


class _Port:
    """A connection that came about; `seen` fills up with fields of ControllerEvidence."""

    def __init__(self, check: Check, net: Net, link: Link, stream: Stream, seen: dict[str, Any]) -> None:
        self.check, self.net, self.link, self.stream, self.seen = check, net, link, stream, seen
        self.ask: Literal["listen", "tls", "auth"] = check.params["ask"][0]
        self.hold_s: float | None = check.params.get("hold_s")
        self.lines = Lines(stream)
        self.tls: Conversation | None = None
        self.held: float | None = None
        seen.update(stage="connected", timing=stream.timing())

    async def talk(self) -> None:
        """Asks, measures what may be measured, holds what should be held, and closes."""
        await {"listen": self._listen, "tls": self._shake_hands, "auth": self._auth}[self.ask]()
        if self.stream.ended and not self.link.named.is_set():
            self.link.refused.set()
        if self.link.named.is_set() and not self.stream.ended:
            await self._measure()
        elif self.hold_s is not None and not self.stream.ended:
            self.held = time.monotonic()
            self.seen["hold"] = await self._hold_silently(self.hold_s)
        self.seen["closed"] = self.stream.ended
        await self._close()

    def _asked(self) -> None:
        """The HTTP answer is in, or never will be: the silent ports need not wait for it any longer."""
        self.link.asking -= 1
        self.seen["asked"] = True

    async def _listen(self) -> None:
        """Until bytes, the end, LISTEN_S, the news that this is an emulator, or a refusal that leaves nothing to wait for."""
        started = time.monotonic()
        reading = asyncio.ensure_future(self.stream.read(MOST_BANNER, started + LISTEN_S))
        try:
            while not reading.done() and not self.link.named.is_set():
                if self.link.refused.is_set() and not self.link.asking:
                    break
                await asyncio.wait({reading}, timeout=0.02)
            data = reading.result() if reading.done() else None
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})
        self.seen["listened_s"] = round(time.monotonic() - started, 3)
        if data:
            self.seen.update(stage="answered", banner=data.hex())

    async def _shake_hands(self) -> None:
        made = self.net.tls_contexts.get("controller") or self.net.tls_contexts.setdefault("controller", context(()))
        self.tls = Conversation(self.stream, made, None)
        until = time.monotonic() + ASK_S
        whole = await self.tls.handshake(until)
        talk = self.tls.talk
        self.seen.update(tls_stage=talk.stage, tls_version=talk.version, alert=talk.alert, not_tls=talk.not_tls)
        if talk.first:
            self.seen["stage"] = "answered"
        if talk.not_tls:
            self.seen["banner"] = talk.first.hex()
        if talk.chain:
            self.seen["certificate"] = trust.describe(talk.chain[0])
        if whole:
            self.lines = Lines(self.tls)
            await self._get("/", until)
        else:
            self.hold_s = None
        self._asked()

    async def _auth(self) -> None:
        until = time.monotonic() + ASK_S
        body = await self._get("/auth", until)
        if body is None and "http_status" in self.seen:
            self.seen["api"] = Api(documented=False, problem="unfinished")
        if body is not None:
            try:
                found = auth.parse(body)
                said = Api(documented=True, iterations=found.iterations, authenticated=found.authenticated)
            except Malformed as error:
                said = Api(documented=False, problem=str(error)[:MOST_SERVER])
            self.seen["api"] = said
        self._asked()

    async def _get(self, path: str, until: float) -> bytes | None:
        """One GET; the body of the answer, None when there was no HTTP answer or not all of it in time."""
        port = self.check.port if self.tls is None or self.check.port != HTTPS else None
        await self.lines.write(http1.request(path, self.check.address or "", port), until)
        head = await self.lines.head(until)
        for _ in range(MOST_INTERIM):
            if not isinstance(head, http1.Head) or head.status >= 200:
                break
            head = await self.lines.head(until)  # RFC 9110 15.2: interim answers come before the one that counts
        if not isinstance(head, http1.Head):
            if self.lines.kept:
                self.seen.update(stage="answered", banner=self.lines.kept[:MOST_BANNER].hex())
            return None
        self.seen.update(stage="answered", http_status=head.status, server=(head.server or "")[:MOST_SERVER] or None)
        if head.server == exchange.GREETING:
            self.link.named.set()
        return await self._body(head, until)

    async def _body(self, head: http1.Head, until: float) -> bytes | None:
        if head.content_length is not None:
            return await self.lines.exactly(head.content_length, until) if head.content_length <= MOST_BODY else b""
        chunks = any(name == "transfer-encoding" for name, _ in head.headers)
        while len(self.lines.kept) <= MOST_BODY:
            try:
                whole = http1.dechunked(self.lines.kept) if chunks else None
            except Malformed:
                return b""
            if whole is not None:
                return whole
            if not await self.lines.more(until):
                return self.lines.kept if self.lines.over and not chunks else None
        return b""

    async def _measure(self) -> None:
        """What only another roomprobe is asked."""
        met = await emulator.meet(self.lines)
        if met is None:
            return
        self.seen.update(stage="answered", emulator=met.emulator)
        blocks = await emulator.measure(met, self.check, self.net, self._claim)
        self.seen.update(blocks=blocks, timing=_later(self.seen["timing"], self.stream))
        if blocks.up and blocks.down:
            self.held = time.monotonic()
            self.seen["hold"] = await self._hold_emulator(met, LISTEN_S if self.hold_s is None else self.hold_s)

    def _claim(self) -> bool:
        """Whether this port is the one that looks for the size of a hole; one is enough, and inside TLS sizes are not exact."""
        first = self.tls is None and not self.link.hole_sought
        self.link.hole_sought = self.link.hole_sought or first
        return first

    async def _hold_emulator(self, met: emulator.Exchange, hold_s: float) -> Hold:
        started = time.monotonic()
        answered, token = await met.hold(hold_s), secrets.token_hex(8)
        if answered:
            idle = await met.idle(started + hold_s)
            answered = await met.ping(token) if idle == "silent" else None if idle == "noise" else False
        if answered is not False:
            end: Literal["alive", "unproven"] = "alive" if answered else "unproven"
            return Hold(asked_s=hold_s, after_s=round(time.monotonic() - started, 3), end=end)
        lost, asked = self._lost(hold_s, started), time.monotonic()
        again, far_side = await emulator.after_loss(met, self.check, self.net, tls=self.tls is not None)
        if far_side == "open" and lost.end == "silent" and await met.late(token, asked + emulator.LATE_S):
            return Hold(
                asked_s=hold_s, after_s=round(time.monotonic() - started, 3), end="alive"
            )  # an outage, and it is over
        if lost.end == "silent" and not self.stream.unacknowledged():
            lost = msgspec.structs.replace(
                lost, end="unproven"
            )  # the far kernel has our question, its program is silent
        return msgspec.structs.replace(lost, again=again, far_side=far_side)

    async def _hold_silently(self, hold_s: float) -> Hold:
        """A real codec is only kept open; at the end its kernel is asked by keep-alive. The first loss ends it on all ports."""
        started, noisy = time.monotonic(), False
        self.stream.keep_alive(hold_s)
        while not self.stream.ended and not self.link.refused.is_set():
            now = time.monotonic() - started
            if now >= hold_s and self.stream.silent_s() < now - hold_s + 0.5:
                return Hold(asked_s=hold_s, after_s=round(now, 3), end="alive", noisy=noisy)
            if now >= hold_s + KEEP_ALIVE_S:
                return Hold(asked_s=hold_s, after_s=round(now, 3), end="unproven")
            noisy = bool(await self.stream.read(1024, time.monotonic() + 0.2)) or noisy
        if self.stream.ended:
            self.link.refused.set()
            return self._lost(hold_s, started)
        return Hold(asked_s=hold_s, after_s=round(time.monotonic() - started, 3), end="stopped")

    def _lost(self, hold_s: float, started: float) -> Hold:
        end: Literal["silent", "reset", "closed"] = "silent" if self.stream.timed_out else self.stream.ended or "silent"
        return Hold(asked_s=hold_s, after_s=round(time.monotonic() - started, 3), end=end)

    async def _close(self) -> None:
        until = time.monotonic() + FINISH_S
        if self.tls is not None:
            await self.tls.close(until)
        await self.stream.finish(until)


def _later(first: Any, stream: Stream) -> Any:
    """The connect's own time, with what was learned since."""
    if stream.ended:
        return first
    return msgspec.structs.replace(stream.timing(), rtt_ms=first.rtt_ms)
