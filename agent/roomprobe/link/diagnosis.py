"""Why a port of the controller link fails: what the neighbour cache, the routers and the other ports say about it. Pure.

From the nearest cause to the farthest: this box, the link, the neighbour, the port. docs/probes/controller.md has the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roomprobe.icmp import same_address
from roomprobe.link import absent, hole, words
from roomprobe.link.evidence import ControllerEvidence, LinkEvidence
from roomprobe.model import Hop, Place, Result, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.rejection import replaced
from roomprobe.text import escape


def troubled(result: Result) -> bool:
    """Whether the link is worth a look: the port did not even take a connection."""
    evidence = result.evidence
    if not isinstance(evidence, ControllerEvidence) or evidence.connect.result == "connected":
        return False
    return result.verdict.outcome not in (Outcome.OPEN, Outcome.REACHED, Outcome.SKIPPED)


def refine_all(results: Sequence[Result], links: Mapping[str, LinkEvidence]) -> tuple[Result, ...]:
    """The results with the final verdicts of the controller link's ports; all others come back unchanged."""
    done = []
    for result in results:
        check = result.check
        if check.kind == "controller" and check.address is not None:
            others = [r for r in results if r.check.address == check.address and r.check.id != check.id]
            verdict = refine(result, links.get(check.address), others)
            result = Result(check=check, evidence=result.evidence, verdict=verdict)
        done.append(result)
    return tuple(done)


def refine(result: Result, link: LinkEvidence | None, others: Sequence[Result]) -> Verdict:
    """The final verdict of one port. `others` are the results of the same codec's other ports, `link` what lies between."""
    first = result.verdict
    if first.reason is Reason.MTU_BLACK_HOLE:
        return hole.settled(result, others)
    if link is None or not troubled(result):
        return _stranger(result, others)
    what = f"TCP {result.check.port}"
    own = _own_side(what, first, link)
    if own is not None:
        return own
    if link.gateway is not None or link.source is None:
        return _routed(what, first, link, others)
    if first.reason is not Reason.NEIGHBOUR_SILENT and not absent.resolved(link, others) and absent.remembered(link):
        return absent.gone(what, first, link)
    if first.reason is Reason.NEIGHBOUR_SILENT or not absent.resolved(link, others):
        return absent.unresolved(what, first, link)
    if first.outcome is Outcome.REFUSED:
        return Verdict(
            outcome=Outcome.CLOSED,
            confidence=Confidence.INFERRED,
            reason=Reason.PORT_CLOSED,
            where=Where.FAR_END,
            rtt_ms=first.rtt_ms,
            sentence=f"{what} is refused by {words.device(link)} itself, a neighbour of this box: nothing listens there, or it serves "
            "one controller only and has one. The network lets it through.",
        )
    if first.outcome is Outcome.UNANSWERED and first.reason in (Reason.SILENCE, Reason.GATEWAY_SILENT):
        return _silent(what, link, others)
    return first


def _own_side(what: str, first: Verdict, link: LinkEvidence) -> Verdict | None:
    """Trouble on this box itself: no cable, no link-local address, the wrong interface."""
    name = escape(link.interface or "?", 20)
    if link.interface == "lo":
        return replaced(
            first,
            outcome=Outcome.UNANSWERED,
            confidence=Confidence.NONE,
            reason=Reason.ADDRESS_UNUSABLE,
            where=Where.THIS_BOX,
            hop=None,
            sentence=f"Cannot tell: {escape(link.address, 60)} leads to this box itself, and nothing listens on {what} here; the codec is "
            "another device.",
        )
    if link.carrier is False:
        sentence = f"{what} was not sent: {name} has no link. Check the cable and the jack."
        return words.unanswered(first, Reason.NO_CARRIER, Where.JACK, sentence)
    if link.interface is not None and link.carrier is None and not link.own:
        return replaced(
            first,
            outcome=Outcome.FAULT,
            confidence=Confidence.NONE,
            reason=Reason.INTERFACE_DOWN,
            where=Where.THIS_BOX,
            hop=None,
            sentence=f"{what} was not sent: {name} is switched off on this box.",
        )
    local = [a for a in link.own if a.address.startswith("fe80:")]
    if link.interface is not None and not any(a.usable for a in local):
        twice = any(a.failed for a in local)
        why = (
            f"its link-local address at {name} is in use by another device too (duplicate address detection failed)"
            if twice
            else f"this box has no IPv6 link-local address at {name}: IPv6 is switched off there, and the controller link needs it"
        )
        return replaced(
            first,
            outcome=Outcome.FAULT,
            confidence=Confidence.NONE,
            reason=Reason.NO_LINK_LOCAL,
            where=Where.THIS_BOX,
            hop=None,
            sentence=f"{what} was not sent: {why}.",
        )
    if link.elsewhere and not absent.remembered(link):
        other = escape(link.elsewhere[0], 20)
        sentence = (
            f"{what} gets no answer at {name}, but the same address is a neighbour at {other}: "
            f"give --codec {link.address.partition('%')[0]}%{other}."
        )
        return words.unanswered(first, Reason.NEIGHBOUR_SILENT, Where.THIS_BOX, sentence)
    return None


