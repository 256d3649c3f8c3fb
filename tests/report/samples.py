"""Hand-made reports for the tests of everything that prints: one function a situation, small and readable."""

from __future__ import annotations

from typing import Any

import msgspec

from roomprobe.evidence import (
    Connect,
    DnsAnswer,
    DnsEvidence,
    Exchange,
    Flow,
    PathEvidence,
    Step,
    TlsEvidence,
    UdpEvidence,
)
from roomprobe.model import Address, Check, Hop, Host, Place, Result, Service, Vantage, Verdict, Walk, WalkStep
from roomprobe.outcome import Confidence, Need, Outcome, Reason, State, Where
from roomprobe.report.run import Report, Run, Site

UDP_ROWS = {
    "F3": ("tunnel, best quality", 24704),
    "F4": ("tunnel, alternative", 3478),
    "F5": ("tunnel, alternative", 1194),
    "F6": ("tunnel, alternative", 500),
    "F7": ("tunnel, alternative", 123),
}
NOTE = (
    "StarLeaf's public service was wound down in 2022; who answers at these names may not be StarLeaf, "
    "so nothing here is called proven."
)
INTERVAL = Hop(
    last_answering=Place(distance=1, address="10.20.4.1"),
    next_on_control=Place(distance=2, address="100.64.0.1"),
)
BETWEEN = (
    "All five UDP ports get no further than 10.20.4.1, your gateway; the next router, 100.64.0.1, answers TCP 443 "
    "but none of them. One of the two drops them."
)
HOSTILE = "\x1b[2J\x1b]0;owned\x07 evil\r\nF1 open\u202egnp.exe\x9b31m\ud800\ufffe" + "A" * 10_000


def check(row: str, kind: str, *, address: str | None = "203.0.113.10", **more: Any) -> Check:
    """A check of the starleaf profile with what the caller does not care about filled in."""
    fields: dict[str, Any] = {
        "profile": "starleaf",
        "row": row,
        "purpose": "some purpose",
        "document": "standby-prerequisites",
        "services": ("calls",),
        "need": Need.REQUIRED,
        "kind": kind,
        "address": address,
        **more,
    }
    parts = ("row", "host", "address", "transport", "port", "via")
    fields.setdefault("id", ":".join(str(fields.get(part)) for part in parts))
    return Check(**fields)


def verdict(outcome: Outcome, reason: Reason, sentence: str = "A sentence.", **more: Any) -> Verdict:
    """A verdict that is proven unless said otherwise."""
    fields: dict[str, Any] = {"confidence": Confidence.PROVEN, **more}
    return Verdict(outcome=outcome, reason=reason, sentence=sentence, **fields)


def udp(row: str, outcome: Outcome, reason: Reason, *, address: str = "203.0.113.10", **more: Any) -> Result:
    """One of the five tunnel ports at one address."""
    purpose, port = UDP_ROWS[row]
    asked = check(
        row,
        "udp",
        address=address,
        purpose=purpose,
        transport="udp",
        host="acme.call.sl",
        port=port,
        group="udp-tunnel",
        need=Need.RECOMMENDED,
    )
    seen = UdpEvidence(
        source="10.20.4.17",
        exchanges=(Exchange(payload="opaque", source_port=40_001, sent_s=(0.0, 0.25, 0.75)),),
        duration_s=1.5,
    )
    return Result(check=asked, evidence=seen, verdict=verdict(outcome, reason, **more))


def tls(row: str, host: str, outcome: Outcome, reason: Reason, *, address: str = "203.0.113.10", **more: Any) -> Result:
    """A TCP 443 row at one address, directly."""
    asked = check(
        row,
        "tls",
        address=address,
        purpose="sign-in, discovery" if row == "F1" else "tunnel over TCP",
        services=("sign-in",) if row == "F1" else ("calls",),
        transport="tcp",
        host=host,
        port=443,
    )
    seen = TlsEvidence(connect=Connect(result="connected", source="10.20.4.17", source_port=50_123, seconds=0.018))
    return Result(check=asked, evidence=seen, verdict=verdict(outcome, reason, **more))


def dns(host: str, resolver: str, transport: str, outcome: Outcome = Outcome.OPEN, **more: Any) -> Result:
    """The name row at one resolver over one transport."""
    asked = check(
        "F0",
        "dns",
        address=resolver,
        purpose="names resolve",
        services=("sign-in", "calls"),
        transport=transport,
        host=host,
        port=53,
    )
    seen = DnsEvidence(
        resolver=resolver,
        transport="udp" if transport == "udp" else "tcp",
        answers=(DnsAnswer(qname=host, qtype="A", rcode="NOERROR", addresses=("203.0.113.10",), seconds=0.004),),
    )
    more.setdefault("reason", Reason.ANSWERED)
    return Result(check=asked, evidence=seen, verdict=verdict(outcome, **more))


