"""One port of the link between the touchscreen controller and a Teamline 5141 (rows I1-I5), judged on its own evidence.

The conversation stands in net/controller.py; what the other ports and the link itself say is added by link/. Rules:
docs/probes/controller.md.
"""

from __future__ import annotations

import msgspec

from roomprobe.facts import Facts
from roomprobe.icmp import ADDRESS_UNREACHABLE, same_address
from roomprobe.link import hold, hole
from roomprobe.link.evidence import ControllerEvidence
from roomprobe.model import Check, Place, Verdict
from roomprobe.net import Net
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.refusals import nobody_there, of_connect, untold
from roomprobe.site import on_link
from roomprobe.text import escape


async def run(check: Check, net: Net) -> ControllerEvidence:
    """Plays the controller's side of one port."""
    from roomprobe.net.controller import play  # judging alone needs no sockets

    return await play(check, net)


def judge(check: Check, evidence: ControllerEvidence, facts: Facts) -> Verdict:
    """The first verdict on one port."""
    what = f"TCP {check.port}"
    seen = _connected(what, check, evidence, facts)
    real = evidence.emulator is None and seen.outcome in (Outcome.OPEN, Outcome.REACHED)
    if real and evidence.hold is not None and evidence.hold.end == "alive":
        lasted = f"It lasted {hold.seconds(evidence.hold)} without traffic."
        seen = msgspec.structs.replace(seen, sentence=f"{seen.sentence} {lasted}")
    rtt = None if evidence.timing is None else evidence.timing.min_rtt_ms or evidence.timing.rtt_ms
    return msgspec.structs.replace(seen, rtt_ms=rtt)


def _connected(what: str, check: Check, evidence: ControllerEvidence, facts: Facts) -> Verdict:
    near = on_link(check.address or "", facts)
    if near and _unresolved(evidence, facts):
        return untold(
            Outcome.UNANSWERED,
            Reason.NEIGHBOUR_SILENT,
            f"{what} was not sent: {check.address} does not answer neighbour discovery.",
        )
    absent = next((e for e in evidence.connect.errors if (e.type, e.code) == ADDRESS_UNREACHABLE), None)
    if evidence.connect.result == "icmp" and absent is not None:
        return nobody_there(what, check.address or "", Place(address=absent.offender))
    first = of_connect(what, evidence.connect, check.address or "", facts)
    if first is not None:
        return first
    if same_address(evidence.connect.source, check.address):
        return untold(
            Outcome.UNANSWERED,
            Reason.ADDRESS_UNUSABLE,
            f"Cannot tell: {what} is answered, but {check.address} is this very box: nothing went over the network.",
            Where.THIS_BOX,
        )
    if evidence.emulator is not None:
        return _emulated(what, evidence)
    lost = hold.real(what, evidence.hold)
    if lost is not None:
        return lost
    if evidence.ask == "auth":
        return _api(what, evidence)
    if evidence.ask == "tls":
        return _tls(what, check, evidence, facts)
    return _quiet(what, evidence, near)


def _unresolved(evidence: ControllerEvidence, facts: Facts) -> bool:
    """The kernel found no neighbour for the address: EHOSTUNREACH, or its own address-unreachable message (RFC 4861 7.2.2)."""
    connect = evidence.connect
    if connect.failure is not None and connect.failure.errno == "EHOSTUNREACH":
        return True
    own = {a.partition("%")[0] for a in (*facts.addresses, connect.source or "")}
    return connect.result == "icmp" and any(
        e.local or ((e.type, e.code) == ADDRESS_UNREACHABLE and (e.offender or "").partition("%")[0] in own)
        for e in connect.errors
    )


def _emulated(what: str, evidence: ControllerEvidence) -> Verdict:
    """The far end is a roomprobe, so the link itself is measured."""
    blocks, held = evidence.blocks, evidence.hold
    if blocks is not None and (blocks.up is False or blocks.down is False):
        return hole.stuck(what, blocks)
    if evidence.closed and held is None:
        return _busy(what, evidence)
    if blocks is None or not blocks.up or not blocks.down:
        return untold(
            Outcome.UNANSWERED,
            Reason.LOSS,
            f"Cannot tell: {what} connects to the emulated codec, but what was asked afterwards got no right answer in time.",
        )
    if held is not None and held.end == "stopped":
        return Verdict(
            outcome=Outcome.OPEN,
            confidence=Confidence.PROVEN,
            reason=Reason.ANSWERED,
            sentence=f"{what} is open: the roomprobe that plays the codec answered and took large packets both ways; the hold was stopped "
            f"after {held.after_s:.0f} s.",
        )
    if held is not None and held.end != "alive":
        return hold.emulated(what, held)
    return Verdict(
        outcome=Outcome.OPEN,
        confidence=Confidence.PROVEN,
        reason=Reason.ANSWERED,
        sentence=f"{what} is open: the roomprobe that plays the codec answered, took large packets both ways, and was still "
        f"there after {hold.seconds(held)} without traffic.",
    )


