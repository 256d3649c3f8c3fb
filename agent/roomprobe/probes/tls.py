"""One TLS server asked directly or through the web proxy: TCP, handshake, the whole chain, one `GET /` (rows F1, F2).

Rules, packets and what is left behind at the far end: docs/probes/tls.md. Peer identity: trust.py.
"""

from __future__ import annotations

import datetime
import ipaddress
import time

import msgspec

from roomprobe import identity, trust
from roomprobe.evidence import TlsEvidence
from roomprobe.facts import Facts
from roomprobe.model import Check, Verdict
from roomprobe.net import Net, tls
from roomprobe.net.connect_proxy import reach
from roomprobe.net.stream import Stream
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.refusals import of_connect, of_proxy, rtt, title, untold
from roomprobe.text import escape

WHOLE_S = 5.0
HANDSHAKE_S = 2.5
ANSWER_S = 1.0
# Alerts by which a server says that it wants a (better) client certificate, once it has shown its own (RFC 8446 6.2).
CLIENT_CERTIFICATE_ALERTS = frozenset({40, 41, 42, 43, 44, 45, 46, 48, 49, 116})


async def run(check: Check, net: Net) -> TlsEvidence:
    """Connects, shakes hands, asks once and closes; at most WHOLE_S seconds, as soon as the far end allows."""
    started = time.monotonic()
    until = started + WHOLE_S
    made, proxy, stream = await reach(check, net, until)
    name = check.host or check.address or ""
    sni = server_name(name)
    clock = datetime.datetime.now(datetime.UTC)
    if stream is None:
        return TlsEvidence(
            connect=made, proxy=proxy, sni=sni, clock=_rfc3339(clock), duration_s=round(time.monotonic() - started, 4)
        )
    try:
        talk = await _talk(check, net, stream, sni, until)
    finally:
        stream.close()
    judged, pinned = (
        trust.judge_chain(talk.chain, name, clock, net.ca_file, pins(net, name)) if talk.chain else ((), None)
    )
    return TlsEvidence(
        connect=made,
        proxy=proxy,
        stage=talk.stage,
        sni=sni,
        alpn=talk.alpn,
        version=talk.version,
        chain=tuple(map(trust.describe, talk.chain)),
        trust=judged,
        pinned=pinned,
        alert=talk.alert,
        closed=talk.closed,
        not_tls=talk.not_tls,
        first_bytes=talk.first.hex() if talk.not_tls else None,
        http_status=talk.http_status,
        handshake_s=talk.handshake_s,
        clock=_rfc3339(clock),
        duration_s=round(time.monotonic() - started, 4),
    )


async def _talk(check: Check, net: Net, stream: Stream, sni: str | None, until: float) -> tls.Talk:
    alpn = tuple(str(one) for one in check.params.get("alpn", ("http/1.1",)))
    context = net.tls_contexts.get(alpn) or net.tls_contexts.setdefault(alpn, tls.context(alpn))
    conversation = tls.Conversation(stream, context, sni)
    if await conversation.handshake(min(until, time.monotonic() + HANDSHAKE_S)):
        if conversation.talk.alpn in (None, "http/1.1"):
            await conversation.ask(request(check), min(until, time.monotonic() + ANSWER_S))
    return conversation.talk


def request(check: Check) -> bytes:
    """The one request: `GET /`, which every web server has and nothing acts on."""
    host = check.host or check.address or ""
    host = f"[{host.partition('%')[0]}]" if ":" in host else host
    authority = host if check.port == 443 else f"{host}:{check.port}"
    text = f"GET / HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: roomprobe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    return text.encode("ascii", "replace")


