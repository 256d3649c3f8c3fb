"""Ladder packets: one flow towards one address, each packet with a TTL of its own, and what came of each.

UDP suspects keep one 5-tuple for all packets (a Paris ladder); flows that are expected to answer use a socket per packet,
because an answer does not say which packet it answers. TCP takes consecutive source ports: the kernel
refuses a second connect on one 4-tuple.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import socket
import struct
import time
from collections.abc import Callable

from roomprobe import icmp as icmp_rules
from roomprobe.evidence import Flow, Icmp, Step, StepResult
from roomprobe.ladder import FULL_TTL
from roomprobe.model import Frozen
from roomprobe.net import errqueue
from roomprobe.net.datagram import Datagram
from roomprobe.net.ports import bind_next, random_start
from roomprobe.wire.shapes import SHAPES

MOST_PACKETS = 100


class FlowSpec(Frozen, frozen=True, kw_only=True):
    """What to send: `payload` names a shape (None for TCP); `answering`: an answer is expected, told apart per packet."""

    transport: str
    port: int
    payload: str | None
    role: str
    answering: bool = False

    @property
    def key(self) -> tuple[str, int, str | None]:
        """What tells flows to one address apart."""
        return (self.transport, self.port, self.payload)


@dataclasses.dataclass(slots=True)
class Sent:
    """One packet on its way; `step` is filled when something comes of it."""

    ttl: int
    round: int
    at: float
    data: bytes = b""
    seed: bytes = b""
    step: Step | None = None
    close: Callable[[], None] | None = None


class Ladder:
    """One flow's packets. `fire` sends, `outstanding` counts what is unresolved, `flow` freezes what was seen."""

    def __init__(self, spec: FlowSpec, address: str) -> None:
        self.spec, self.address = spec, address
        self.sent: list[Sent] = []
        self.source_ports: list[int] = []
        self._v6 = ":" in address
        self._socket: Datagram | None = None
        self._next_port = random_start()

    @property
    def budget(self) -> int:
        """How many packets this flow may still send."""
        return MOST_PACKETS - len(self.sent)

    def outstanding(self, since: float) -> int:
        """How many packets sent since that monotonic time have had no answer yet."""
        return sum(1 for one in self.sent if one.step is None and one.at >= since)

    def seen(self, ttl: int, round_: int) -> Step | None:
        """What came of the packet of that TTL and round, if anything did."""
        return next((s.step for s in self.sent if s.ttl == ttl and s.round == round_ and s.step), None)

    def fire(self, ttl: int, round_: int) -> None:
        """Sends one packet; whatever becomes of it is kept, this box's own refusals too."""
        one = Sent(ttl=ttl, round=round_, at=time.monotonic())
        self.sent.append(one)
        try:
            if self.spec.transport == "tcp":
                self._fire_tcp(one)
            else:
                self._fire_udp(one)
        except OSError:
            self._settle(one, "failure")

    def expire(self) -> None:
        """Ends the wait for packets with a socket of their own; TCP would repeat them, and nobody asked for that."""
        for one in self.sent:
            if one.step is None and one.close and (self.spec.transport == "tcp" or one.round):
                self._settle(one, "silent")
                one.close()

    def close(self) -> None:
        """Closes every socket."""
        for one in self.sent:
            if one.close:
                one.close()
        if self._socket:
            self._socket.close()

    def flow(self) -> Flow:
        """Everything so far as evidence; what is still open counts as silent."""
        steps = tuple(s.step or Step(ttl=s.ttl, round=s.round, result="silent") for s in self.sent)
        spec = self.spec
        return Flow(
            transport="tcp" if spec.transport == "tcp" else "udp",
            port=spec.port,
            payload=spec.payload,
            role="suspect" if spec.role == "suspect" else "control",
            source_ports=tuple(dict.fromkeys(self.source_ports)),
            steps=steps,
        )

    # --- UDP ---

    def _fire_udp(self, one: Sent) -> None:
        shape = SHAPES[self.spec.payload or "opaque"]
        one.seed = os.urandom(64)
        one.data = shape.build(one.seed)
        if self.spec.answering or (one.round and one.ttl < FULL_TTL):
            # Repeats take fresh source ports: where routers share load by flow, one unlucky way must not pass for proof.
            sock = self._datagram(one)
            one.close = sock.close
        else:
            sock = self._socket = self._socket or self._datagram(None)
        if sock.send(one.data, one.ttl):
            self._settle(one, "failure")

    def _datagram(self, only: Sent | None) -> Datagram:
        sock = Datagram(
            self.address,
            self.spec.port,
            lambda data, at: self._reply(only, data, at),
            lambda error, quoted, at: self._error(only, error, quoted, at),
        )
        self.source_ports.append(sock.source_port)
        return sock

    def _reply(self, only: Sent | None, data: bytes, at: float) -> None:
        if only is None:
            # Which packet was answered cannot be told: the farthest-reaching one that is still open is named.
            still = [s for s in self.sent if s.step is None]
            only = max(still, key=lambda s: s.ttl, default=None)
        if only is None:
            return
        shape = SHAPES[self.spec.payload or "opaque"]
        if shape.recognise(only.seed, data).valid:
            self._settle(only, "answer", self.address, at=at)

    def _error(self, only: Sent | None, error: Icmp, quoted: bytes, at: float) -> None:
        one = only or self._quoted(quoted)
        if one is not None:
            self._settle_icmp(one, error, at)

    def _quoted(self, quoted: bytes) -> Sent | None:
        """The packet that an error quotes. A router may quote no payload at all: then only a lone packet can be meant."""
        still = [s for s in self.sent if s.step is None]
        if len(quoted) >= 8:
            return next((s for s in still if s.data.startswith(quoted[: len(s.data)])), None)
        last = max((s.round for s in self.sent), default=0)
        lone = [s for s in still if s.round == last]
        return lone[0] if len(lone) == 1 else None

    # --- TCP ---

    def _fire_tcp(self, one: Sent) -> None:
        family = socket.AF_INET6 if self._v6 else socket.AF_INET
        loop = asyncio.get_running_loop()
        sock = socket.socket(family, socket.SOCK_STREAM)

        def close() -> None:
            if sock.fileno() >= 0:
                loop.remove_writer(sock.fileno())
                sock.close()

        one.close = close
        sock.setblocking(False)
        errqueue.enable(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
        self._set_ttl(sock, one.ttl)
        port = bind_next(sock, self._next_port)
        self._next_port = port + 1
        self.source_ports.append(port)
        target = socket.getaddrinfo(self.address, self.spec.port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        try:
            sock.connect(target[0][4])
        except BlockingIOError:
            pass
        loop.add_writer(sock.fileno(), self._tcp_event, one, sock, close)

    def _set_ttl(self, sock: socket.socket, ttl: int) -> None:
        if self._v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)

    def _tcp_event(self, one: Sent, sock: socket.socket, close: Callable[[], None]) -> None:
        at = time.monotonic()
        errors = [icmp for icmp, _, _ in errqueue.drain(sock)]
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if errors:
            self._settle_icmp(one, errors[0], at)
        elif code == 0:
            self._settle(one, "answer", self.address, at=at)
            # A reset with the full TTL frees the far end at once.
            self._set_ttl(sock, FULL_TTL)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self._settle(one, "refused" if code == errno.ECONNREFUSED else "silent", at=at)
        close()

    # --- both ---

    def _settle_icmp(self, one: Sent, error: Icmp, at: float) -> None:
        what = icmp_rules.meaning(error.type, error.code, self._v6)
        if error.local:
            self._settle(one, "failure", error.offender, at=at, icmp=(error.type, error.code))
        elif what == "time-exceeded":
            self._settle(one, "hop", error.offender, at=at)
        elif what != "other":
            self._settle(one, "icmp", error.offender, at=at, icmp=(error.type, error.code))

    @staticmethod
    def _settle(
        one: Sent,
        result: StepResult,
        address: str | None = None,
        *,
        at: float | None = None,
        icmp: tuple[int, int] | None = None,
    ) -> None:
        if one.step is None:
            ms = None if at is None else round((at - one.at) * 1000, 3)
            one.step = Step(ttl=one.ttl, round=one.round, result=result, address=address, icmp=icmp, ms=ms)