def _silent(what: str, link: LinkEvidence, others: Sequence[Result]) -> Verdict:
    """The neighbour is there, the port says nothing."""
    answering = [r for r in others if absent.answers(r)]
    hop = Hop(last_answering=Place(distance=0), next_on_control=Place(distance=1, address=link.address))
    if answering:
        answered = f"{words.device(link)} answers {words.ports(answering)}"
        return words.port_filter(what, answered, " (in the switch), or in the codec itself.", Where.LAN, hop)
    echo = " and echo requests" if link.echoed else ""
    sentence = (
        f"{what} gets no answer, while {words.device(link)} is there and answers neighbour discovery{echo}: a filter lies between "
        "(an access list in the switch), or in the device itself."
    )
    return words.filtered(Reason.NEIGHBOUR_ANSWERS, Where.LAN, sentence, hop)


def _routed(what: str, first: Verdict, link: LinkEvidence, others: Sequence[Result]) -> Verdict:
    """The codec is behind a router: is it our own source address or way that is wrong? The path itself is verdict.refine's."""
    advertised = [r for r in link.routers if r.advertised]
    working = [t for t in link.sources if t.result in ("connected", "refused")]
    silent = first.outcome is Outcome.UNANSWERED
    if link.source is None:
        sentence = f"{what} was not sent: this box has no IPv6 route to {escape(link.address, 60)}."
        return words.unanswered(first, Reason.UNREACHABLE, Where.THIS_BOX, sentence)
    connected = any(absent.answers(r) and r.evidence.connect.source == link.source for r in others)
    stray_source = any(same_address(a.address, link.source) and a.dynamic for a in link.own) and bool(advertised)
    if silent and working:
        stray = stray_source and not connected
        by = f", which router {escape(advertised[0].address, 60)} advertised" if stray and len(advertised) == 1 else ""
        so = (
            ". A stray router advertisement gave this box an address that leads nowhere."
            if stray
            else ": a rule on the way drops the one source and not the other."
        )
        return Verdict(
            outcome=Outcome.FILTERED,
            confidence=Confidence.PROVEN,
            reason=Reason.STRAY_ROUTER if stray else Reason.SIBLING_ANSWERS,
            where=Where.LAN,
            sentence=f"{what} gets no answer from this box's address {link.source}{by}; from its address {working[0].source} the codec "
            f"answers{so}",
        )
    way = next((r for r in advertised if same_address(r.address, link.gateway)), None)
    if silent and way is not None and any(not same_address(r.address, way.address) for r in link.routers):
        rest = ", ".join(escape(r.address, 60) for r in link.routers if not same_address(r.address, way.address))
        return replaced(
            first,
            reason=Reason.STRAY_ROUTER,
            where=Where.LAN,
            sentence=f"Cannot tell: {what} gets no answer by way of the router {escape(way.address, 60)}, which advertised itself; there "
            f"is another one ({rest}). One of the two may be a stray.",
        )
    return first


def _stranger(result: Result, others: Sequence[Result]) -> Verdict:
    """443 is answered by something that refuses everything else that a 5141 has: it is something else."""
    first, evidence = result.verdict, result.evidence
    if not isinstance(evidence, ControllerEvidence) or evidence.ask != "tls" or evidence.emulator is not None:
        return first
    if first.outcome is not Outcome.REACHED:
        return first
    refused = [r for r in others if r.verdict.outcome in (Outcome.REFUSED, Outcome.CLOSED)]
    if len(others) < 2 or len(refused) < len(others):
        return first
    server = f' ("{escape(evidence.server, 60)}")' if evidence.server else ""
    return Verdict(
        outcome=Outcome.INTERCEPTED,
        confidence=Confidence.INFERRED,
        reason=Reason.NOT_A_CODEC,
        where=Where.FAR_END,
        rtt_ms=first.rtt_ms,
        sentence=f"TCP {result.check.port} is answered{server}, but the device refuses every other port of the link: it answers, but is "
        "no 5141.",
    )
