"""Whether the codec is there at all: what the neighbour cache and the other ports prove, and the verdict where it is not. Pure.

Only what answered during this run is proof: an entry from before proves nothing of now (RFC 4861 7.3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe.icmp import same_address
from roomprobe.link import words
from roomprobe.link.evidence import ControllerEvidence, LinkEvidence, Near
from roomprobe.model import RESOLVED, Hop, Place, Result, Verdict
from roomprobe.outcome import Reason, Where
from roomprobe.text import escape


def answers(result: Result) -> bool:
    """Whether a port of the codec said anything."""
    evidence = result.evidence
    return isinstance(evidence, ControllerEvidence) and evidence.connect.result in ("connected", "refused")


def resolved(link: LinkEvidence, others: Sequence[Result] = ()) -> bool:
    """The codec was there during this run: it answered an echo or a datagram, the kernel had proof, or another port of it answered."""
    known = [
        n for n in link.near if same_address(n.address, link.address) and n.state in RESOLVED and n.mac is not None
    ]
    alive = any(_alive(n, link) for n in known) or any(answers(r) for r in others)
    return bool(known) and (bool(link.echoed) or alive)


def remembered(link: LinkEvidence) -> bool:
    """The kernel still knows the codec from a moment ago, without any proof of now."""
    return any(same_address(n.address, link.address) and n.state in RESOLVED for n in link.near)


def unresolved(what: str, first: Verdict, link: LinkEvidence) -> Verdict:
    """Nobody answers neighbour discovery for the codec: absent, filtered or isolated, by what else answers."""
    rest = [n for n in link.near if not same_address(n.address, link.address)]
    hosts = [n for n in rest if not _routes(n, link) and _alive(n, link)]
    routers = [n for n in rest if _routes(n, link) and _alive(n, link)]
    lost = [n for n in rest if n.state in ("failed", "incomplete")]
    silent = f"{escape(link.address, 60)} does not answer neighbour discovery"
    where = Where.UNKNOWN
    if hosts:
        where = Where.FAR_END
        said = (
            f"{silent}, while other devices here do ({_listed(hosts)}): the codec is off, has another address, is plugged into "
            "another network or an isolated port, or the switch drops its ICMPv6."
        )
    elif routers:
        said = (
            f"{silent}. The router {_listed(routers)} does, and no other device shows itself: the codec is off or elsewhere, or "
            "the switch drops its ICMPv6 or keeps the ports apart (client isolation); which of them cannot be told from here."
        )
        if lost:
            said += f" {_listed(lost)}, known from before, cannot be reached either, which points to the switch."
    elif _fresh(link.gateway4_confirmed_s, link) and (mute := [n for n in lost if _routes(n, link)]):
        said = (
            f"{silent}, nor does the router {_listed(mute)}, which does answer over IPv4: the network "
            f"filters IPv6 neighbour discovery or multicast. {what} was not sent."
        )
        return words.filtered(Reason.NEIGHBOUR_SILENT, Where.LAN, said, Hop(last_answering=Place(distance=0)))
    else:
        said = (
            f"{silent}, and no other device here answers by IPv6: nobody is there, or the network filters neighbour discovery or "
            "multicast, or it keeps the ports apart (client isolation); which of them cannot be told from here."
        )
    return words.unanswered(first, Reason.NEIGHBOUR_SILENT, where, f"{said} {what} was not sent.")


def gone(what: str, first: Verdict, link: LinkEvidence) -> Verdict:
    """Known from a moment ago, and silent to everything now."""
    sentence = (
        f"Cannot tell: {what} gets no answer, and {words.device(link)}, which was a neighbour a moment ago, answers nothing at all now: "
        "it went off, or a filter drops everything to it. Run it again in a minute."
    )
    return words.cannot_tell(first, Reason.NEIGHBOUR_SILENT, Where.UNKNOWN, sentence)


def _fresh(confirmed_s: float | None, link: LinkEvidence) -> bool:
    return confirmed_s is not None and confirmed_s <= link.since_s


def _routes(near: Near, link: LinkEvidence) -> bool:
    return near.router or any(same_address(near.address, r.address) for r in link.routers)


def _alive(near: Near, link: LinkEvidence) -> bool:
    """It answered during this run: the kernel had proof, or it answered an echo or a datagram. An older entry proves nothing."""
    sure = near.state in RESOLVED and _fresh(near.confirmed_s, link)
    return sure or any(same_address(near.address, one) for one in link.heard)


def _listed(near: Sequence[Near]) -> str:
    names = [escape(n.address, 60) for n in near[:3]]
    return ", ".join(names) + (f" and {len(near) - 3} more" if len(near) > 3 else "")