def _api(what: str, evidence: ControllerEvidence) -> Verdict:
    """TCP 23456: the one port whose protocol is documented."""
    if evidence.api is not None and evidence.api.documented and evidence.http_status == 200:
        return Verdict(
            outcome=Outcome.OPEN,
            confidence=Confidence.PROVEN,
            reason=Reason.ANSWERED,
            sentence=f"{what} is open: the codec's control API answered.",
        )
    if evidence.api is not None and evidence.api.problem == "unfinished":
        how = (
            f"the connection was {evidence.closed} before the rest of it"
            if evidence.closed
            else "the rest did not come in time"
        )
        return untold(
            Outcome.UNANSWERED,
            Reason.LOSS,
            f"Cannot tell: {what} is answered with HTTP {evidence.http_status}, but {how}.",
        )
    if evidence.http_status is not None:
        server = f' from "{escape(evidence.server, 60)}"' if evidence.server else ""
        return untold(
            Outcome.UNANSWERED,
            Reason.NOT_A_CODEC,
            f"Cannot tell: {what} is answered with HTTP {evidence.http_status}{server}, but not as a 5141's control API would.",
        )
    if evidence.banner:
        return untold(
            Outcome.UNANSWERED,
            Reason.NOT_A_CODEC,
            f"Cannot tell: {what} is answered, but not in HTTP as a 5141's control API would.",
        )
    if evidence.closed:
        return _busy(what, evidence)
    return untold(
        Outcome.UNANSWERED,
        Reason.HANDSHAKE_ONLY,
        f"Cannot tell: {what} connects, but `GET /auth` got no answer.",
    )


def _tls(what: str, check: Check, evidence: ControllerEvidence, facts: Facts) -> Verdict:
    """TCP 443: self-signed is expected, so the fingerprint is all that identifies it."""
    if evidence.not_tls:
        return untold(
            Outcome.UNANSWERED,
            Reason.NOT_TLS,
            f"Cannot tell: {what} is answered, but not in TLS as a 5141's web page would.",
        )
    if evidence.certificate is None and evidence.alert is None:
        if evidence.stage == "answered":
            how = f"the handshake was {evidence.closed}" if evidence.closed else "the handshake did not come to an end"
            return untold(
                Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY, f"Cannot tell: {what} begins to answer in TLS, but {how}."
            )
        if evidence.closed:
            return _busy(what, evidence)
        return untold(
            Outcome.UNANSWERED,
            Reason.HANDSHAKE_ONLY,
            f"Cannot tell: {what} connects, but the TLS handshake got no answer.",
        )
    if evidence.certificate is None:
        return _reached(Reason.TLS_ALERT, f"{what} is answered in TLS, with alert {evidence.alert}.")
    shown = evidence.certificate.sha256
    before = facts.certificates.get((check.address or "").partition("%")[0])
    if before is not None and before != shown:
        return _reached(
            Reason.CERTIFICATE_CHANGED,
            f"{what} is answered in TLS, but with another certificate than at the last run ({shown[:16]}…, before {before[:16]}…): "
            "the codec was reset or exchanged, or something else answers.",
        )
    return _reached(Reason.ANSWERED, f"{what} is answered in TLS (certificate {shown[:16]}…).")


def _quiet(what: str, evidence: ControllerEvidence, near: bool) -> Verdict:
    if evidence.banner:
        text = escape(bytes.fromhex(evidence.banner).decode("latin-1").strip(), 60)
        return _reached(Reason.ANSWERED, f'{what} connects and is greeted with "{text}".')
    if evidence.closed:
        return _busy(what, evidence)
    if near:
        return _reached(
            Reason.HANDSHAKE_ONLY,
            f"{what} connects; its protocol is not published, so more cannot be shown.",
        )
    return untold(
        Outcome.UNANSWERED,
        Reason.HANDSHAKE_ONLY,
        f"Cannot tell: {what} connects over a router, but nothing was said, so nothing shows who accepted it.",
    )


def _busy(what: str, evidence: ControllerEvidence) -> Verdict:
    if evidence.named_emulator:
        return untold(
            Outcome.UNANSWERED,
            Reason.CODEC_RESTARTED,
            f"Cannot tell: {what} connects and is {evidence.closed} before the exchange is over: the roomprobe that plays the codec "
            "restarted, or something between ended it. Run it again.",
        )
    return untold(
        Outcome.UNANSWERED,
        Reason.CODEC_BUSY,
        f"Cannot tell: {what} connects and is {evidence.closed} at once: a 5141 may serve one controller only, and one may be "
        "connected. Nothing more was tried.",
    )


def _reached(reason: Reason, sentence: str) -> Verdict:
    return Verdict(outcome=Outcome.REACHED, confidence=Confidence.INFERRED, reason=reason, sentence=sentence)
