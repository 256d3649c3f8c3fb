"""The TLS probe against real servers on loopback, and its judge as a table."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from roomprobe import trust
from roomprobe.evidence import Certificate, Connect, Failure, Icmp, ProxyAnswer, TlsEvidence, Trust
from roomprobe.facts import Facts
from roomprobe.model import Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.probes import tls
from tests.probes import peers
from tests.probes.peers import DAY, HOST, NOW, check, net, serve

FACTS = Facts(addresses=("192.168.50.10",), clock_synced=True)


@pytest.fixture(scope="module")
def root() -> peers.Identity:
    return peers.issue("Public Root", ca=True, begin=NOW - 900 * DAY, end=NOW + 900 * DAY)


@pytest.fixture
def public(root: peers.Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> peers.Identity:
    """Our root in the place of certifi, and an empty system store."""
    path = tmp_path / "public.pem"
    path.write_bytes(root.pem)
    monkeypatch.setattr(trust, "_certifi_file", lambda: str(path))
    monkeypatch.setattr(trust, "_system_file", lambda: None)
    return root


async def seen(handler: peers.Handler, facts: Facts = FACTS, **more: object) -> tuple[TlsEvidence, Verdict]:
    with serve(handler) as port:
        asked = check("tls", port)
        evidence = await tls.run(asked, net(**more))
        return evidence, tls.judge(asked, evidence, facts)


async def test_verified_server_is_open(public: peers.Identity, tmp_path: Path) -> None:
    middle = peers.issue("Middle", by=public, ca=True)
    leaf = peers.issue("server", HOST, by=middle).write(tmp_path / "leaf.pem")
    started = time.monotonic()
    evidence, verdict = await seen(peers.tls(leaf, alpn=("http/1.1",)))
    assert (verdict.outcome, verdict.confidence, verdict.reason) == (Outcome.OPEN, Confidence.PROVEN, Reason.VERIFIED)
    assert verdict.where is None and verdict.rtt_ms is not None
    assert evidence.stage == "answered" and evidence.http_status == 200 and evidence.alpn == "http/1.1"
    assert evidence.version == "TLSv1.3" and evidence.sni == HOST
    assert [c.subject for c in evidence.chain] == ["CN=server", "CN=Middle"]
    assert evidence.chain[0].names == (HOST,)
    assert evidence.trust == (Trust(anchors="certifi", verified=True),)
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("answer", [b"", None])
async def test_nothing_after_a_verified_handshake_is_still_open(
    public: peers.Identity, tmp_path: Path, answer: bytes | None
) -> None:
    leaf = peers.issue("server", HOST, by=public).write(tmp_path / "leaf.pem")
    evidence, verdict = await seen(peers.tls(leaf, answer=answer))
    assert verdict.outcome is Outcome.OPEN and evidence.stage == "established"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_wants_a_client_certificate_is_reached(
    public: peers.Identity, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    leaf = peers.issue("server", HOST, by=public).write(tmp_path / "leaf.pem")
    evidence, verdict = await seen(peers.tls(leaf, client_ca=tmp_path / "public.pem", newest=newest))
    assert evidence.alert == (116 if newest is ssl.TLSVersion.TLSv1_3 else 40)
    assert evidence.stage == ("established" if newest is ssl.TLSVersion.TLSv1_3 else "certificate")
    assert (verdict.outcome, verdict.reason) == (Outcome.REACHED, Reason.WANTS_CLIENT_CERTIFICATE)


async def test_an_unknown_issuer_is_interception_and_is_named(public: peers.Identity, tmp_path: Path) -> None:
    other = peers.issue("Evil\x1b[31m Proxy", ca=True)
    leaf = peers.issue("server", HOST, by=other).write(tmp_path / "leaf.pem")
    _, verdict = await seen(peers.tls(leaf))
    assert (verdict.outcome, verdict.reason) == (Outcome.INTERCEPTED, Reason.ISSUER_UNEXPECTED)
    assert "Evil" in verdict.sentence and "\x1b" not in verdict.sentence


async def test_the_system_store_alone_does_not_vouch(
    public: peers.Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = peers.issue("Corporate Inspection", ca=True)
    (tmp_path / "system.pem").write_bytes(other.pem)
    monkeypatch.setattr(trust, "_system_file", lambda: str(tmp_path / "system.pem"))
    leaf = peers.issue("server", HOST, by=other).write(tmp_path / "leaf.pem")
    evidence, verdict = await seen(peers.tls(leaf))
    assert [t.verified for t in evidence.trust if t.anchors == "system"] == [True]
    assert verdict.outcome is Outcome.INTERCEPTED
    assert "only this computer's own store knows" in verdict.sentence


async def test_a_site_ca_vouches(public: peers.Identity, tmp_path: Path) -> None:
    site = peers.issue("Site CA", ca=True)
    (tmp_path / "site.pem").write_bytes(site.pem)
    leaf = peers.issue("server", HOST, by=site).write(tmp_path / "leaf.pem")
    evidence, verdict = await seen(peers.tls(leaf), ca_file=str(tmp_path / "site.pem"))
    assert verdict.outcome is Outcome.OPEN
    assert evidence.trust[-1] == Trust(anchors="site", verified=True)


async def test_a_leaf_of_the_site_ca_cannot_sign_for_others(public: peers.Identity, tmp_path: Path) -> None:
    site = peers.issue("Site CA", ca=True)
    (tmp_path / "site.pem").write_bytes(site.pem)
    holder = peers.issue("printer", "printer.example.test", by=site)
    leaf = peers.issue("server", HOST, by=holder).write(tmp_path / "leaf.pem")
    _, verdict = await seen(peers.tls(leaf), ca_file=str(tmp_path / "site.pem"))
    assert verdict.outcome is Outcome.INTERCEPTED


async def test_a_pinned_leaf_vouches_and_a_pinned_certificate_in_the_chain_alone_does_not(
    public: peers.Identity, tmp_path: Path
) -> None:
    private = peers.issue("Private", ca=True)
    leaf = peers.issue("server", HOST, by=private)
    path = leaf.write(tmp_path / "leaf.pem")
    pin = trust.fingerprint(leaf.der).upper()
    evidence, verdict = await seen(peers.tls(path), pins={HOST.upper() + ".": (pin,)})
    assert evidence.pinned is True and verdict.outcome is Outcome.OPEN
    genuine = peers.issue("Genuine CA", ca=True)
    fake = peers.issue("server", HOST, by=peers.issue("Genuine CA", ca=True))
    fake.chain += genuine.pem
    evidence, verdict = await seen(
        peers.tls(fake.write(tmp_path / "fake.pem")), pins={HOST: (trust.fingerprint(genuine.der),)}
    )
    assert len(evidence.chain) == 2
    assert evidence.pinned is False and verdict.outcome is Outcome.INTERCEPTED
    real = peers.issue("server", HOST, by=genuine)
    real.chain += genuine.pem
    evidence, verdict = await seen(
        peers.tls(real.write(tmp_path / "real.pem")), pins={HOST: (trust.fingerprint(genuine.der),)}
    )
    assert evidence.pinned is True and verdict.outcome is Outcome.OPEN


async def test_a_valid_certificate_for_another_name(public: peers.Identity, tmp_path: Path) -> None:
    leaf = peers.issue("portal", "*.portal.test", by=public).write(tmp_path / "leaf.pem")
    _, verdict = await seen(peers.tls(leaf))
    assert (verdict.outcome, verdict.reason) == (Outcome.INTERCEPTED, Reason.NAME_MISMATCH)
    assert "*.portal.test" in verdict.sentence and "Public Root" in verdict.sentence


async def test_dates(public: peers.Identity, tmp_path: Path) -> None:
    old = peers.issue("server", HOST, by=public, begin=NOW - 90 * DAY, end=NOW - DAY).write(tmp_path / "old.pem")
    new = peers.issue("server", HOST, by=public, begin=NOW + DAY, end=NOW + 90 * DAY).write(tmp_path / "new.pem")
    evidence, verdict = await seen(peers.tls(old))
    assert (verdict.outcome, verdict.confidence, verdict.reason) == (
        Outcome.REACHED, Confidence.INFERRED, Reason.CERTIFICATE_EXPIRED,
    )  # fmt: skip
    assert evidence.trust[0].problem == "expired"
    evidence, verdict = await seen(peers.tls(new), Facts(clock_synced=None))
    assert (verdict.outcome, verdict.reason, verdict.where) == (Outcome.FAULT, Reason.CLOCK, Where.THIS_BOX)
    evidence, verdict = await seen(peers.tls(new), FACTS)
    assert verdict.outcome is Outcome.REACHED and "not valid yet" in verdict.sentence


BROKEN = {
    "garbage": (peers.says(b"\x16\x03\x03\x00\x05garbage"), Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY),
    "http": (peers.says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Outcome.INTERCEPTED, Reason.NOT_TLS),
    "banner": (peers.greets(b"220 mail\r\n"), Outcome.INTERCEPTED, Reason.NOT_TLS),
    "alert": (peers.says(b"\x15\x03\x03\x00\x02\x02\x28"), Outcome.UNANSWERED, Reason.TLS_ALERT),
    "closed": (peers.closes, Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY),
    "reset": (peers.resets, Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_broken_peers(fault: str) -> None:
    handler, outcome, reason = BROKEN[fault]
    started = time.monotonic()
    evidence, verdict = await seen(handler)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert evidence.alert == (40 if fault == "alert" else None)
    assert evidence.not_tls == (fault in ("http", "banner"))
    if fault in ("closed", "reset"):
        assert evidence.closed == fault
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("handler", [peers.silent, peers.drips(b"\x16\x03\x03\x40\x00" + bytes(200))])
async def test_a_silent_and_a_dripping_peer_are_bounded(
    handler: peers.Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_S", 0.4)
    started = time.monotonic()
    evidence, verdict = await seen(handler)
    assert verdict.reason is Reason.HANDSHAKE_ONLY and evidence.stage == "handshake" and evidence.closed is None
    assert time.monotonic() - started < 1.0


async def test_a_flood_of_handshake_bytes_is_bounded() -> None:
    evidence, verdict = await seen(peers.greets(b"\x16\x03\x03\x40\x00" * 200_000))
    assert verdict.outcome is Outcome.UNANSWERED and evidence.duration_s < 2.0


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_no_descriptor_leaks(public: peers.Identity, tmp_path: Path) -> None:
    leaf = peers.issue("server", HOST, by=public).write(tmp_path / "leaf.pem")
    for handler in (peers.tls(leaf), peers.resets, peers.closes):
        await seen(handler)
        before = descriptors()
        await seen(handler)
        assert descriptors() <= before


# --- through the proxy ---


async def through(reply: bytes, then: peers.Handler | None = None) -> tuple[TlsEvidence, Verdict, list[bytes]]:
    handler, asked = peers.connect_proxy(reply, then)
    with serve(handler) as port:
        planned = check("tls", 443, address=None, via="proxy")
        evidence = await tls.run(planned, net(proxy=f"http://127.0.0.1:{port}"))
        return evidence, tls.judge(planned, evidence, FACTS), asked


async def test_open_through_the_proxy_with_the_name_unresolved(public: peers.Identity, tmp_path: Path) -> None:
    leaf = peers.issue("server", HOST, by=public).write(tmp_path / "leaf.pem")
    evidence, verdict, asked = await through(b"HTTP/1.1 200 Connection established\r\n\r\n", peers.tls(leaf))
    assert asked[0].startswith(b"CONNECT " + HOST.encode() + b":443 HTTP/1.1\r\n")
    assert verdict.outcome is Outcome.OPEN and "through the proxy http://127.0.0.1:" in verdict.sentence
    assert evidence.proxy is not None and evidence.proxy.status == 200 and evidence.connect.result == "proxy"


PROXIES = {
    b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n": (Outcome.REJECTED, Reason.PROXY_AUTHENTICATION),
    b"HTTP/1.1 403 Forbidden\r\n\r\n": (Outcome.REJECTED, Reason.PROXY_REFUSES),
    b"HTTP/1.0 503 Service Unavailable\r\nX: y\r\n\r\n": (Outcome.UNANSWERED, Reason.PROXY_FAILS),
    b"SSH-2.0-OpenSSH\r\n": (Outcome.UNANSWERED, Reason.PROXY_FAILS),
    b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 60_000: (Outcome.UNANSWERED, Reason.PROXY_FAILS),
    b"HTTP/1.1 2": (Outcome.UNANSWERED, Reason.PROXY_FAILS),
}


@pytest.mark.parametrize("reply", PROXIES)
async def test_proxies_that_refuse(reply: bytes) -> None:
    evidence, verdict, _ = await through(reply)
    assert (verdict.outcome, verdict.reason) == PROXIES[reply]
    assert evidence.proxy is not None
    assert (evidence.proxy.detail == "the header is too long") == (len(reply) > 16_384)
    assert "through the proxy" in verdict.sentence


async def test_a_proxy_that_is_not_there() -> None:
    planned = check("tls", 443, address=None, via="proxy")
    evidence = await tls.run(planned, net(proxy="http://127.0.0.1:9"))
    verdict = tls.judge(planned, evidence, FACTS)
    assert (verdict.outcome, verdict.reason) == (Outcome.CLOSED, Reason.PROXY_FAILS)


async def test_a_proxy_whose_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("roomprobe.net.connect_proxy.socket.getaddrinfo", no_name)
    planned = check("tls", 443, address=None, via="proxy")
    evidence = await tls.run(planned, net(proxy="http://proxy.example.test:8080"))
    verdict = tls.judge(planned, evidence, FACTS)
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.PROXY_FAILS)


# --- the judge as a table ---

TARGET, V6 = "203.0.113.10", "2001:db8::10"
OWN = "192.168.50.10"


def icmp(*errors: Icmp) -> Connect:
    return Connect(result="icmp", errors=errors)


CONNECTS = [
    (TARGET, Connect(result="refused"), Outcome.REFUSED, Reason.RESET),
    (TARGET, Connect(result="timeout"), Outcome.UNANSWERED, Reason.SILENCE),
    (TARGET, icmp(Icmp(type=3, code=13, offender="10.0.0.1")), Outcome.REJECTED, Reason.ADMIN_PROHIBITED),
    (TARGET, icmp(Icmp(type=3, code=9, offender="10.0.0.1")), Outcome.REJECTED, Reason.ADMIN_PROHIBITED),
    (TARGET, icmp(Icmp(type=3, code=3, offender="10.0.0.1")), Outcome.REJECTED, Reason.PORT_UNREACHABLE),
    (TARGET, icmp(Icmp(type=3, code=1, offender="10.0.0.1")), Outcome.REJECTED, Reason.UNREACHABLE),
    (TARGET, icmp(Icmp(type=3, code=13, offender=TARGET)), Outcome.REJECTED, Reason.ADMIN_PROHIBITED),
    (TARGET, icmp(Icmp(type=3, code=3, offender=TARGET)), Outcome.REFUSED, Reason.PORT_UNREACHABLE),
    (TARGET, icmp(Icmp(type=11, code=0, offender="10.0.0.1")), Outcome.UNANSWERED, Reason.UNREACHABLE),
    (TARGET, icmp(Icmp(type=3, code=4, offender="10.0.0.1")), Outcome.UNANSWERED, Reason.SILENCE),
    (TARGET, icmp(Icmp(type=3, code=13, offender=OWN)), Outcome.FAULT, Reason.LOCAL_FIREWALL),
    (TARGET, icmp(Icmp(type=0, code=0, offender=None, local=True)), Outcome.FAULT, Reason.LOCAL_FIREWALL),
    (TARGET, icmp(Icmp(type=3, code=1, offender=OWN)), Outcome.UNANSWERED, Reason.GATEWAY_SILENT),
    (V6, icmp(Icmp(type=1, code=1, offender="2001:db8::1")), Outcome.REJECTED, Reason.ADMIN_PROHIBITED),
    (V6, icmp(Icmp(type=1, code=5, offender="2001:db8::1")), Outcome.REJECTED, Reason.ADMIN_PROHIBITED),
    (V6, icmp(Icmp(type=1, code=4, offender=V6)), Outcome.REFUSED, Reason.PORT_UNREACHABLE),
    (V6, icmp(Icmp(type=1, code=3, offender="2001:db8:1::5")), Outcome.UNANSWERED, Reason.GATEWAY_SILENT),
]
FAILURES = [
    ("EPERM", Outcome.FAULT, Reason.PERMISSION),
    ("EACCES", Outcome.FAULT, Reason.PERMISSION),
    ("EMFILE", Outcome.FAULT, Reason.RESOURCE),
    ("ENOBUFS", Outcome.FAULT, Reason.RESOURCE),
    ("ENETUNREACH", Outcome.UNANSWERED, Reason.UNREACHABLE),
    ("EHOSTUNREACH", Outcome.UNANSWERED, Reason.UNREACHABLE),
]
CONNECTS += [
    (TARGET, Connect(result="failure", failure=Failure(operation="connect", errno=name, detail="")), outcome, reason)
    for name, outcome, reason in FAILURES
]


@pytest.mark.parametrize(("address", "connect", "outcome", "reason"), CONNECTS)
def test_connects(address: str, connect: Connect, outcome: Outcome, reason: Reason) -> None:
    facts = Facts(addresses=(OWN, "2001:db8:1::5"), clock_synced=True)
    verdict = tls.judge(check("tls", 443, address=address), TlsEvidence(connect=connect), facts)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.where is not None
    if outcome is Outcome.REJECTED:
        assert verdict.hop is not None and verdict.hop.sender is not None
        assert verdict.hop.sender.address == connect.errors[0].offender


def shown(*trust_: Trust, **more: object) -> TlsEvidence:
    leaf = Certificate(
        sha256="00", subject="CN=x", issuer="CN=An\\, Issuer,O=Org", names=("a", "b", "c", "d"),
        not_before="2026-01-01T00:00:00Z", not_after="2026-02-01T00:00:00Z",
    )  # fmt: skip
    fields: dict[str, object] = {
        "stage": "established",
        "trust": trust_,
        "chain": (leaf,),
        "clock": "1970-01-01T00:00:00Z",
    }
    return TlsEvidence(connect=Connect(result="connected", seconds=0.01), **(fields | more))  # type: ignore[arg-type]


ISSUER = Trust(anchors="certifi", verified=False, problem="issuer")
GOOD = Trust(anchors="certifi", verified=True)
CHAINS = [
    (shown(GOOD), Outcome.OPEN, Reason.VERIFIED),
    (shown(GOOD, alert=80), Outcome.OPEN, Reason.VERIFIED),
    (shown(GOOD, alert=116), Outcome.REACHED, Reason.WANTS_CLIENT_CERTIFICATE),
    (shown(GOOD, alert=116, stage="answered"), Outcome.OPEN, Reason.VERIFIED),
    (shown(GOOD, stage="certificate", closed="reset"), Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY),
    (shown(GOOD, stage="certificate", closed="closed"), Outcome.REACHED, Reason.HANDSHAKE_ONLY),
    (shown(ISSUER, pinned=True), Outcome.OPEN, Reason.VERIFIED),
    (shown(ISSUER, pinned=False), Outcome.INTERCEPTED, Reason.ISSUER_UNEXPECTED),
    (shown(ISSUER, Trust(anchors="site", verified=True)), Outcome.OPEN, Reason.VERIFIED),
    (shown(ISSUER, Trust(anchors="system", verified=True)), Outcome.INTERCEPTED, Reason.ISSUER_UNEXPECTED),
    (
        shown(ISSUER, Trust(anchors="system", verified=False, problem="expired")),
        Outcome.INTERCEPTED, Reason.ISSUER_UNEXPECTED,
    ),
    (shown(ISSUER, alert=116), Outcome.INTERCEPTED, Reason.ISSUER_UNEXPECTED),
]  # fmt: skip


@pytest.mark.parametrize(("evidence", "outcome", "reason"), CHAINS)
def test_chains(evidence: TlsEvidence, outcome: Outcome, reason: Reason) -> None:
    verdict = tls.judge(check("tls", 443), evidence, FACTS)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert (verdict.where is None) == (outcome in (Outcome.OPEN, Outcome.REACHED))
    if reason is Reason.ISSUER_UNEXPECTED:
        assert "An, Issuer" in verdict.sentence


def test_a_silent_proxy_is_not_the_far_ends_silence() -> None:
    proxy = ProxyAnswer(proxy="http://10.0.0.9:3128", connect=Connect(result="timeout"))
    evidence = TlsEvidence(connect=Connect(result="proxy"), proxy=proxy)
    verdict = tls.judge(check("tls", 443, address=None, via="proxy"), evidence, FACTS)
    assert (verdict.outcome, verdict.reason, verdict.where) == (
        Outcome.UNANSWERED, Reason.PROXY_SILENT, Where.LAN,
    )  # fmt: skip
