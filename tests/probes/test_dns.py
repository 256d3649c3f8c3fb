"""The DNS probe against a name server on loopback whose answers the test writes, its judge, and the comparison."""

from __future__ import annotations

import random
import time

import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe import naming
from roomprobe.evidence import DnsAnswer, DnsEvidence, Failure, Icmp
from roomprobe.facts import Facts
from roomprobe.model import Result, Verdict
from roomprobe.net import Net
from roomprobe.net import resolver as net_resolver
from roomprobe.net.pace import Bucket
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.probes import dns as probe
from roomprobe.wire import dns as wire
from tests.probes import peers
from tests.probes.peers import HOST, check, net, resolver

RECORDS = {(HOST, "A"): ("203.0.113.11", "203.0.113.10"), (HOST, "AAAA"): ("2001:db8::10",)}
BOTH = pytest.mark.parametrize("transport", ["udp", "tcp"])


async def seen(
    answer: peers.Answerer, transport: str = "udp", host: str = HOST, drop_first: int = 0
) -> tuple[DnsEvidence, Verdict, list[str]]:
    async with resolver(answer, drop_first=drop_first) as (port, asked):
        planned = check("dns", port, host=host, transport=transport)
        evidence = await probe.run(planned, net())
        return evidence, probe.judge(planned, evidence, Facts()), asked


@BOTH
async def test_an_answered_name(transport: str) -> None:
    evidence, verdict, asked = await seen(peers.answers(RECORDS), transport)
    assert evidence.addresses == ("203.0.113.10", "203.0.113.11", "2001:db8::10")
    assert (verdict.outcome, verdict.confidence, verdict.reason) == (Outcome.OPEN, Confidence.PROVEN, Reason.ANSWERED)
    assert verdict.where is None and verdict.rtt_ms is not None and evidence.duration_s < 0.5
    beside = [name for name in asked if name != HOST]
    assert len(asked) == 4 and len(set(beside)) == 1
    assert beside[0].startswith("rp-") and beside[0].endswith(".example.test") and len(beside[0].split(".")[0]) == 15


@BOTH
async def test_aliases_are_followed_and_a_loop_ends(transport: str) -> None:
    chain = {(HOST, "CNAME"): ("a.test",), ("a.test", "CNAME"): ("b.test",), ("b.test", "A"): ("203.0.113.9",)}
    evidence, verdict, _ = await seen(peers.answers(chain), transport)
    assert evidence.addresses == ("203.0.113.9",) and verdict.outcome is Outcome.OPEN
    loop = {(HOST, "CNAME"): ("a.test",), ("a.test", "CNAME"): (HOST,)}
    _, verdict, _ = await seen(peers.answers(loop), transport)
    assert verdict.outcome is not Outcome.OPEN


RCODES = [
    (3, Outcome.NO_TARGET, Reason.NXDOMAIN),
    (0, Outcome.NO_TARGET, Reason.NO_ADDRESS),
    (5, Outcome.UNANSWERED, Reason.RESOLVER_REFUSES),
    (2, Outcome.UNANSWERED, Reason.RESOLVER_FAILS),
    (4, Outcome.UNANSWERED, Reason.RESOLVER_FAILS),
]


@BOTH
@pytest.mark.parametrize(("rcode", "outcome", "reason"), RCODES)
async def test_rcodes(transport: str, rcode: int, outcome: Outcome, reason: Reason) -> None:
    _, verdict, _ = await seen(peers.answers({}, rcode=rcode), transport)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    if reason is Reason.NXDOMAIN:
        assert all(word in verdict.sentence for word in ("gone", "mistyped", "hides"))


async def test_a_rewriting_resolver() -> None:
    evidence, verdict, _ = await seen(peers.answers({}, wildcard="203.0.113.99"))
    assert evidence.addresses == ("203.0.113.99",)
    assert (verdict.outcome, verdict.confidence, verdict.reason) == (
        Outcome.INTERCEPTED, Confidence.INFERRED, Reason.WILDCARD_DNS,
    )  # fmt: skip


