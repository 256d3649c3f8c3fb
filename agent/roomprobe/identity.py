"""Is the peer the expected one? What the verified and the unverified parts of a presented chain mean. Pure.

Expected = the chain verifies against the shipped public bundle, the site's CA file or a pin. The computer's own store
is judged apart: an interception CA in it is still interception.
"""

from __future__ import annotations

from roomprobe.evidence import Certificate, TlsEvidence
from roomprobe.facts import Facts
from roomprobe.model import Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.refusals import untold
from roomprobe.text import escape


def verified(evidence: TlsEvidence) -> bool:
    """Whether the chain verifies against a set of anchors that counts."""
    return any(one.verified for one in evidence.trust if one.anchors != "system")


def stranger(name: str, what: str, evidence: TlsEvidence, facts: Facts) -> Verdict | None:
    """The verdict on a certificate that does not prove the peer `name`; None when it does."""
    if evidence.pinned or verified(evidence):
        return None
    problems = {one.problem for one in evidence.trust if one.anchors != "system"}
    leaf = evidence.chain[0]
    if "not-yet-valid" in problems and facts.clock_synced is not True:
        return untold(
            Outcome.FAULT,
            Reason.CLOCK,
            f"Cannot tell: {what} shows a certificate that is good from {leaf.not_before} on, and this box believes "
            f"that it is {evidence.clock}. Its clock is not synchronised and probably wrong.",
            Where.THIS_BOX,
        )
    if problems & {"expired", "not-yet-valid"}:
        dates = "is not valid yet" if "not-yet-valid" in problems else f"ran out on {leaf.not_after}"
        doubt = "" if facts.clock_synced else ", by this box's clock, which is not known to be right"
        return Verdict(
            outcome=Outcome.REACHED,
            confidence=Confidence.INFERRED,
            reason=Reason.CERTIFICATE_EXPIRED,
            sentence=f"{what} reaches the expected server, but its certificate {dates}{doubt}; the room system may "
            "refuse it.",
        )
    issuer = escape(common_name(leaf.issuer), 100)
    if "name" in problems:
        reason, why = Reason.NAME_MISMATCH, f"the certificate is for {_names(leaf)}, not for {escape(name, 80)}"
        why += f' (issued by "{issuer}")'
    else:
        reason, why = Reason.ISSUER_UNEXPECTED, f"the certificate is signed by {_signer(evidence, leaf, issuer)}"
    return Verdict(
        outcome=Outcome.INTERCEPTED,
        confidence=Confidence.PROVEN,
        reason=reason,
        where=Where.UNKNOWN,
        sentence=f"{what} is answered by somebody else: {why}.",
    )


def _names(leaf: Certificate) -> str:
    some = ", ".join(escape(name, 60) for name in leaf.names[:3]) or "no name at all"
    return some + (f" and {len(leaf.names) - 3} more" if len(leaf.names) > 3 else "")


def _signer(evidence: TlsEvidence, leaf: Certificate, issuer: str) -> str:
    if any(one.anchors == "system" and one.problem != "issuer" for one in evidence.trust):
        return f'"{issuer}", an issuer that only this computer\'s own store knows'
    if leaf.issuer == leaf.subject:
        return f'itself ("{issuer}")'
    return f'"{issuer}", an issuer that is not publicly known'


def common_name(text: str) -> str:
    """The CN of an RFC 4514 text where it has one, else the whole text."""
    parts = text.replace("\\,", "\0").split(",")
    return next((part[3:].replace("\0", ",") for part in parts if part.startswith("CN=")), text)
