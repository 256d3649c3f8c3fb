"""One UDP port asked honestly: an opaque, tunnel-like payload and the port's native shape, each from a socket of its own.

Only an answer to the opaque payload proves what the room system needs (rows F3-F7); docs/probes/udp.md has the rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

from roomprobe import refusals
from roomprobe.evidence import Exchange, Failure, Icmp, UdpEvidence
from roomprobe.facts import Facts
from roomprobe.icmp import decisive, is_v6
from roomprobe.model import Check, Hop, Place, Verdict
from roomprobe.net import Net
from roomprobe.net.datagram import Datagram, failure
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.site import on_link
from roomprobe.wire.shapes import SHAPES

SEND_AT_S = (0.0, 0.25, 0.75)
LISTEN_S = 1.0
NATIVE_GRACE_S = 0.05
SHORT = "opaque-short"  # the opaque payload with a TTL of 1
SHORT_WAIT_S = 0.15
MOST_ERRORS = 8


class _Talk:
    """One payload's exchange under way."""

    def __init__(self, payload: str, address: str, port: int, started: float) -> None:
        self.payload, self.started = payload, started
        self._shape = SHAPES["opaque" if payload == SHORT else payload]
        self.seed = os.urandom(64)
        self.ended = asyncio.Event()
        self.sent: list[float] = []
        self.errors: list[Icmp] = []
        self.answered: float | None = None
        self.text: str | None = None
        self.size: int | None = None
        self.valid = False
        self.failure: Failure | None = None
        self.socket: Datagram | None = None
        self._v6 = is_v6(address)
        try:
            self.socket = Datagram(address, port, self._reply, self._error)
        except OSError as error:
            self.failure = failure("connect", error)
            self.ended.set()

    def _reply(self, data: bytes, at: float) -> None:
        answer = self._shape.recognise(self.seed, data)
        if self.answered is None or (answer.valid and not self.valid):
            self.answered, self.text = at - self.started, answer.text
            self.size, self.valid = len(data), answer.valid
        if answer.valid:
            self.ended.set()

    def _error(self, error: Icmp, _quoted: bytes, _at: float) -> None:
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(error)
        if decisive(error, self._v6) or self.payload == SHORT:
            self.ended.set()

    async def play(self, net: Net) -> None:
        """Sends at SEND_AT_S until answered or refused, then listens for LISTEN_S more."""
        if self.socket is None:
            return
        data = self._shape.build(self.seed)
        for at in (*SEND_AT_S, SEND_AT_S[-1] + LISTEN_S):
            try:
                await asyncio.wait_for(self.ended.wait(), max(0.0, self.started + at - time.monotonic()))
                return
            except TimeoutError:
                pass
            if len(self.sent) < len(SEND_AT_S):
                await net.bucket.take()
                self.failure = self.socket.send(data)
                if self.failure:
                    return
                self.sent.append(time.monotonic() - self.started)

    async def play_short(self, net: Net) -> None:
        """One packet that dies at the first router: only somebody nearer than the far end can answer it."""
        if self.socket is not None:
            await net.bucket.take()
            self.failure = self.socket.send(self._shape.build(self.seed), ttl=1)
            self.sent.append(time.monotonic() - self.started)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), SHORT_WAIT_S)

    def freeze(self) -> Exchange:
        """What was seen; closes the socket."""
        port = None
        if self.socket is not None:
            port = self.socket.source_port
            self.socket.close()
        return Exchange(
            payload=self.payload,
            source_port=port,
            sent_s=tuple(round(s, 4) for s in self.sent),
            answered_s=None if self.answered is None else round(self.answered, 6),
            answer=self.text,
            answer_bytes=self.size,
            valid=self.valid,
            errors=tuple(self.errors),
            failure=self.failure,
        )


def payloads(check: Check, opt_in: frozenset[str]) -> tuple[str, ...]:
    """The shapes sent to a row's port: always the opaque one first, then the native ones that may be sent."""
    native = tuple(check.params.get("native", ()))
    return ("opaque", *native, *(name for name in check.params.get("native_opt_in", ()) if name in opt_in))


async def run(check: Check, net: Net) -> UdpEvidence:
    """Asks one address and port with every payload at once; ends early when the opaque one is answered or refused."""
    started = time.monotonic()
    address, port = check.address or "", check.port or 0
    talks = [_Talk(name, address, port, started) for name in payloads(check, net.opt_in)]
    source = next((t.socket.source for t in talks if t.socket), None)
    tasks = [asyncio.create_task(talk.play(net)) for talk in talks]
    exchanges: tuple[Exchange, ...] = ()
    try:
        await tasks[0]
        if talks[0].valid:
            talks.append(_Talk(SHORT, address, port, started))
            await asyncio.gather(asyncio.wait(tasks, timeout=NATIVE_GRACE_S), talks[-1].play_short(net))
        else:
            await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        exchanges = tuple(talk.freeze() for talk in talks)
    return UdpEvidence(source=source, exchanges=exchanges, duration_s=round(time.monotonic() - started, 4))


def judge(check: Check, evidence: UdpEvidence, facts: Facts) -> Verdict:
    """The verdict on this row's own evidence; silence and refusals are placed later by the path (verdict.refine)."""
    what = f"UDP {check.port}"
    opaque = evidence.exchanges[0]
    near = next((e for e in evidence.exchanges if e.payload == SHORT and e.valid), None)
    if near is not None and not on_link(check.address or "", facts):
        return Verdict(
            outcome=Outcome.INTERCEPTED,
            confidence=Confidence.PROVEN,
            reason=Reason.HANDSHAKE_SHORT,
            where=Where.LAN,
            hop=Hop(sender=Place(distance=1)),
            sentence=f"{what} is answered by the first device on the way, in the far end's place: even a packet that cannot get "
            "past it is answered.",
        )
    if opaque.valid and opaque.answered_s is not None:
        last = max((s for s in opaque.sent_s if s <= opaque.answered_s), default=0.0)
        return Verdict(
            outcome=Outcome.OPEN,
            confidence=Confidence.PROVEN,
            reason=Reason.ANSWERED,
            rtt_ms=round((opaque.answered_s - last) * 1000, 3),
            sentence=f"{what} is open: the far end answered a packet like the room system's.",
        )
    if opaque.failure is not None:
        refused = refusals.of_failure(what, opaque.failure, check.address or "")
    else:
        refused = refusals.of_icmp(what, opaque.errors, check.address or "", facts, evidence.source)
    native = next((e for e in evidence.exchanges[1:] if e.valid and e.payload != SHORT), None)
    if native is not None and refused.outcome is not Outcome.FAULT:
        return refusals.untold(
            Outcome.UNANSWERED,
            Reason.NATIVE_ONLY,
            f"{what} answers only in the port's usual protocol ({native.answer}); a packet like the room system's gets no "
            "answer, so the tunnel is not proven.",
        )
    return refused