def skipped(row: str, purpose: str, reason: Reason, sentence: str, service: str) -> Result:
    """A row that was not run."""
    asked = check(row, "none", address=None, purpose=purpose, services=(service,), need=Need.OPTIONAL)
    return Result(
        check=asked,
        evidence=None,
        verdict=verdict(Outcome.SKIPPED, reason, sentence, confidence=Confidence.NONE),
    )


def service(id: str, title: str, state: State, reason: Reason, sentence: str, **more: Any) -> Service:
    """A service of the starleaf profile."""
    fields: dict[str, Any] = {"confidence": Confidence.INFERRED, **more}
    return Service(
        profile="starleaf",
        profile_version="1",
        id=id,
        title=title,
        state=state,
        reason=reason,
        sentence=sentence,
        **fields,
    )


NOT_TESTED = (
    service(
        "browser-calls", "Calls from a browser", State.UNKNOWN, Reason.NOT_TESTED, "Calls from a browser: not tested."
    ),
    service("standby", "Standby", State.UNKNOWN, Reason.NOT_TESTED, "Standby: not tested."),
)
SKIPPED = (
    skipped(
        "F8", "browser calls, signalling", Reason.NOT_IN_RELEASE, "this release cannot prove it yet", "browser-calls"
    ),
    skipped(
        "P2",
        "administrator role",
        Reason.ATTESTATION,
        "nothing on the network shows it; tick it in the config",
        "standby",
    ),
)
NAMES = tuple(
    dns(host, "10.20.0.53", transport, rtt_ms=4.0)
    for host in ("config.starleaf.com", "acme.call.sl")
    for transport in ("udp", "tcp")
)
SIGN_IN = service(
    "sign-in", "Sign-in", State.FULL, Reason.ALL_MET, "Sign-in will work in full. Quality was not measured."
)
HOST = Host(
    interface="eth0",
    carrier=True,
    addresses=(Address(address="10.20.4.17", prefix=24), Address(address="fd00:20:4::17", prefix=64)),
    gateways={4: "10.20.4.1", 6: "fe80::1"},
    families=(4, 6),
    resolvers=("10.20.0.53",),
    clock_synced=True,
    vantage=Vantage(state="unset", sentence=""),
)


def report(services: tuple[Service, ...], results: tuple[Result, ...], **more: Any) -> Report:
    """A finished run in Boardroom 4."""
    fields: dict[str, Any] = {
        "agent_id": "a1",
        "agent_version": "0.1.0",
        "site": Site(org="acme", site="Cambridge", room="Boardroom 4"),
        "run": Run(
            id="0f0e0d0c",
            trigger="once",
            started="2026-11-20T14:03:11Z",
            started_mono=1234.5,
            duration_s=3.1,
            clock_synced=True,
        ),
        "host": HOST,
        "notes": (NOTE,),
        "paths": (PATH,),
        **more,
    }
    return Report(services=services, results=results, **fields)


PATH = PathEvidence(
    address="203.0.113.10",
    flows=(
        Flow(
            transport="udp",
            port=24704,
            payload="opaque",
            role="suspect",
            source_ports=(40001,),
            steps=(
                Step(ttl=1, round=0, result="hop", address="10.20.4.1", ms=0.4),
                Step(ttl=2, round=0, result="silent"),
                Step(ttl=3, round=0, result="icmp", address="10.20.4.1", icmp=(3, 13), ms=0.5),
            ),
        ),
    ),
    complete=True,
    duration_s=2.5,
)


