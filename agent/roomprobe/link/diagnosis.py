"""Why a port of the controller link fails: what the neighbour cache, the routers and the other ports say about it. Pure.

From the nearest cause to the farthest: this box, the link, the neighbour, the port. docs/probes/controller.md has the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roomprobe.icmp import same_address
from roomprobe.link import hole
from roomprobe.link.evidence import ControllerEvidence, LinkEvidence, Near
from roomprobe.model import RESOLVED, Hop, Place, Result, Verdict
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
    if first.reason is not Reason.NEIGHBOUR_SILENT and not _resolved(link, others) and _remembered(link):
        return _gone(what, first, link)
    if first.reason is Reason.NEIGHBOUR_SILENT or not _resolved(link, others):
        return _unresolved(what, first, link)
    if first.outcome is Outcome.REFUSED:
        return Verdict(
            outcome=Outcome.CLOSED,
            confidence=Confidence.INFERRED,
            reason=Reason.PORT_CLOSED,
            where=Where.FAR_END,
            rtt_ms=first.rtt_ms,
            sentence=f"{what} is refused by {_device(link)} itself, a neighbour of this box: nothing listens there. The network lets "
            "it through.",
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
            sentence=f"Cannot tell: {escape(link.address, 60)} is this box's own address, and nothing listens on {what} here; the codec is "
            "another device.",
        )
    if link.carrier is False:
        return replaced(
            first,
            outcome=Outcome.UNANSWERED,
            reason=Reason.NO_CARRIER,
            where=Where.JACK,
            sentence=f"{what} was not sent: {name} has no link. Check the cable and the jack.",
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
    if link.elsewhere and not _remembered(link):
        right = f"{link.address.partition('%')[0]}%{escape(link.elsewhere[0], 20)}"
        return replaced(
            first,
            outcome=Outcome.UNANSWERED,
            reason=Reason.NEIGHBOUR_SILENT,
            where=Where.THIS_BOX,
            sentence=f"{what} gets no answer at {name}, but the same address is a neighbour at {escape(link.elsewhere[0], 20)}: "
            f"give --codec {right}.",
        )
    return None


def _unresolved(what: str, first: Verdict, link: LinkEvidence) -> Verdict:
    """Nobody answers neighbour discovery for the codec: absent, filtered or isolated, by what else answers."""
    codec = escape(link.address, 60)
    rest = [n for n in link.near if not same_address(n.address, link.address)]
    hosts = [n for n in rest if not _routes(n, link) and _alive(n, link)]
    routers = [n for n in rest if _routes(n, link) and _alive(n, link)]
    lost = [n for n in rest if n.state in ("failed", "incomplete")]
    silent = f"{codec} does not answer neighbour discovery"
    unsent = f"{what} was not sent."
    if hosts:
        return replaced(
            first,
            outcome=Outcome.UNANSWERED,
            reason=Reason.NEIGHBOUR_SILENT,
            where=Where.FAR_END,
            sentence=f"{silent}, while other devices here do ({_listed(hosts)}): the codec is off, has another address, is plugged into "
            f"another network or an isolated port, or the switch drops its ICMPv6. {unsent}",
        )
    if routers:
        known = (
            f" {_listed(lost)}, known from before, cannot be reached either, which points to the switch."
            if lost
            else ""
        )
        return replaced(
            first,
            outcome=Outcome.UNANSWERED,
            reason=Reason.NEIGHBOUR_SILENT,
            where=Where.UNKNOWN,
            sentence=f"{silent}. The router {_listed(routers)} does, and no other device shows itself: the codec is off or elsewhere, or "
            f"the switch keeps the ports apart (client isolation); which of them cannot be told from here.{known} {unsent}",
        )
    if _fresh(link.gateway4_confirmed_s, link) and any(_routes(n, link) for n in lost):
        return Verdict(
            outcome=Outcome.FILTERED,
            confidence=Confidence.INFERRED,
            reason=Reason.NEIGHBOUR_SILENT,
            where=Where.LAN,
            hop=Hop(last_answering=Place(distance=0)),
            sentence=f"{silent}, nor does the router {_listed([n for n in lost if _routes(n, link)])}, which does answer over IPv4: the network "
            f"filters IPv6 neighbour discovery or multicast. {unsent}",
        )
    return replaced(
        first,
        outcome=Outcome.UNANSWERED,
        reason=Reason.NEIGHBOUR_SILENT,
        where=Where.UNKNOWN,
        sentence=f"{silent}, and no other device here answers by IPv6: nobody is there, or the network filters neighbour discovery or "
        f"multicast, or it keeps the ports apart (client isolation); which of them cannot be told from here. {unsent}",
    )


def _gone(what: str, first: Verdict, link: LinkEvidence) -> Verdict:
    """Known from a moment ago, and silent to everything now."""
    return replaced(
        first,
        outcome=Outcome.UNANSWERED,
        confidence=Confidence.NONE,
        reason=Reason.NEIGHBOUR_SILENT,
        where=Where.UNKNOWN,
        sentence=f"Cannot tell: {what} gets no answer, and {_device(link)}, which was a neighbour a moment ago, answers nothing at all now: "
        "it went off, or a filter drops everything to it. Run it again in a minute.",
    )


def _silent(what: str, link: LinkEvidence, others: Sequence[Result]) -> Verdict:
    """The neighbour is there, the port says nothing."""
    answering = [r for r in others if _answers(r)]
    hop = Hop(last_answering=Place(distance=0), next_on_control=Place(distance=1, address=link.address))
    if answering:
        ports = ", ".join(f"TCP {r.check.port}" for r in answering)
        return Verdict(
            outcome=Outcome.FILTERED,
            confidence=Confidence.INFERRED,
            reason=Reason.SIBLING_ANSWERS,
            where=Where.LAN,
            hop=hop,
            sentence=f"{what} gets no answer, while {_device(link)} answers {ports}: a filter for this port lies between (in the "
            "switch), or in the codec itself.",
        )
    echo = " and echo requests" if link.echoed else ""
    return Verdict(
        outcome=Outcome.FILTERED,
        confidence=Confidence.INFERRED,
        reason=Reason.NEIGHBOUR_ANSWERS,
        where=Where.LAN,
        hop=hop,
        sentence=f"{what} gets no answer, while {_device(link)} is there and answers neighbour discovery{echo}: a filter lies between "
        "(an access list in the switch), or in the device itself.",
    )


def _routed(what: str, first: Verdict, link: LinkEvidence, others: Sequence[Result]) -> Verdict:
    """The codec is behind a router: is it our own source address or way that is wrong? The path itself is verdict.refine's."""
    advertised = [r for r in link.routers if r.advertised]
    working = [t for t in link.sources if t.result in ("connected", "refused")]
    silent = first.outcome is Outcome.UNANSWERED
    named = " or ".join(escape(r.address, 60) for r in advertised)
    if link.source is None:
        return replaced(
            first,
            outcome=Outcome.UNANSWERED,
            reason=Reason.UNREACHABLE,
            where=Where.THIS_BOX,
            sentence=f"{what} was not sent: this box has no IPv6 route to {escape(link.address, 60)}.",
        )
    connected = any(_answers(r) and r.evidence.connect.source == link.source for r in others)
    stray_source = any(same_address(a.address, link.source) and a.dynamic for a in link.own) and bool(advertised)
    if silent and working and (connected or not stray_source):
        return Verdict(
            outcome=Outcome.FILTERED,
            confidence=Confidence.PROVEN,
            reason=Reason.SIBLING_ANSWERS,
            where=Where.LAN,
            sentence=f"{what} gets no answer from this box's address {link.source}; from its address {working[0].source} the codec answers: a "
            "rule on the way drops the one source and not the other.",
        )
    if silent and working:
        by = f", which router {named} advertised" if len(advertised) == 1 else ""
        return Verdict(
            outcome=Outcome.FILTERED,
            confidence=Confidence.PROVEN,
            reason=Reason.STRAY_ROUTER,
            where=Where.LAN,
            sentence=f"{what} gets no answer from this box's address {link.source}{by}; from its address {working[0].source} the codec "
            "answers. A stray router advertisement gave this box an address that leads nowhere.",
        )
    stray = next((r for r in advertised if same_address(r.address, link.gateway)), None)
    if silent and stray is not None and any(not same_address(r.address, stray.address) for r in link.routers):
        rest = ", ".join(escape(r.address, 60) for r in link.routers if not same_address(r.address, stray.address))
        return replaced(
            first,
            reason=Reason.STRAY_ROUTER,
            where=Where.LAN,
            sentence=f"Cannot tell: {what} gets no answer by way of the router {escape(stray.address, 60)}, which advertised itself; there "
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


def _answers(result: Result) -> bool:
    evidence = result.evidence
    return isinstance(evidence, ControllerEvidence) and evidence.connect.result in ("connected", "refused")


def _resolved(link: LinkEvidence, others: Sequence[Result] = ()) -> bool:
    """The codec was there during this run: it answered an echo or a datagram, the kernel had proof, or another port of it answered."""
    known = [
        n for n in link.near if same_address(n.address, link.address) and n.state in RESOLVED and n.mac is not None
    ]
    alive = any(_alive(n, link) for n in known) or any(_answers(r) for r in others)
    return bool(known) and (bool(link.echoed) or alive)


def _remembered(link: LinkEvidence) -> bool:
    """The kernel still knows the codec from a moment ago, without any proof of now."""
    return any(same_address(n.address, link.address) and n.state in RESOLVED for n in link.near)


def _fresh(confirmed_s: float | None, link: LinkEvidence) -> bool:
    return confirmed_s is not None and confirmed_s <= link.since_s


def _routes(near: Near, link: LinkEvidence) -> bool:
    return near.router or any(same_address(near.address, r.address) for r in link.routers)


def _alive(near: Near, link: LinkEvidence) -> bool:
    """It answered during this run: the kernel had proof, or it answered an echo or a datagram. An older entry proves nothing."""
    sure = near.state in RESOLVED and _fresh(near.confirmed_s, link)
    return sure or any(same_address(near.address, one) for one in link.heard)


def _device(link: LinkEvidence) -> str:
    mac = next((n.mac for n in link.near if same_address(n.address, link.address)), None)
    return f"{escape(link.address, 60)}" + (f" ({mac})" if mac else "")


def _listed(near: Sequence[Near]) -> str:
    names = [escape(n.address, 60) for n in near[:3]]
    return ", ".join(names) + (f" and {len(near) - 3} more" if len(near) > 3 else "")
