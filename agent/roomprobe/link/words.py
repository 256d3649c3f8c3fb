"""The verdicts that several parts of link/ come to, each made in one place, and how sentences name the codec and its ports. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from roomprobe.icmp import same_address
from roomprobe.link.evidence import LinkEvidence
from roomprobe.model import Hop, Result, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.rejection import replaced
from roomprobe.text import escape


def unanswered(first: Verdict, reason: Reason, where: Where, sentence: str) -> Verdict:
    """An earlier verdict with another reason why no answer came; how sure it is, and how far it got, stays."""
    return replaced(first, outcome=Outcome.UNANSWERED, reason=reason, where=where, sentence=sentence)


def cannot_tell(first: Verdict, reason: Reason, where: Where, sentence: str) -> Verdict:
    """The same where nothing is proven any more."""
    return replaced(unanswered(first, reason, where, sentence), confidence=Confidence.NONE)


def filtered(reason: Reason, where: Where, sentence: str, hop: Hop | None = None) -> Verdict:
    """Something between drops it; inferred from what else is answered."""
    return Verdict(
        outcome=Outcome.FILTERED,
        confidence=Confidence.INFERRED,
        reason=reason,
        where=where,
        hop=hop,
        sentence=sentence,
    )


def port_filter(what: str, answered: str, between: str, where: Where, hop: Hop) -> Verdict:
    """One port is silent and the codec is not: `answered` is how that is known, `between` where the filter may be, to the full stop."""
    sentence = f"{what} gets no answer, while {answered}: a filter for this port lies between{between}"
    return filtered(Reason.SIBLING_ANSWERS, where, sentence, hop)


def device(link: LinkEvidence) -> str:
    """The codec, with its hardware address where that is known."""
    mac = next((n.mac for n in link.near if same_address(n.address, link.address)), None)
    return f"{escape(link.address, 60)}" + (f" ({mac})" if mac else "")


def ports(results: Iterable[Result]) -> str:
    """The ports of these results."""
    return ", ".join(f"TCP {r.check.port}" for r in results)
