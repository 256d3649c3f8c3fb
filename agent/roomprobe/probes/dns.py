"""One resolver asked for one name over one transport: A and AAAA, and a random sibling label beside it (F0, R1-R3).

Packets, rules and privacy: docs/probes/dns.md. What several resolvers say together is naming.py's part.
"""

from __future__ import annotations

import asyncio
import random
import string
import time
from typing import Literal

from roomprobe.evidence import DnsEvidence
from roomprobe.facts import Facts
from roomprobe.model import Check, Verdict
from roomprobe.net import Net
from roomprobe.net.resolver import ask_tcp, ask_udp
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.refusals import of_failure, of_icmp, untold
from roomprobe.site import usable, where_sender
from roomprobe.text import escape
from roomprobe.wire.dns import Kind

KINDS: tuple[Kind, ...] = ("A", "AAAA")


async def run(check: Check, net: Net) -> DnsEvidence:
    """Asks all four questions at once; at most WHOLE_S seconds."""
    started = time.monotonic()
    transport: Literal["udp", "tcp"] = "tcp" if check.transport == "tcp" else "udp"
    name, resolver, port = check.host or "", check.address or "", check.port or 53
    ask = ask_tcp if transport == "tcp" else ask_udp
    beside = sibling(name, random.SystemRandom())
    questions = [(one, kind) for one in (name, beside) if one is not None for kind in KINDS]
    answers = await asyncio.gather(*(ask(one, kind, resolver, port, net) for one, kind in questions))
    return DnsEvidence(
        resolver=resolver,
        transport=transport,
        answers=tuple(answers[:2]),
        sibling=tuple(answers[2:]),
        duration_s=round(time.monotonic() - started, 4),
    )


def sibling(name: str, source: random.Random) -> str | None:
    """A name beside `name` that nobody has made; None where there is no parent to ask."""
    _, _, parent = name.rstrip(".").partition(".")
    label = "".join(source.choices(string.ascii_lowercase, k=12))
    return f"rp-{label}.{parent}" if parent else None


# --- judging -------------------------------------------------------------------------------------------------------


def judge(check: Check, evidence: DnsEvidence, facts: Facts) -> Verdict:
    """What this resolver alone says of the name."""
    name, who = escape(check.host or "", 100), f"resolver {evidence.resolver}"
    spoken = [a for a in evidence.answers if a.rcode is not None]
    rtt = min((a.seconds for a in spoken if a.seconds is not None), default=None)
    rtt_ms = None if rtt is None else round(rtt * 1000, 3)
    if evidence.addresses:
        if not any(usable(a, facts) for a in evidence.addresses):
            return Verdict(
                outcome=Outcome.INTERCEPTED,
                confidence=Confidence.PROVEN,
                reason=Reason.ADDRESS_UNUSABLE,
                where=Where.UNKNOWN,
                rtt_ms=rtt_ms,
                sentence=f"The {who} answers {listed(evidence.addresses)} for {name}, an address that no far end can have: "
                "this resolver hides the name.",
            )
        return _answered(name, who, evidence, rtt_ms)
    if any(a.rcode == "NXDOMAIN" for a in spoken):
        return Verdict(
            outcome=Outcome.NO_TARGET,
            confidence=Confidence.PROVEN,
            reason=Reason.NXDOMAIN,
            where=Where.UNKNOWN,
            rtt_ms=rtt_ms,
            sentence=f"The {who} says that {name} does not exist: it is gone, or mistyped, or this resolver hides it.",
        )
    if any(a.truncated for a in spoken):
        return untold(
            Outcome.UNANSWERED,
            Reason.RESOLVER_FAILS,
            f"Cannot tell: the answer of the {who} for {name} does not fit into UDP; the same question over TCP tells.",
        )
    if spoken and all(a.rcode == "NOERROR" for a in evidence.answers):
        return Verdict(
            outcome=Outcome.NO_TARGET,
            confidence=Confidence.PROVEN,
            reason=Reason.NO_ADDRESS,
            where=Where.UNKNOWN,
            rtt_ms=rtt_ms,
            sentence=f"The {who} knows the name {name}, but has no address for it.",
        )
    return _no_answer(name, who, evidence, facts)


def _answered(name: str, who: str, evidence: DnsEvidence, rtt_ms: float | None) -> Verdict:
    beside = frozenset(a for answer in evidence.sibling for a in answer.addresses)
    if beside & frozenset(evidence.addresses):
        return Verdict(
            outcome=Outcome.INTERCEPTED,
            confidence=Confidence.INFERRED,
            reason=Reason.WILDCARD_DNS,
            where=Where.UNKNOWN,
            rtt_ms=rtt_ms,
            sentence=f"The {who} gives {listed(evidence.addresses)} for {name}, and the same for a name that was just "
            "made up: it rewrites names that do not exist (or the owner of the domain answers every name).",
        )
    return Verdict(
        outcome=Outcome.OPEN,
        confidence=Confidence.PROVEN,
        reason=Reason.ANSWERED,
        rtt_ms=rtt_ms,
        sentence=f"The {who} knows {name}: {listed(evidence.addresses)}.",
    )


def listed(addresses: tuple[str, ...]) -> str:
    """A few addresses in words."""
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")


def _no_answer(name: str, who: str, evidence: DnsEvidence, facts: Facts) -> Verdict:
    """Neither an address nor a clear no: the first question that went wrong speaks for all."""
    wrong = next(a for a in evidence.answers if a.rcode != "NOERROR")
    what = f"DNS over {evidence.transport.upper()} at {evidence.resolver}"
    if wrong.rcode == "REFUSED":
        return untold(
            Outcome.UNANSWERED,
            Reason.RESOLVER_REFUSES,
            f"Cannot tell: the {who} refuses to answer this box about {name}.",
            where_sender(evidence.resolver, None, facts),
        )
    if wrong.rcode is not None or wrong.problem == "malformed":
        said = f"it says {escape(wrong.rcode, 20)}" if wrong.rcode else "what it sends is not an answer"
        return untold(
            Outcome.UNANSWERED,
            Reason.RESOLVER_FAILS,
            f"Cannot tell: the {who} fails to look {name} up ({said}).",
            where_sender(evidence.resolver, None, facts),
        )
    match wrong.problem:
        case "refused":
            return Verdict(
                outcome=Outcome.CLOSED,
                confidence=Confidence.INFERRED,
                reason=Reason.RESOLVER_SILENT,
                where=where_sender(evidence.resolver, None, facts),
                sentence=f"Nothing answers {what}: the connection is refused.",
            )
        case "icmp":
            return of_icmp(what, wrong.errors, evidence.resolver, facts)
        case "failure" if wrong.failure and wrong.failure.operation != "name":
            return of_failure(what, wrong.failure, evidence.resolver)
        case "failure":
            return untold(
                Outcome.FAULT, Reason.RESOURCE, f"{name} cannot be asked: it is no valid DNS name.", Where.THIS_BOX
            )
    return untold(
        Outcome.UNANSWERED,
        Reason.RESOLVER_SILENT,
        f"Cannot tell: {what} gets no answer.",
    )
