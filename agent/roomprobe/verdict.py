"""From first verdicts to final ones: what ladders, siblings, legacy and vantage change. Pure, and replayable.

A probe's own judge speaks of its own evidence alone. Here the survey of the same address is held against it, line by line as
the table "A silent UDP port" of the requirement rows (docs/probes/path.md) says.
"""

from __future__ import annotations

import msgspec

from roomprobe import ladder
from roomprobe.evidence import Flow, PathEvidence
from roomprobe.facts import Facts
from roomprobe.icmp import ADDRESS_UNREACHABLE
from roomprobe.model import Check, Hop, Place, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.refusals import nobody_there
from roomprobe.rejection import refused, rejected_by_icmp, replaced, short_confidence, short_doubt, what
from roomprobe.site import between, named, outside, where_between, where_sender

NEEDS_PATH = frozenset({Outcome.UNANSWERED, Outcome.REFUSED, Outcome.REJECTED, Outcome.INTERCEPTED})
_NOT_A_PATH = frozenset(
    {
        Reason.GATEWAY_SILENT,
        Reason.PROXY_FAILS,
        Reason.PROXY_SILENT,
        Reason.PROXY_REFUSES,
        Reason.PROXY_AUTHENTICATION,
        Reason.WILDCARD_DNS,
        Reason.NO_ADDRESS,
        Reason.NEIGHBOUR_SILENT,
        Reason.CODEC_BUSY,
        Reason.CODEC_RESTARTED,
        Reason.NOT_A_CODEC,
        Reason.IDLE_TIMEOUT,
        Reason.STRAY_ROUTER,
    }
)


def needs_path(check: Check, first: Verdict) -> bool:
    """Whether a survey of the path can say more about this check than its own evidence does."""
    direct = check.kind in ("tls", "tcp", "udp", "controller") and check.via == "direct" and check.address is not None
    if check.kind == "controller" and first.reason in (Reason.HANDSHAKE_ONLY, Reason.NOT_TLS):
        return False  # connected: a real codec is not connected to again
    unsent = first.reason is Reason.UNREACHABLE and first.where is Where.THIS_BOX
    return direct and not unsent and first.outcome in NEEDS_PATH and first.reason not in _NOT_A_PATH


def refine(check: Check, first: Verdict, path: PathEvidence | None, facts: Facts) -> Verdict:
    """The final verdict of a check: `path` is the survey of its address, or None when there was none."""
    flow = None if path is None else _flow(check, path)
    if path is None or flow is None or not needs_path(check, first):
        return first
    if first.outcome is Outcome.INTERCEPTED:
        return _intercepted(check, first, path, flow, facts)
    if first.reason in (Reason.HANDSHAKE_ONLY, Reason.TLS_ALERT):
        return _handshake_only(check, first, path, flow, facts)
    foreign = ladder.foreign_icmp(flow, path.address)
    if check.kind == "controller" and foreign is not None and foreign.icmp == ADDRESS_UNREACHABLE:
        router = Place(distance=ladder.sender_distance(path, foreign), address=foreign.address)
        return nobody_there(what(check), path.address, router)
    if foreign is not None or first.outcome is Outcome.REJECTED:
        return rejected_by_icmp(check, first, path, flow, facts)
    if first.outcome is Outcome.REFUSED or ladder.refusal_ttl(flow, path.address) is not None:
        return refused(check, first, path, flow, facts)
    if any(step.result == "answer" for step in flow.steps):
        return _late_answer(check, path, flow)
    if first.reason is Reason.NATIVE_ONLY:
        return _native_only(check, first, path, flow, facts)
    return _silent(check, first, path, flow, facts)


def own_target(verdict: Verdict, check: Check) -> Verdict:
    """What an answer from an address that the site named itself proves: the port is open to that host, and no more."""
    if not check.overridden or check.transport != "udp" or verdict.outcome is not Outcome.OPEN:
        return verdict
    return replaced(
        verdict,
        sentence=f"{verdict.sentence} The site named this address itself: the port is open to it, not necessarily to others.",
    )


def cap(verdict: Verdict, check: Check, *, legacy: bool, pinned: bool, elsewhere: bool) -> Verdict:
    """Confidence capped at inferred: at a legacy name that the site did not vouch for, or judged from another port."""
    doubt = elsewhere or (legacy and not check.overridden and not pinned)
    if doubt and verdict.confidence is Confidence.PROVEN and verdict.outcome not in (Outcome.SKIPPED, Outcome.FAULT):
        return msgspec.structs.replace(verdict, confidence=Confidence.INFERRED)
    return verdict


