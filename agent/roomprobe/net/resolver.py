"""One DNS question to one resolver, over UDP with the error queue read, or over TCP.

Failures are evidence and never raised. Parsing: wire/dns.py.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal

from roomprobe.evidence import DnsAnswer, Failure, Icmp
from roomprobe.icmp import decisive, is_v6, meaning, same_address
from roomprobe.net import Net
from roomprobe.net.datagram import Datagram, failure
from roomprobe.net.stream import Stream, connect
from roomprobe.wire import dns as dns_wire

if TYPE_CHECKING:
    import dns.message

SEND_AT_S = (0.0, 0.5, 1.5)
WHOLE_S = 2.5
MOST_ERRORS = 8


class _Asked:
    """One UDP question under way."""

    def __init__(self, asked: dns.message.QueryMessage, kind: dns_wire.Kind, resolver: str) -> None:
        self.asked, self.kind, self.resolver = asked, kind, resolver
        self.sent_at = 0.0
        self.answer: DnsAnswer | None = None
        self.errors: list[Icmp] = []
        self.junk = False
        self.ended = asyncio.Event()

    def reply(self, data: bytes, at: float) -> None:
        found = dns_wire.read(self.asked, self.kind, data, at - self.sent_at)
        if found is None:
            self.junk = True
        elif self.answer is None:
            self.answer = found
            self.ended.set()

    def error(self, error: Icmp, _quoted: bytes, _at: float) -> None:
        if len(self.errors) < MOST_ERRORS:
            self.errors.append(error)
        if error.local or decisive(error, is_v6(self.resolver)):
            self.ended.set()


async def ask_udp(name: str, kind: dns_wire.Kind, resolver: str, port: int, net: Net) -> DnsAnswer:
    """One question from a socket of its own, sent at SEND_AT_S until answered or refused."""
    asked = dns_wire.question(name, kind)
    if asked is None:
        return _unaskable(name, kind)
    one = _Asked(asked, kind, resolver)
    try:
        sock = Datagram(resolver, port, one.reply, one.error)
    except OSError as error:
        return DnsAnswer(qname=name, qtype=kind, problem="failure", failure=failure("connect", error))
    own: Failure | None = None
    # Waiting for a token is our own pace and no silence of the resolver: the clock stands still meanwhile.
    started = time.monotonic()
    try:
        for number, at in enumerate((*SEND_AT_S, WHOLE_S)):
            try:
                async with asyncio.timeout(max(0.0, started + at - time.monotonic())):
                    await one.ended.wait()
                break
            except TimeoutError:
                if number == len(SEND_AT_S):
                    break
            before = time.monotonic()
            await net.bucket.take()
            started += time.monotonic() - before
            if one.ended.is_set():
                break
            one.sent_at = time.monotonic()
            own = sock.send(asked.to_wire())
            if own is not None:
                break
    finally:
        sock.close()
    if one.answer is not None:
        return one.answer
    return DnsAnswer(
        qname=name,
        qtype=kind,
        problem="failure" if own else _problem(tuple(one.errors), resolver) or ("malformed" if one.junk else "timeout"),
        errors=tuple(one.errors),
        failure=own,
    )


def _problem(errors: tuple[Icmp, ...], resolver: str) -> Literal["refused", "icmp"] | None:
    v6 = is_v6(resolver)
    for error in errors:
        if error.local:
            return "icmp"
        if decisive(error, v6):
            closed = meaning(error.type, error.code, v6) == "port-unreachable" and same_address(
                error.offender, resolver
            )
            return "refused" if closed else "icmp"
    return None


async def ask_tcp(name: str, kind: dns_wire.Kind, resolver: str, port: int, net: Net) -> DnsAnswer:
    """One question over a connection of its own: many small servers end the connection after one."""
    asked = dns_wire.question(name, kind)
    if asked is None:
        return _unaskable(name, kind)
    made, stream = await connect(resolver, port, deadline_s=WHOLE_S, bucket=net.bucket, interface=net.interface)
    if stream is not None:
        until = time.monotonic() - (made.seconds or 0.0) + WHOLE_S  # without the wait for a token
        try:
            return await _talk(asked, name, kind, stream, until)
        finally:
            stream.close()
    problem = _problem(made.errors, resolver) if made.errors else None
    if made.result in ("refused", "failure"):
        problem = None
    return DnsAnswer(
        qname=name,
        qtype=kind,
        problem=problem or ("refused" if made.result == "refused" else "failure" if made.failure else "timeout"),
        errors=made.errors,
        failure=made.failure,
    )


async def _talk(
    asked: dns.message.QueryMessage, name: str, kind: dns_wire.Kind, stream: Stream, until: float
) -> DnsAnswer:
    """One question with its two octets of length before it (RFC 7766 8)."""
    wire = asked.to_wire()
    sent = time.monotonic()
    await stream.write(len(wire).to_bytes(2, "big") + wire, until)
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        more = await stream.read(4096, until)
        if more is None:
            return DnsAnswer(qname=name, qtype=kind, problem="timeout")
        if not more:
            return DnsAnswer(qname=name, qtype=kind, problem="malformed")
        data += more
    size = int.from_bytes(data[:2], "big")
    answer = dns_wire.read(asked, kind, data[2 : 2 + size], time.monotonic() - sent)
    if answer is None or (answer.truncated and not answer.addresses):  # over TCP nothing is ever too long (RFC 7766 8)
        return DnsAnswer(qname=name, qtype=kind, problem="malformed")
    return answer


def _unaskable(name: str, kind: dns_wire.Kind) -> DnsAnswer:
    own = Failure(operation="name", errno="EINVAL", detail="this name cannot stand in a DNS packet")
    return DnsAnswer(qname=name[:255], qtype=kind, problem="failure", failure=own)
