"""Refusals on the path: by the far end itself, by a device on the way, or by whom cannot be told. Pure.

Part of verdict.refine: what a check's refusal means once the survey of its address is known.
"""

from __future__ import annotations

import msgspec

from roomprobe import ladder
from roomprobe.evidence import Flow, PathEvidence
from roomprobe.facts import Facts
from roomprobe.icmp import REASONS, WORDS, is_v6, meaning, same_address
from roomprobe.model import Check, Hop, Place, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.site import between, named, where_between, where_sender


def what(check: Check) -> str:
    return f"{(check.transport or '').upper()} {check.port}"


def replaced(verdict: Verdict, **changes: object) -> Verdict:
    return msgspec.structs.replace(verdict, **changes)


def short_confidence(ttl: int) -> Confidence:
    """Only at the first hop is it sure that no other way, a shorter one, leads to the far end."""
    return Confidence.PROVEN if ttl == 1 else Confidence.INFERRED


def short_doubt(ttl: int) -> str:
    return "" if ttl == 1 else " (unless this traffic takes another, shorter way than the rest)"


def refused(check: Check, first: Verdict, path: PathEvidence, flow: Flow, facts: Facts) -> Verdict:
    ttl = ladder.refusal_ttl(flow, path.address)
    reset = check.transport == "tcp"
    reason = Reason.RESET if reset else Reason.PORT_UNREACHABLE
    word = "reset" if reset else "refused"
    if ttl is not None and ladder.is_short(path, ttl):
        hop = Hop(
            last_answering=ladder.place(path, ttl - 1),
            next_on_control=ladder.place(path, ttl),
            sender=Place(distance=None, address=None) if ttl > 1 else ladder.place(path, 1),
        )
        return Verdict(
            outcome=Outcome.REJECTED,
            confidence=short_confidence(ttl),
            reason=reason,
            where=where_between(hop.last_answering, hop.next_on_control, facts),
            hop=hop,
            sentence=f"{what(check)} is {word} in the far end's name by a device on the way, {between(hop, facts)}: the refusal "
            f"comes back before a packet could have reached the far end{short_doubt(ttl)}.",
        )
    length = ladder.full_length(path, flow)
    if ttl is not None and length is not None and ttl >= length and ladder.one_way(path, length):
        return Verdict(
            outcome=Outcome.CLOSED,
            confidence=Confidence.INFERRED,
            reason=Reason.PORT_CLOSED,
            where=Where.FAR_END,
            rtt_ms=first.rtt_ms,
            hop=Hop(sender=Place(distance=length, address=path.address)),
            sentence=f"{what(check)} reaches the far end, and the far end itself says that nothing listens there. "
            "The network lets it through.",
        )
    return replaced(
        first,
        outcome=Outcome.REFUSED,
        confidence=Confidence.NONE,
        reason=reason,
        where=Where.UNKNOWN,
        sentence=f"{what(check)} is {word}, and by whom cannot be told: how long the path to the far end is could not be seen.",
    )


def rejected_by_icmp(check: Check, first: Verdict, path: PathEvidence, flow: Flow, facts: Facts) -> Verdict:
    step = ladder.foreign_icmp(flow, path.address)
    address = step.address if step else (first.hop.sender.address if first.hop and first.hop.sender else None)
    distance = ladder.sender_distance(path, step) if step else ladder.distance_of(path, address)
    if distance is None and any(same_address(address, one) for one in facts.gateways):
        distance = 1
    sender = Place(distance=distance, address=address)
    reason, said = first.reason, "refuses it"
    if step is not None and step.icmp is not None:
        kind = meaning(*step.icmp, is_v6(path.address))
        reason, said = REASONS.get(kind, first.reason), WORDS.get(kind, said)
    last = ladder.place(path, distance - 1) if distance and distance > 1 else ladder.last_hop(path, flow)
    return Verdict(
        outcome=Outcome.REJECTED,
        confidence=Confidence.PROVEN,
        reason=reason,
        where=where_sender(address, path.address, facts),
        hop=Hop(last_answering=last, sender=sender),
        sentence=f"{what(check)} is refused on the way: {named(sender, facts)} {said}.",
    )