def _flow(check: Check, path: PathEvidence) -> Flow | None:
    payload = "opaque" if check.transport == "udp" else None
    return ladder.find(path, check.transport or "", check.port or 0, payload)


def _silent(check: Check, first: Verdict, path: PathEvidence, flow: Flow, facts: Facts) -> Verdict:
    found = ladder.edges(path, flow)
    proven = next((ttl for ttl in found if ladder.proven_silent(path, flow, ttl)), None)
    last = ladder.last_hop(path, flow)
    if found:
        edge = found[0] if proven is None else proven
        hop = Hop(last_answering=last or Place(distance=0), next_on_control=ladder.place(path, edge))
        if proven is None:
            return replaced(
                first,
                reason=Reason.LOSS,
                hop=hop,
                sentence=f"Cannot tell: {what(check)} looks silent {between(hop, facts)}, but packets are lost on this path "
                "(or the time was too short to repeat them often enough), so that may be chance.",
            )
        # All UDP silent where only TCP goes on may also be a rule about such test packets alone: concluded, not seen.
        seen = check.transport == "tcp" or _udp_goes_on(path, flow, edge)
        return Verdict(
            outcome=Outcome.FILTERED,
            confidence=Confidence.PROVEN if seen else Confidence.INFERRED,
            reason=Reason.PATH_ENDS,
            where=where_between(hop.last_answering, hop.next_on_control, facts),
            hop=hop,
            sentence=_dropped(check, hop, facts),
        )
    if any(
        other.payload == flow.payload and other.transport == flow.transport for other in ladder.others(path, flow)
    ) and (ladder.proven_silent(path, flow, ladder.FULL_TTL)):
        hop = Hop(
            last_answering=last, next_on_control=Place(distance=ladder.full_length(path, flow), address=path.address)
        )
        return Verdict(
            outcome=Outcome.FILTERED,
            confidence=Confidence.INFERRED,
            reason=Reason.SIBLING_ANSWERS,
            where=where_between(last, hop.next_on_control, facts)
            if last and outside(last.address, facts)
            else Where.UNKNOWN,
            hop=hop,
            sentence=f"{what(check)} stays silent, while the same address answers the same packet on another port. "
            f"It gets as far as {named(last, facts)}; beyond that it is dropped, or the far end ignores this port.",
        )
    return _passes(check, first, path, flow, facts)


def _udp_goes_on(path: PathEvidence, flow: Flow, edge: int) -> bool:
    """Whether some other UDP towards the same address was heard at the edge or beyond it."""
    rest = [other for other in ladder.others(path, flow) if other.transport == "udp"]
    return any(s.ttl >= edge and s.result in ("hop", "answer") for other in rest for s in other.steps)


def _dropped(check: Check, hop: Hop, facts: Facts) -> str:
    last, following = hop.last_answering, hop.next_on_control
    known = last.distance if last and last.distance else 0
    other = f"{named(following, facts)}, answers other traffic to the same address but not this"
    if not known:
        return f"{what(check)} is dropped on the way: a router, {other}. It, or something before it, drops it."
    gap = (following.distance or 0) - known if following else 0
    which, who = ("a router further on", "One of them drops it, or a device between.")
    if gap <= 1:
        which, who = ("the next router", "One of the two drops it.")
    return f"{what(check)} gets no further than {named(last, facts)}; {which}, {other}. {who}"


def _passes(check: Check, first: Verdict, path: PathEvidence, flow: Flow, facts: Facts) -> Verdict:
    last = ladder.last_hop(path, flow)
    control = ladder.reached_by_control(path, flow)
    if check.transport == "udp" and last is not None and control and outside(last.address, facts):
        return Verdict(
            outcome=Outcome.PASSES,
            confidence=Confidence.INFERRED,
            reason=Reason.LEAVES_SITE,
            hop=Hop(last_answering=last),
            sentence=f"{what(check)} leaves the site: it is not blocked before {named(last, facts)}, as far as any traffic to "
            "this address can be followed. Beyond that is unknown; the far end does not answer strangers.",
        )
    if last is None and not ladder.routers(path, ladder.others(path, flow)):
        why = "the routers on the way do not report anything, so silence cannot be told from blocking"
        reason = Reason.SILENCE
    elif not control:
        why = f"nothing that was sent to follow the path got an answer from there; the last device heard is {named(last, facts)}"
        reason = Reason.SILENCE
    else:
        why = f"the last device heard is {named(last, facts)}, and that is not known to be outside the site"
        reason = Reason.UNPROVEN
    return replaced(first, reason=reason, hop=Hop(last_answering=last) if last else None, where=Where.UNKNOWN,
                    sentence=f"Cannot tell: {what(check)} gets no answer, and {why}.")  # fmt: skip