def degraded() -> Report:
    """All UDP dropped at the edge, TCP 443 open: the example of the documentation."""
    calls = service(
        "calls",
        "Calls",
        State.DEGRADED,
        Reason.RECOMMENDED_NOT_MET,
        f"Calls will work, but not at best quality. Media would go over TCP 443. {BETWEEN}",
        where=Where.SITE_EDGE,
        transport="tcp/443",
        hop=INTERVAL,
        walk=Walk(
            steps=(
                WalkStep(transport="udp/24704", outcome=Outcome.FILTERED, waited_ms=1500.0),
                WalkStep(transport="tcp/443", outcome=Outcome.REACHED, waited_ms=21.0),
            ),
            transport="tcp/443",
            confidence=Confidence.INFERRED,
            duration_s=1.521,
            sentence="Media would probably go over TCP 443.",
        ),
    )
    blocked = tuple(
        udp(
            row,
            Outcome.FILTERED,
            Reason.PATH_ENDS,
            address=address,
            where=Where.SITE_EDGE,
            hop=INTERVAL,
            sentence=BETWEEN,
        )
        for row in UDP_ROWS
        for address in ("203.0.113.10", "203.0.113.11")
    )
    results = (
        *NAMES,
        tls("F1", "config.starleaf.com", Outcome.OPEN, Reason.VERIFIED, rtt_ms=18.2),
        *(
            tls("F2", "acme.call.sl", Outcome.REACHED, Reason.WANTS_CLIENT_CERTIFICATE, address=address, rtt_ms=rtt)
            for address, rtt in (("203.0.113.10", 21.0), ("203.0.113.11", 23.4))
        ),
        *blocked,
        *SKIPPED,
    )
    return report((SIGN_IN, calls, *NOT_TESTED), results)


def full() -> Report:
    """Everything open and answering."""
    calls = service(
        "calls",
        "Calls",
        State.FULL,
        Reason.ALL_MET,
        "Calls should work in full. Media would go over UDP 24704. Quality was not measured.",
        transport="udp/24704",
    )
    results = (
        *NAMES,
        tls("F1", "config.starleaf.com", Outcome.OPEN, Reason.VERIFIED, rtt_ms=18.2),
        tls("F2", "acme.call.sl", Outcome.OPEN, Reason.VERIFIED, rtt_ms=21.0),
        *(udp(row, Outcome.OPEN, Reason.ANSWERED, rtt_ms=20.0) for row in UDP_ROWS),
        *SKIPPED,
    )
    return report((SIGN_IN, calls, *NOT_TESTED), results)


def broken() -> Report:
    """TCP 443 reset in one of two places, the room system in another prefix, one of three addresses of F1 dead."""
    by = Hop(sender=Place(distance=1, address="10.20.4.1"))
    calls = service(
        "calls",
        "Calls",
        State.BROKEN,
        Reason.REQUIRED_NOT_MET,
        "Calls will not work. Something one hop away, 10.20.4.1, resets every connection to acme.call.sl on TCP 443.",
        where=Where.SITE_EDGE,
        hop=by,
    )
    signin = service(
        "sign-in",
        "Sign-in",
        State.DEGRADED,
        Reason.SOME_ADDRESSES,
        "Sign-in will work, but not every address of the far end works. config.starleaf.com at 203.0.113.12: silence.",
    )
    seen = "From this box's port: the room system, 10.20.9.10, is in another network than this box (10.20.4.0/24)."
    results = (
        *NAMES,
        *(
            tls("F1", "config.starleaf.com", Outcome.OPEN, Reason.VERIFIED, address=address, rtt_ms=18.0)
            for address in ("203.0.113.10", "203.0.113.11")
        ),
        tls("F1", "config.starleaf.com", Outcome.FILTERED, Reason.PATH_ENDS, address="203.0.113.12", hop=INTERVAL),
        tls("F2", "acme.call.sl", Outcome.REJECTED, Reason.RESET, where=Where.SITE_EDGE, hop=by),
        *(udp(row, Outcome.UNANSWERED, Reason.SILENCE, where=Where.UNKNOWN) for row in UDP_ROWS),
        *SKIPPED,
    )
    host = msgspec.structs.replace(
        HOST, vantage=Vantage(state="other", sentence=seen, room_system="10.20.9.10"), proxy="http://proxy:8080"
    )
    return report((signin, calls, *NOT_TESTED), results, host=host)


def hostile() -> Report:
    """Every string that the network can choose is chosen badly."""
    calls = service("calls", "Calls", State.BROKEN, Reason.REQUIRED_NOT_MET, f"Calls will not work. Issuer {HOSTILE}")
    liar = tls("F1", f"config{HOSTILE}", Outcome.INTERCEPTED, Reason.ISSUER_UNEXPECTED, sentence=HOSTILE, rtt_ms=1.0)
    strange = Hop(sender=Place(distance=2, address=HOSTILE))
    rejected = udp("F3", Outcome.REJECTED, Reason.ADMIN_PROHIBITED, hop=strange, sentence=HOSTILE)
    results = (liar, rejected, skipped("P2", HOSTILE, Reason.ATTESTATION, HOSTILE, "standby"))
    return report((calls,), results, notes=(HOSTILE,), site=Site(org=HOSTILE, site=None, room=HOSTILE))


ALL = {"degraded": degraded, "full": full, "broken": broken, "hostile": hostile}