def server_name(name: str) -> str | None:
    """What goes into SNI: the name without its final dot; None for an address or a name that is none (RFC 6066 3)."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        bare = name.rstrip(".")
        labels = bare.split(".")
        return bare if len(bare) <= 253 and bare.isascii() and all(0 < len(one) <= 63 for one in labels) else None
    return None


def pins(net: Net, name: str) -> tuple[str, ...] | None:
    """The pins of a name, compared without case and final dot."""
    wanted = name.rstrip(".").lower()
    return next((p for host, p in net.pins.items() if host.rstrip(".").lower() == wanted), None)


def _rfc3339(at: datetime.datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


# --- judging -------------------------------------------------------------------------------------------------------


def judge(check: Check, evidence: TlsEvidence, facts: Facts) -> Verdict:
    """The verdict on the connection's own evidence; refusals and silence are placed later by the path."""
    what = title(check, evidence.proxy)
    proxy = evidence.proxy
    first = of_proxy(what, proxy, facts) if proxy else of_connect(what, evidence.connect, check.address or "", facts)
    if first is not None:
        return first
    name = check.host or check.address or ""
    seen = _wordless(what, evidence) or identity.stranger(name, what, evidence, facts) or _expected(what, evidence)
    return msgspec.structs.replace(seen, rtt_ms=rtt(evidence.connect, proxy))


def _wordless(what: str, evidence: TlsEvidence) -> Verdict | None:
    """The verdict on a peer that showed no certificate; None when it showed one."""
    if evidence.not_tls:
        return Verdict(
            outcome=Outcome.INTERCEPTED,
            confidence=Confidence.INFERRED,
            reason=Reason.NOT_TLS,
            where=Where.UNKNOWN,
            sentence=f"{what} connects, but what answers does not speak TLS ({_shown(evidence.first_bytes)}): "
            "somebody else answers in the far end's place.",
        )
    if evidence.chain:
        return None
    if evidence.alert is not None:
        return untold(
            Outcome.UNANSWERED,
            Reason.TLS_ALERT,
            f"Cannot tell: {what} is answered in TLS, but {_broken_off(evidence)} before showing who it is.",
        )
    return untold(
        Outcome.UNANSWERED,
        Reason.HANDSHAKE_ONLY,
        f"Cannot tell: {what} connects, but {_broken_off(evidence)} before showing who it is.",
    )


def _shown(first_bytes: str | None) -> str:
    data = bytes.fromhex(first_bytes or "")
    return f'it begins "{escape(data.decode("latin-1").strip(), 60)}"' if data else "nothing readable came"


def _broken_off(evidence: TlsEvidence) -> str:
    if evidence.alert is not None:
        return f"what answers speaks TLS and broke off with alert {evidence.alert}"
    if evidence.closed:
        return f"the connection was {evidence.closed}"
    return "nothing that this box can read came back"


def _expected(what: str, evidence: TlsEvidence) -> Verdict:
    """The peer is the expected one: how far did the conversation get?"""
    unproven = evidence.stage == "certificate"  # shown, but not yet shown to hold its key
    if evidence.alert in CLIENT_CERTIFICATE_ALERTS and evidence.stage != "answered":
        return Verdict(
            outcome=Outcome.REACHED,
            confidence=Confidence.INFERRED if unproven else Confidence.PROVEN,
            reason=Reason.WANTS_CLIENT_CERTIFICATE,
            sentence=f"{what} reaches the expected server, which wants the room system's client certificate.",
        )
    if unproven and evidence.closed != "closed" and evidence.alert is None:
        return untold(
            Outcome.UNANSWERED,
            Reason.HANDSHAKE_ONLY,
            f"Cannot tell: {what} reaches a server with the expected certificate, but {_broken_off(evidence)} before the "
            "handshake was complete: something may cut it off on the way.",
        )
    if unproven:
        return Verdict(
            outcome=Outcome.REACHED,
            confidence=Confidence.INFERRED,
            reason=Reason.HANDSHAKE_ONLY,
            sentence=f"{what} reaches a server with the expected certificate, but {_broken_off(evidence)} before the "
            "handshake was complete.",
        )
    by = "a pinned certificate" if evidence.pinned and not identity.verified(evidence) else "TLS, certificate verified"
    status = f", HTTP {evidence.http_status}" if evidence.http_status else ""
    return Verdict(
        outcome=Outcome.OPEN,
        confidence=Confidence.PROVEN,
        reason=Reason.VERIFIED,
        sentence=f"{what} is open: the expected server answered ({by}{status}).",
    )
