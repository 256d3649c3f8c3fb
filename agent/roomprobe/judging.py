"""What a run makes of its evidence between the steps that send: whom to ask next, and what each check's verdict is. Pure.

The verdicts themselves are worded elsewhere (probes/, verdict.py, naming.py, link/); here they are put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from roomprobe import naming, plan, probes, verdict
from roomprobe.config import Config
from roomprobe.evidence import PathEvidence
from roomprobe.facts import Facts
from roomprobe.link import candidates
from roomprobe.link.evidence import Search
from roomprobe.link.settle import settle
from roomprobe.model import Check, Host, Plan, Result, Service, Skip, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where

Said = TypeVar("Said", Verdict, Service)


def facts_of(config: Config, here: Host, certificates: dict[str, str] | None = None) -> Facts:
    """What judging may know of this box and this site."""
    return Facts(
        addresses=tuple(a.address for a in here.addresses),
        networks=tuple(f"{a.address.partition('%')[0]}/{a.prefix}" for a in here.addresses),
        prefixes=config.site.prefixes,
        gateways=tuple(here.gateways.values()),
        resolvers=here.resolvers,
        clock_synced=here.clock_synced,
        proxy=config.network.proxy,
        certificates=certificates or {},
    )


def stuck(check: Check, trouble: Skip) -> Result:
    """A check that was not sent, because this box can send nothing at all."""
    if check.skip is not None:
        return Result(check=check, evidence=None, verdict=_skipped(check.skip))
    ours = trouble.reason is Reason.INTERFACE_DOWN
    return Result(
        check=check,
        evidence=None,
        verdict=Verdict(
            outcome=Outcome.FAULT if ours else Outcome.UNANSWERED,
            confidence=Confidence.NONE,
            reason=trouble.reason,
            where=Where.THIS_BOX if ours else Where.JACK,
            sentence=f"Not sent: {trouble.sentence}",
        ),
    )


def judged(checks: Sequence[Check], evidence: Mapping[str, object], facts: Facts) -> tuple[Result, ...]:
    """First verdicts, each from its own evidence."""
    results = []
    for check in checks:
        seen = evidence[check.id]
        if isinstance(seen, Skip):
            results.append(Result(check=check, evidence=None, verdict=_skipped(seen)))
        else:
            results.append(
                Result(check=check, evidence=seen, verdict=probes.load(check.kind).judge(check, seen, facts))
            )
    return tuple(results)


def targets(
    made: Plan, lookups: tuple[Result, ...], search: Search | None, config: Config, here: Host
) -> tuple[list[Check], list[Result]]:
    """Every check with an address of its own, and verdicts for those whose name gave none."""
    ready: list[Check] = []
    unresolved: list[Result] = []
    for check in made.checks:
        if check.kind == "dns":
            continue
        if check.skip is not None or check.via == "proxy" or check.address is not None:
            ready.append(check)
            continue
        if check.kind == "controller":
            if search is not None and search.chosen is not None:
                ready.extend(plan.resolve(check, (search.chosen,), here))
            else:
                unresolved.append(Result(check=check, evidence=None, verdict=candidates.unfound(search)))
            continue
        mine = [r for r in lookups if r.check.host == check.host]
        addresses = config.targets.get(check.host or "") or naming.addresses(mine, facts_of(config, here))
        if addresses:
            ready.extend(plan.resolve(check, addresses, here))
        else:
            unresolved.append(Result(check=check, evidence=None, verdict=naming.unresolved(check, mine)))
    return ready, unresolved


def refined(
    results: Iterable[Result], surveys: Mapping[str, PathEvidence], made: Plan, config: Config, here: Host
) -> tuple[Result, ...]:
    """The final verdicts, with the paths known, in the order of the plan."""
    facts = facts_of(config, here)
    legacy = {profile.id for profile in made.profiles if profile.status == "legacy"}
    elsewhere = here.vantage.state == "other"
    done = []
    for result in results:
        check = result.check
        final = verdict.refine(check, result.verdict, surveys.get(check.address or ""), facts)
        final = verdict.own_target(final, check)
        pinned = bool(getattr(result.evidence, "pinned", False))
        final = verdict.cap(final, check, legacy=check.profile in legacy, pinned=pinned, elsewhere=elsewhere)
        done.append(Result(check=check, evidence=result.evidence, verdict=final))
    order = {(check.profile, check.row): number for number, check in enumerate(made.checks)}
    return tuple(sorted(settle(done, facts), key=lambda r: order[(r.check.profile, r.check.row)]))


def from_here(said: Said) -> Said:
    """A verdict or a service whose sentence says that all this is seen from another port than the room system's."""
    return msgspec.structs.replace(said, sentence=f"From this box's port: {said.sentence}")


def result_from_here(result: Result) -> Result:
    """The same for a result; what was not asked is seen from nowhere."""
    if result.verdict.outcome is Outcome.SKIPPED:
        return result
    return msgspec.structs.replace(result, verdict=from_here(result.verdict))


def _skipped(skip: Skip) -> Verdict:
    return Verdict(outcome=Outcome.SKIPPED, confidence=Confidence.NONE, reason=skip.reason, sentence=skip.sentence)
