"""What several resolvers say of one name together, and which addresses to probe. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from roomprobe.evidence import DnsEvidence
from roomprobe.facts import Facts
from roomprobe.model import Check, Result, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.site import usable
from roomprobe.text import escape

MOST_TARGETS = 16


def compare(results: Iterable[Result]) -> tuple[Result, ...]:
    """The results with verdicts adjusted where another resolver says otherwise; order and number stay."""
    everything = tuple(results)
    return tuple(_compared(one, [o for o in everything if o.check.host == one.check.host]) for one in everything)


def addresses(results: Sequence[Result], facts: Facts) -> tuple[str, ...]:
    """The addresses to probe for one name, IPv4 first, each family sorted as answered; at most MOST_TARGETS.

    What a resolver that rewrites names says counts only when nobody else knows an address. Addresses that no far end can
    have are never asked.
    """
    known = [r for r in results if _given(r)]
    honest = [r for r in known if r.verdict.reason is not Reason.WILDCARD_DNS]
    found = dict.fromkeys(a for r in honest or known for a in _given(r) if usable(a, facts))
    return tuple(sorted(found, key=lambda a: ":" in a))[:MOST_TARGETS]


def vouched(lookups: Sequence[Result], targets: Sequence[Result]) -> tuple[Result, ...]:
    """The lookups, with a rewriting taken back where a server at that very address proved to be the one asked for.

    Then the owner of the domain answers every name; a resolver that rewrites cannot show that owner's certificate.
    """
    proven = {(t.check.host, t.check.address) for t in targets if t.verdict.reason is Reason.VERIFIED}
    return tuple(_vouched(one, proven) if one.verdict.reason is Reason.WILDCARD_DNS else one for one in lookups)


def _vouched(one: Result, proven: set[tuple[str | None, str | None]]) -> Result:
    if not any((one.check.host, address) in proven for address in _given(one)):
        return one
    verdict = msgspec.structs.replace(
        one.verdict,
        outcome=Outcome.OPEN,
        reason=Reason.ANSWERED,
        where=None,
        sentence=f"{one.check.address} gives the same address for {escape(one.check.host or '', 100)} and for a made-up name "
        "beside it; the server there proved to be the right one, so the owner of the domain answers every name.",
    )
    return Result(check=one.check, evidence=one.evidence, verdict=verdict)


def unresolved(check: Check, results: Sequence[Result]) -> Verdict:
    """The verdict of a check whose name gave no address; `results` are the lookups of that name."""
    name = escape(check.host or "", 100)
    asked = [r for r in results if r.verdict.outcome is not Outcome.SKIPPED]
    if not asked:
        return _untold(Reason.NO_ADDRESS, f"Cannot tell: the address of {name} was not looked up.")
    sunk = [r for r in asked if r.verdict.reason is Reason.ADDRESS_UNUSABLE]
    if sunk:
        return Verdict(
            outcome=Outcome.NO_TARGET,
            confidence=Confidence.INFERRED,
            reason=Reason.ADDRESS_UNUSABLE,
            where=Where.UNKNOWN,
            sentence=f"There is no address to try. {sunk[0].verdict.sentence}",
        )
    absent = [r for r in asked if r.verdict.outcome is Outcome.NO_TARGET]
    if not absent:
        first = asked[0].verdict
        why = first.sentence.removeprefix("Cannot tell: ")
        return _untold(first.reason, f"Cannot tell: no resolver gave an address for {name}. {why[:1].upper()}{why[1:]}")
    gone = [r for r in absent if r.verdict.reason is not Reason.NO_ADDRESS]
    if gone:
        resolvers = _joined(r.check.address for r in gone)
        sentence = (
            f"There is no address to try: {name} does not exist, says {resolvers}. "
            "The name is gone, or mistyped, or the resolver hides it."
        )
        reason = Reason.NXDOMAIN
    else:
        sentence = f"There is no address to try: {name} exists, but has no address."
        reason = Reason.NO_ADDRESS
    return Verdict(
        outcome=Outcome.NO_TARGET,
        confidence=Confidence.PROVEN if len(absent) == len(asked) else Confidence.INFERRED,
        reason=reason,
        where=Where.UNKNOWN,
        sentence=sentence,
    )


def _untold(reason: Reason, sentence: str) -> Verdict:
    return Verdict(
        outcome=Outcome.UNANSWERED, confidence=Confidence.NONE, reason=reason, where=Where.UNKNOWN, sentence=sentence
    )


def _given(result: Result) -> tuple[str, ...]:
    return result.evidence.addresses if isinstance(result.evidence, DnsEvidence) else ()


def _joined(resolvers: Iterable[str | None]) -> str:
    return " and ".join(dict.fromkeys(r for r in resolvers if r)) or "the resolver"


def _compared(one: Result, same_name: Sequence[Result]) -> Result:
    others = [o for o in same_name if o.check.address != one.check.address and o.verdict.outcome is Outcome.OPEN]
    name = escape(one.check.host or "", 100)
    if one.verdict.reason is Reason.NXDOMAIN and others:
        verdict = msgspec.structs.replace(
            one.verdict,
            reason=Reason.RESOLVER_FILTERS,
            sentence=f"{one.check.address} says that {name} does not exist, {_joined(o.check.address for o in others)} "
            "knows it: this resolver hides the name, or serves other names inside than outside.",
        )
        return Result(check=one.check, evidence=one.evidence, verdict=verdict)
    if one.verdict.outcome is Outcome.OPEN and one.verdict.reason is Reason.ANSWERED:
        return _differing(one, others, name)
    return one


def _differing(one: Result, others: Sequence[Result], name: str) -> Result:
    mine = frozenset(_given(one))
    other = next((o for o in others if _differ(one, o)), None)
    if other is None:
        return one
    verdict = msgspec.structs.replace(
        one.verdict,
        reason=Reason.RESOLVERS_DIFFER,
        sentence=f"The resolvers differ on {name}: {one.check.address} gives {_few(mine)}; "
        f"{other.check.address} gives {_few(_given(other))}. All of them are tried.",
    )
    return Result(check=one.check, evidence=one.evidence, verdict=verdict)


def _differ(one: Result, other: Result) -> bool:
    """Whether two resolvers answered one family differently; a family that one could not answer is no difference."""
    for mine in one.evidence.answers:
        for theirs in other.evidence.answers:
            both = mine.rcode == theirs.rcode == "NOERROR" and not (mine.truncated or theirs.truncated)
            if mine.qtype == theirs.qtype and both and mine.addresses != theirs.addresses:
                return True
    return False


def _few(found: Iterable[str]) -> str:
    ordered = sorted(found, key=lambda a: (":" in a, a))
    return (", ".join(ordered[:4]) + (f" and {len(ordered) - 4} more" if len(ordered) > 4 else "")) or "no address"