def _late_answer(check: Check, path: PathEvidence, flow: Flow) -> Verdict:
    answer = next(step for step in flow.steps if step.result == "answer")
    if check.transport == "udp":
        return Verdict(
            outcome=Outcome.OPEN,
            confidence=Confidence.PROVEN,
            reason=Reason.ANSWERED,
            rtt_ms=answer.ms,
            sentence=f"{what(check)} is answered by the far end, but only after repeats: packets are lost on this path.",
        )
    return Verdict(
        outcome=Outcome.UNANSWERED,
        confidence=Confidence.NONE,
        reason=Reason.LOSS,
        where=Where.UNKNOWN,
        sentence=f"Cannot tell: {what(check)} did not answer in time at first, and connected later: "
        "packets are lost on this path.",
    )


def _short_answer(path: PathEvidence, flow: Flow) -> int | None:
    """The TTL of an answer that came back before a packet could have reached the target."""
    ttl = ladder.answer_ttl(flow)
    return ttl if ladder.is_short(path, ttl) else None


def _intercepted(check: Check, first: Verdict, path: PathEvidence, flow: Flow, facts: Facts) -> Verdict:
    ttl = _short_answer(path, flow)
    if ttl is None:
        return first
    sender = ladder.place(path, ttl)
    return replaced(
        first,
        where=where_sender(sender.address, None, facts),
        hop=Hop(sender=sender),
        sentence=f"{first.sentence} It stands at {named(sender, facts)}: the connection is accepted there already.",
    )


def _handshake_only(check: Check, first: Verdict, path: PathEvidence, flow: Flow, facts: Facts) -> Verdict:
    ttl = _short_answer(path, flow)
    if ttl is not None:
        sender = ladder.place(path, ttl)
        return Verdict(
            outcome=Outcome.INTERCEPTED,
            confidence=short_confidence(ttl),
            reason=Reason.HANDSHAKE_SHORT,
            where=where_sender(sender.address, None, facts),
            hop=Hop(sender=sender),
            sentence=f"{what(check)} is accepted by {named(sender, facts)}, before it could have reached the far end; "
            f"a device there completes connections itself{short_doubt(ttl)}.",
        )
    answer = ladder.answer_ttl(flow)
    before = None if answer is None else ladder.place(path, answer - 1)
    length = ladder.full_length(path, flow)
    if answer is None or (answer != length and (before is None or not outside(before.address, facts))):
        return first
    if first.reason is Reason.HANDSHAKE_ONLY:
        # A handshake says nothing of the data behind it: a filter that reads names lets exactly this much through.
        return replaced(
            first,
            hop=Hop(last_answering=before),
            sentence=f"{first.sentence} The connection is accepted at the far end's distance (hop {answer}); whether the far "
            "end is mute or something on the way drops what follows cannot be told.",
        )
    return Verdict(
        outcome=Outcome.REACHED,
        confidence=Confidence.INFERRED,
        reason=Reason.TLS_ALERT,
        rtt_ms=first.rtt_ms,
        hop=Hop(last_answering=before),
        sentence=f"{what(check)} is answered in TLS at the far end's distance (hop {answer}), by a server that turns strangers "
        "away before it shows a certificate, so who it is cannot be verified.",
    )


def _native_only(check: Check, first: Verdict, path: PathEvidence, flow: Flow, facts: Facts) -> Verdict:
    for other in ladder.others(path, flow):
        if other.port == flow.port and other.transport == "udp" and other.payload != flow.payload:
            ttl = _short_answer(path, other)
            if ttl is not None:
                sender = ladder.place(path, ttl)
                return Verdict(
                    outcome=Outcome.INTERCEPTED,
                    confidence=Confidence.PROVEN,
                    reason=Reason.NATIVE_ONLY,
                    where=where_sender(sender.address, None, facts),
                    hop=Hop(sender=sender),
                    rtt_ms=first.rtt_ms,
                    sentence=f"{what(check)} is answered only in the port's usual protocol ({(other.payload or '').upper()}), and by "
                    f"{named(sender, facts)} in the far end's place. The tunnel does not get through.",
                )
    judged = _silent(check, first, path, flow, facts)
    if judged.outcome is Outcome.FILTERED:
        return replaced(
            judged,
            reason=Reason.NATIVE_ONLY,
            sentence=f"{judged.sentence} Only the port's usual protocol is answered.",
        )
    return first