async def test_lost_packets_are_repeated() -> None:
    evidence, verdict, asked = await seen(peers.answers(RECORDS), drop_first=4)
    assert verdict.outcome is Outcome.OPEN and len(asked) == 8
    assert 0.5 <= evidence.duration_s < 1.0
    assert verdict.rtt_ms is not None and verdict.rtt_ms < 200


@BOTH
async def test_silence(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net_resolver, "WHOLE_S", 0.4)
    monkeypatch.setattr(net_resolver, "SEND_AT_S", (0.0, 0.1, 0.2))
    started = time.monotonic()
    evidence, verdict, _ = await seen(lambda _: None, transport)
    assert [a.problem for a in evidence.answers] == ["timeout", "timeout"]
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.RESOLVER_SILENT)
    assert time.monotonic() - started < 1.0


def wrong_id(query: dns.message.Message) -> bytes:
    reply = peers.answers(RECORDS)(query)
    assert reply is not None
    return bytes([reply[0] ^ 255]) + reply[1:]


def other_question(query: dns.message.Message) -> bytes:
    other = dns.message.make_query("other.test", "A", id=query.id)
    return peers.answers({("other.test", "A"): ("203.0.113.66",)})(other) or b""


@BOTH
@pytest.mark.parametrize("answer", [wrong_id, other_question, lambda _: b"\xff" * 40, lambda _: b"\x00"])
async def test_answers_to_another_question_count_for_nothing(
    answer: peers.Answerer, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net_resolver, "WHOLE_S", 0.3)
    evidence, verdict, _ = await seen(answer, transport)
    assert evidence.addresses == ()
    assert {a.problem for a in evidence.answers} == {"malformed"}
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.RESOLVER_FAILS)


async def test_a_truncated_answer_is_noted() -> None:
    def truncated(query: dns.message.Message) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.TC
        return reply.to_wire()

    evidence, verdict, _ = await seen(truncated)
    assert evidence.answers[0].truncated
    assert verdict.outcome is Outcome.UNANSWERED and "TCP" in verdict.sentence


async def test_a_truncated_answer_over_tcp_is_no_answer() -> None:
    def truncated(query: dns.message.Message) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.TC
        return reply.to_wire()

    evidence, verdict, _ = await seen(truncated, "tcp")
    assert [a.problem for a in evidence.answers] == ["malformed", "malformed"]
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.RESOLVER_FAILS)
    assert "the same question over TCP" not in verdict.sentence


@BOTH
async def test_waiting_for_a_token_is_no_silence_of_the_resolver(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net_resolver, "WHOLE_S", 0.3)
    monkeypatch.setattr(net_resolver, "SEND_AT_S", (0.0, 0.1, 0.2))
    ask = net_resolver.ask_udp if transport == "udp" else net_resolver.ask_tcp
    slow = Net(bucket=Bucket(rate=2, burst=1))
    await slow.bucket.take()
    async with resolver(peers.answers(RECORDS)) as (port, asked):
        answer = await ask(HOST, "A", "127.0.0.1", port, slow)
    assert answer.rcode == "NOERROR" and len(asked) == 1 and slow.bucket.taken == 2


@BOTH
async def test_nothing_listens(transport: str) -> None:
    async with resolver(peers.answers(RECORDS)) as (port, _):
        pass
    planned = check("dns", port, transport=transport)
    evidence = await probe.run(planned, net())
    verdict = probe.judge(planned, evidence, Facts(addresses=("127.0.0.1",)))
    assert [a.problem for a in evidence.answers] == ["refused", "refused"]
    assert (verdict.outcome, verdict.reason) == (Outcome.CLOSED, Reason.RESOLVER_SILENT)
    assert verdict.sentence.startswith("Nothing answers DNS")


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".test", "\udcff.test", ""])
async def test_a_name_that_cannot_be_asked(name: str) -> None:
    planned = check("dns", 9, host=name, transport="udp")
    evidence = await probe.run(planned, net())
    verdict = probe.judge(planned, evidence, Facts())
    assert verdict.outcome in (Outcome.FAULT, Outcome.CLOSED)


