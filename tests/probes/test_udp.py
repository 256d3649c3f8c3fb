"""The UDP probe against peers on loopback: what is sent, what is kept of the answer, and what its own evidence may say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import cast

import pytest

from roomprobe.evidence import Exchange, Failure, Icmp, UdpEvidence
from roomprobe.facts import Facts
from roomprobe.model import Check
from roomprobe.net import Net
from roomprobe.net.pace import Bucket
from roomprobe.outcome import Need, Outcome, Reason, Where
from roomprobe.probes import udp
from roomprobe.wire import stun

TARGET, FW, OWN = "203.0.113.10", "192.168.50.1", "192.168.50.10"
FACTS = Facts(addresses=(OWN,), gateways=(FW,))


class Peer(asyncio.DatagramProtocol):
    """`answers` decides what goes back to each datagram."""

    def __init__(self, answers) -> None:
        self.answers, self.got = answers, []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr) -> None:
        self.got.append(data)
        answer = self.answers(len(self.got), data)
        if answer is not None:
            self.transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def peer(answers, address: str = "127.0.0.1"):
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Peer(answers), local_addr=(address, 0))
    try:
        yield protocol, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def check(port: int, address: str = "127.0.0.1", **params) -> Check:
    return Check(id="x", profile="p", row="F4", purpose="", document="d", services=("calls",), need=Need.RECOMMENDED,
                 kind="udp", transport="udp", host="h", address=address, port=port, params=params)  # fmt: skip


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_answer_to_the_opaque_payload_is_open_at_once(address: str) -> None:
    async with peer(lambda n, data: b"anything", address) as (far, port):
        seen = await udp.run(check(port, address), Net(Bucket()))
    # The second one dies at the first router, unless the far end is a neighbour, as here.
    assert len(far.got) == 2 and seen.duration_s < 0.5 and seen.exchanges[-1].payload == "opaque-short"
    got = udp.judge(check(port, address), seen, FACTS)
    assert got.outcome is Outcome.OPEN and got.rtt_ms is not None and got.rtt_ms >= 0


async def test_a_lost_packet_is_sent_again() -> None:
    async with peer(lambda n, data: b"late" if n == 3 else None) as (far, port):
        seen = await udp.run(check(port), Net(Bucket()))
    assert len(far.got) == 4 and len(set(far.got[:3])) == 1
    assert udp.judge(check(port), seen, FACTS).outcome is Outcome.OPEN
    assert [round(s, 1) for s in seen.exchanges[0].sent_s] == [0.0, 0.2, 0.8] or seen.exchanges[0].sent_s[1] >= 0.25


async def test_an_answer_from_before_the_first_router_is_not_the_far_ends() -> None:
    async with peer(lambda n, data: b"anything") as (_, port):
        seen = await udp.run(check(port), Net(Bucket()))
    far = check(port, TARGET)
    got = udp.judge(far, seen, FACTS)
    assert (got.outcome, got.reason, got.hop.sender.distance) == (Outcome.INTERCEPTED, Reason.HANDSHAKE_SHORT, 1)
    near = Facts(networks=("203.0.113.99/24",))
    assert udp.judge(far, seen, near).outcome is Outcome.OPEN


async def test_silence_is_three_packets_and_no_claim() -> None:
    async with peer(lambda n, data: None) as (far, port):
        bucket = Bucket()
        seen = await udp.run(check(port, native=["stun"]), Net(bucket))
    assert [e.payload for e in seen.exchanges] == ["opaque", "stun"] and bucket.taken == len(far.got) == 6
    got = udp.judge(check(port), seen, FACTS)
    assert (got.outcome, got.reason, got.where) == (Outcome.UNANSWERED, Reason.SILENCE, Where.UNKNOWN)


async def test_a_native_answer_alone_is_native_only() -> None:
    def stun_server(n: int, data: bytes) -> bytes | None:
        try:
            asked = stun.decode(data)
        except ValueError:
            return None
        return stun.encode(stun.BINDING, stun.Class.SUCCESS, asked.transaction)

    async with peer(stun_server) as (_, port):
        seen = await udp.run(check(port, native=["stun"]), Net(Bucket()))
    got = udp.judge(check(port), seen, FACTS)
    assert (got.outcome, got.reason) == (Outcome.UNANSWERED, Reason.NATIVE_ONLY)


async def test_a_closed_port_ends_the_check_early() -> None:
    async with peer(lambda n, data: None) as (_, port):
        pass
    seen = await udp.run(check(port), Net(Bucket()))
    assert seen.duration_s < 0.5 and seen.exchanges[0].errors[0].code == 3
    got = udp.judge(check(port), seen, Facts())
    assert (got.outcome, got.reason) == (Outcome.REFUSED, Reason.PORT_UNREACHABLE)


async def test_cancelling_closes_every_socket() -> None:
    async with peer(lambda n, data: None) as (_, port):
        task = asyncio.create_task(udp.run(check(port, native=["stun", "ntp"]), Net(Bucket())))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(asyncio.all_tasks()) == 1


def test_shapes_that_alarm_are_sent_only_when_opted_in() -> None:
    row = check(1194, native=["stun"], native_opt_in=["openvpn"])
    assert udp.payloads(row, frozenset()) == ("opaque", "stun")
    assert udp.payloads(row, frozenset({"openvpn"})) == ("opaque", "stun", "openvpn")


def evidence(errors=(), failure: Failure | None = None) -> UdpEvidence:
    opaque = Exchange(payload="opaque", sent_s=(0.0,), errors=tuple(errors), failure=failure)
    return UdpEvidence(source=OWN, exchanges=(opaque,), duration_s=1.75)


def failed(operation: str, errno: str) -> Failure:
    return Failure(operation=operation, errno=errno, detail="")


def cases() -> Iterator[tuple]:
    def icmp(kind: int, code: int, offender: str | None = FW, local: bool = False) -> Icmp:
        return Icmp(type=kind, code=code, offender=offender, local=local)

    yield evidence([icmp(3, 3, TARGET)]), Outcome.REFUSED, Reason.PORT_UNREACHABLE, Where.UNKNOWN
    yield evidence([icmp(3, 3)]), Outcome.REJECTED, Reason.PORT_UNREACHABLE, Where.LAN
    yield evidence([icmp(3, 13)]), Outcome.REJECTED, Reason.ADMIN_PROHIBITED, Where.LAN
    yield evidence([icmp(3, 13, TARGET)]), Outcome.REJECTED, Reason.ADMIN_PROHIBITED, Where.FAR_END
    yield evidence([icmp(3, 0)]), Outcome.REJECTED, Reason.UNREACHABLE, Where.LAN
    yield evidence([icmp(11, 0)]), Outcome.UNANSWERED, Reason.UNREACHABLE, Where.UNKNOWN
    yield evidence([icmp(3, 13, OWN)]), Outcome.FAULT, Reason.LOCAL_FIREWALL, Where.THIS_BOX
    yield evidence([icmp(0, 0, None, True)]), Outcome.FAULT, Reason.LOCAL_FIREWALL, Where.THIS_BOX
    yield evidence([icmp(3, 1, OWN)]), Outcome.UNANSWERED, Reason.GATEWAY_SILENT, Where.UNKNOWN
    yield evidence((), failed("send", "EPERM")), Outcome.FAULT, Reason.LOCAL_FIREWALL, Where.THIS_BOX
    yield evidence((), failed("connect", "EACCES")), Outcome.FAULT, Reason.PERMISSION, Where.THIS_BOX
    yield evidence((), failed("connect", "ENETUNREACH")), Outcome.UNANSWERED, Reason.UNREACHABLE, Where.THIS_BOX
    yield evidence((), failed("connect", "EMFILE")), Outcome.FAULT, Reason.RESOURCE, Where.THIS_BOX


@pytest.mark.parametrize(("seen", "outcome", "reason", "where"), list(cases()))
def test_judging(seen: UdpEvidence, outcome: Outcome, reason: Reason, where: Where) -> None:
    got = udp.judge(check(24704, TARGET), seen, FACTS)
    assert (got.outcome, got.reason, got.where) == (outcome, reason, where)