def test_many_addresses_are_bounded() -> None:
    asked = wire.question(HOST, "A")
    assert asked is not None
    many = tuple(f"203.0.113.{n}" for n in range(1, 61))
    answer = wire.read(asked, "A", peers.answers({(HOST, "A"): many})(asked) or b"", 0.1)
    assert answer is not None and len(answer.addresses) == wire.MOST_ADDRESSES


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_nothing(data: bytes) -> None:
    asked = wire.question(HOST, "A")
    assert asked is not None
    wire.read(asked, "A", asked.to_wire()[:2] + b"\x81\x80" + data, 0.0)
    good = bytearray(peers.answers(RECORDS)(asked) or b"")
    for place, byte in enumerate(data):
        good[2 + (place * 7 + byte) % (len(good) - 2)] ^= byte
    wire.read(asked, "A", bytes(good), 0.0)


def test_a_sibling_needs_a_parent() -> None:
    assert probe.sibling("localhost", random.Random(1)) is None
    assert (probe.sibling("a.b.test.", random.Random(1)) or "").endswith(".b.test")


# --- the judge ---


def icmp(kind: int, code: int, offender: str | None, local: bool = False) -> DnsAnswer:
    error = Icmp(type=kind, code=code, offender=offender, local=local)
    return DnsAnswer(qname=HOST, qtype="A", problem="icmp", errors=(error,))


def failed(operation: str, name: str) -> DnsAnswer:
    return DnsAnswer(
        qname=HOST, qtype="A", problem="failure", failure=Failure(operation=operation, errno=name, detail="")
    )


def said(rcode: str, *addresses: str, qtype: str = "A") -> DnsAnswer:
    return DnsAnswer(qname=HOST, qtype=qtype, rcode=rcode, addresses=addresses, seconds=0.01)  # type: ignore[arg-type]


QUIET = DnsAnswer(qname=HOST, qtype="AAAA", problem="timeout")
JUDGED = [
    ((said("NOERROR", "203.0.113.1"), QUIET), Outcome.OPEN, Reason.ANSWERED),
    ((said("NXDOMAIN"), QUIET), Outcome.NO_TARGET, Reason.NXDOMAIN),
    ((said("NOERROR"), QUIET), Outcome.UNANSWERED, Reason.RESOLVER_SILENT),
    ((icmp(3, 13, "10.0.0.1"), QUIET), Outcome.REJECTED, Reason.ADMIN_PROHIBITED),
    ((icmp(3, 1, "192.168.50.10"), QUIET), Outcome.UNANSWERED, Reason.GATEWAY_SILENT),
    ((icmp(3, 3, "192.168.50.10"), QUIET), Outcome.FAULT, Reason.LOCAL_FIREWALL),
    ((failed("send", "EPERM"), QUIET), Outcome.FAULT, Reason.LOCAL_FIREWALL),
    ((failed("connect", "ENETUNREACH"), QUIET), Outcome.UNANSWERED, Reason.UNREACHABLE),
]


@pytest.mark.parametrize(("answers", "outcome", "reason"), JUDGED)
def test_judge(answers: tuple[DnsAnswer, ...], outcome: Outcome, reason: Reason) -> None:
    evidence = DnsEvidence(resolver="192.0.2.53", transport="udp", answers=answers)
    verdict = probe.judge(
        check("dns", 53, address="192.0.2.53", transport="udp"), evidence, Facts(addresses=("192.168.50.10",))
    )
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert "firewall" not in verdict.sentence


# --- comparing resolvers ---


def result(address: str, *answers: DnsAnswer, sibling: tuple[DnsAnswer, ...] = (), transport: str = "udp") -> Result:
    planned = check("dns", 53, address=address, transport=transport)
    evidence = DnsEvidence(resolver=address, transport="udp", answers=answers, sibling=sibling)
    return Result(check=planned, evidence=evidence, verdict=probe.judge(planned, evidence, Facts()))


ONE, TWO = "192.0.2.53", "192.0.2.54"
GIVES = said("NOERROR", "203.0.113.1")


def test_nxdomain_here_and_an_answer_there() -> None:
    hidden, known = naming.compare((result(ONE, said("NXDOMAIN")), result(TWO, GIVES)))
    assert (hidden.verdict.outcome, hidden.verdict.reason) == (Outcome.NO_TARGET, Reason.RESOLVER_FILTERS)
    assert ONE in hidden.verdict.sentence and TWO in hidden.verdict.sentence
    assert known.verdict.reason is Reason.ANSWERED


def test_nxdomain_everywhere_stays() -> None:
    both = (result(ONE, said("NXDOMAIN")), result(TWO, said("NXDOMAIN")))
    assert naming.compare(both) == both


def test_differing_answers_differ_and_lie_not() -> None:
    one, two = naming.compare((result(ONE, GIVES), result(TWO, said("NOERROR", "203.0.113.2"))))
    for found in (one, two):
        assert (found.verdict.outcome, found.verdict.reason) == (Outcome.OPEN, Reason.RESOLVERS_DIFFER)
        assert "203.0.113.1" in found.verdict.sentence and "203.0.113.2" in found.verdict.sentence


def test_a_lost_answer_is_no_difference() -> None:
    six = said("NOERROR", "2001:db8::1", qtype="AAAA")
    both = (result(ONE, GIVES, six), result(TWO, GIVES, QUIET))
    assert naming.compare(both) == both


def test_wildcards_count_only_when_nobody_else_knows() -> None:
    rewritten = result(ONE, said("NOERROR", "203.0.113.99"), sibling=(said("NOERROR", "203.0.113.99"),))
    honest = result(TWO, said("NOERROR", "203.0.113.1"), said("NOERROR", "2001:db8::1", qtype="AAAA"))
    assert naming.addresses((rewritten, honest), Facts()) == ("203.0.113.1", "2001:db8::1")
    assert naming.addresses((rewritten,), Facts()) == ("203.0.113.99",)
    assert naming.addresses((result(ONE, said("NXDOMAIN")),), Facts()) == ()
    first, _ = naming.compare((rewritten, honest))
    assert first.verdict.reason is Reason.WILDCARD_DNS


def test_targets_are_bounded_and_ipv4_comes_first() -> None:
    many = said("NOERROR", *(f"203.0.113.{n}" for n in range(30)))
    six = said("NOERROR", "2001:db8::1", qtype="AAAA")
    assert len(naming.addresses((result(ONE, many), result(TWO, six)), Facts())) == naming.MOST_TARGETS
    assert naming.addresses((result(ONE, six, GIVES),), Facts()) == ("203.0.113.1", "2001:db8::1")


UNRESOLVED = [
    ((said("NXDOMAIN"),), Outcome.NO_TARGET, Confidence.PROVEN, Reason.NXDOMAIN),
    ((said("NXDOMAIN"), QUIET), Outcome.NO_TARGET, Confidence.INFERRED, Reason.NXDOMAIN),
    ((said("NOERROR"),), Outcome.NO_TARGET, Confidence.PROVEN, Reason.NO_ADDRESS),
    ((QUIET,), Outcome.UNANSWERED, Confidence.NONE, Reason.RESOLVER_SILENT),
    ((said("REFUSED"), QUIET), Outcome.UNANSWERED, Confidence.NONE, Reason.RESOLVER_REFUSES),
    ((), Outcome.UNANSWERED, Confidence.NONE, Reason.NO_ADDRESS),
]


@pytest.mark.parametrize(("answers", "outcome", "confidence", "reason"), UNRESOLVED)
def test_a_row_whose_name_gave_no_address(
    answers: tuple[DnsAnswer, ...], outcome: Outcome, confidence: Confidence, reason: Reason
) -> None:
    results = tuple(result(f"192.0.2.{n}", answer) for n, answer in enumerate(answers))
    verdict = naming.unresolved(check("tls", 443, address=None), results)
    assert (verdict.outcome, verdict.confidence, verdict.reason) == (outcome, confidence, reason)
    assert verdict.where is Where.UNKNOWN and HOST in verdict.sentence
