"""From verdicts to services: full, degraded, broken or unknown, and the one sentence that says why. Pure.

The rules are the section "Service" of docs/vocabulary.md; what a row or a group comes to is worked out in unit.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roomprobe import egress, unit, walk
from roomprobe.evidence import PathEvidence
from roomprobe.facts import Facts
from roomprobe.link import finding
from roomprobe.meets import Meets
from roomprobe.model import Host, Profile, Requirement, Result, Service, ServiceSpec, Verdict, Walk
from roomprobe.outcome import Confidence, Need, Outcome, Reason, State, Where
from roomprobe.unit import Unit

_FLAG_WORDS = {
    Reason.SOME_ADDRESSES: "not every address of the far end works",
    Reason.ONE_FAMILY: "IPv4 and IPv6 do not both work",
    Reason.SOME_RESOLVERS: "not every name server works",
}
QUALITY = "Quality was not measured."
TELL = "Cannot tell: "


def services(
    profile: Profile, results: Sequence[Result], paths: Iterable[PathEvidence], host: Host, facts: Facts
) -> tuple[Service, ...]:
    """Every service of a profile, in the profile's order; `results` may hold other profiles' too."""
    mine = [r for r in results if r.check.profile == profile.id]
    stopped = None if finding.is_link(mine) else _stopped(mine, tuple(paths), host, facts)
    return tuple(
        _service(profile, spec, [r for r in mine if spec.id in r.check.services], stopped) for spec in profile.service
    )


class _Stopped(Verdict, frozen=True):
    """A finding about the whole site that breaks every service that was asked for."""


def _stopped(results: Sequence[Result], paths: tuple[PathEvidence, ...], host: Host, facts: Facts) -> _Stopped | None:
    if host.trouble is not None and host.trouble.reason is not Reason.INTERFACE_DOWN:
        return _broken(host.trouble.reason, Where.JACK, host.trouble.sentence)
    dead = [g for g in host.gateways.values() if host.neighbours.get(g) in ("failed", "incomplete")]
    if dead and len(dead) == len(host.gateways) and not any(r.verdict.outcome in egress.HEARD for r in results):
        return _broken(
            Reason.GATEWAY_SILENT,
            Where.JACK,
            f"The gateway {dead[0]} does not answer on this port of the network, so nothing can leave.",
        )
    found = egress.find(results, paths, host, facts)
    if found is None:
        return None
    confidence = Confidence.PROVEN if found.refused else Confidence.INFERRED
    return _Stopped(outcome=Outcome.FILTERED, confidence=confidence, reason=Reason.NO_EGRESS, where=found.where,
                    hop=found.hop, sentence=found.sentence)  # fmt: skip


def _broken(reason: Reason, where: Where, sentence: str) -> _Stopped:
    return _Stopped(
        outcome=Outcome.FILTERED, confidence=Confidence.PROVEN, reason=reason, where=where, sentence=sentence
    )


def units(results: Sequence[Result], *, with_proxy: bool) -> tuple[Unit, ...]:
    """The units of one service: a row at a host, or a whole group; with a proxy the names are the proxy's business."""
    found: dict[tuple[str, str | None], list[Result]] = {}
    for result in results:
        check = result.check
        if check.kind == "dns" and with_proxy:
            continue
        found.setdefault((check.group or check.row, check.host), []).append(result)
    return tuple(unit.make(name, members[0].check.need, members) for (name, _), members in found.items())


def _service(profile: Profile, spec: ServiceSpec, results: Sequence[Result], stopped: _Stopped | None) -> Service:
    made = units(results, with_proxy=any(r.check.via == "proxy" for r in results))
    counted = [u for u in made if u.state is not Meets.LEFT_OUT and u.need is not Need.OPTIONAL]
    walked = walk.replay(_order(profile, results), results)
    if not counted:
        return _make(
            profile, spec, State.UNKNOWN, Reason.NOT_TESTED, Confidence.NONE, f"{spec.title}: not tested.", walked=None
        )
    if stopped is not None:
        sentence = f"{spec.title} will not work. {stopped.sentence}"
        return _make(
            profile, spec, State.BROKEN, stopped.reason, stopped.confidence, sentence, verdict=stopped, walked=walked
        )
    for need, state, at_least in (
        (Need.REQUIRED, Meets.NOT_MET, None),
        (Need.REQUIRED, Meets.CANNOT_TELL, None),
        (Need.RECOMMENDED, Meets.NOT_MET, State.DEGRADED),
    ):
        link = finding.is_link(results)
        failed = [u for u in counted if u.need is need and u.state is state]
        found = finding.telling(failed) if link else next(iter(failed), None)
        if found is not None:
            rest = finding.others(found, counted) if link else ""
            return _not_met(profile, spec, found, at_least, walked, rest)
    return _met(profile, spec, counted, walked)


def _not_met(
    profile: Profile, spec: ServiceSpec, found: Unit, at_least: State | None, walked: Walk | None, rest: str
) -> Service:
    verdict = found.witness.verdict if found.witness else None
    said = f"{verdict.sentence} {rest}" if verdict else rest
    if at_least is not None:
        over = _over(walked)
        return _make(profile, spec, State.DEGRADED, Reason.RECOMMENDED_NOT_MET, found.confidence,
                     f"{spec.title} will work, but not at best quality. {over}{said}", verdict=verdict, walked=walked)  # fmt: skip
    if found.state is Meets.NOT_MET:
        return _make(profile, spec, State.BROKEN, Reason.REQUIRED_NOT_MET, found.confidence,
                     f"{spec.title} will not work. {said}", verdict=verdict, walked=walked)  # fmt: skip
    reason, said = verdict.reason if verdict else Reason.UNPROVEN, _begun(said.removeprefix(TELL))
    return _make(profile, spec, State.UNKNOWN, reason, Confidence.NONE,
                 f"Cannot tell whether {spec.title.lower()} will work. {said}", verdict=verdict, walked=walked)  # fmt: skip


def _begun(said: str) -> str:
    """What stood after a colon, as a sentence of its own; a name (eth0, an address) stays as it is written."""
    word = said.partition(" ")[0]
    return said[:1].upper() + said[1:] if word.isalpha() else said


def _met(profile: Profile, spec: ServiceSpec, counted: Sequence[Unit], walked: Walk | None) -> Service:
    """Every required unit is met and no recommended one failed: full, unless something is flagged or in doubt."""
    doubtful = next((u for u in counted if u.need is Need.RECOMMENDED and u.state is Meets.CANNOT_TELL), None)
    flagged = next((u for u in counted if u.flags), None)
    partly = next((u for u in counted if u.doubt), None)
    if flagged is not None:
        verdict = flagged.troubled.verdict if flagged.troubled else None
        said = verdict.sentence.removeprefix(TELL) if verdict else ""
        who = f"{_target(flagged.troubled)}: " if flagged.troubled else ""
        return _make(profile, spec, State.DEGRADED, flagged.flags[0], flagged.confidence,
                     f"{spec.title} will work, but {_FLAG_WORDS[flagged.flags[0]]}. {who}{said}", verdict=verdict, walked=walked)  # fmt: skip
    if doubtful is not None or partly is not None:
        speaks = doubtful.witness if doubtful is not None else partly.troubled if partly is not None else None
        verdict = speaks.verdict if speaks else None
        known = any(u.need is Need.REQUIRED for u in counted)
        works = f"{spec.title} will work" if known else f"Nothing that {spec.title.lower()} cannot do without was asked"
        where = "whether over UDP or only TCP 443" if doubtful else "whether at every address"
        return _make(
            profile,
            spec,
            State.UNKNOWN,
            verdict.reason if verdict else Reason.UNPROVEN,
            Confidence.NONE,
            f"{works}; {where} cannot be told here. {verdict.sentence if verdict else ''}",
            verdict=verdict,
            walked=walked,
            at_least=State.DEGRADED if known else None,
        )
    proven = all(u.confidence is Confidence.PROVEN for u in counted)
    proxied = next((u for u in counted if u.by_proxy), None)
    way = f" It goes through the proxy. {proxied.witness.verdict.sentence}" if proxied and proxied.witness else ""
    unproven = (Outcome.PASSES, Outcome.REACHED)
    inferred = [u.witness.verdict for u in counted if u.witness and u.witness.verdict.outcome in unproven]
    doubt = f" {inferred[0].sentence}" if inferred else ""
    quality = QUALITY
    if finding.is_link([u.witness for u in counted if u.witness]):
        doubt, quality = "", finding.works(counted, profile.row)
        proven = proven and not finding.moved(counted, profile.row)
    return _make(profile, spec, State.FULL, Reason.ALL_MET, Confidence.PROVEN if proven else Confidence.INFERRED,
                 f"{spec.title} {'will' if proven else 'should'} work in full. {_over(walked)}{quality}{way}{doubt}", walked=walked)  # fmt: skip


def _make(
    profile: Profile,
    spec: ServiceSpec,
    state: State,
    reason: Reason,
    confidence: Confidence,
    sentence: str,
    *,
    verdict: Verdict | None = None,
    walked: Walk | None,
    at_least: State | None = None,
) -> Service:
    works = state in (State.FULL, State.DEGRADED) or at_least is not None
    return Service(
        profile=profile.id,
        profile_version=profile.version,
        id=spec.id,
        title=spec.title,
        state=state,
        at_least=at_least,
        confidence=confidence,
        where=None if state is State.FULL or verdict is None else verdict.where,
        reason=reason,
        sentence=sentence.strip(),
        transport=walked.transport if walked and works else None,
        walk=walked,
        hop=None if verdict is None else verdict.hop,
    )


def _order(profile: Profile, results: Sequence[Result]) -> list[Requirement]:
    """The transports in the room system's order: the group's rows, then the required TCP row; empty without a group."""
    rows = {r.check.row for r in results}
    group = [row for row in profile.row if row.group and row.id in rows]
    last = [row for row in profile.row if row.id in rows and row.transport == "tcp" and row.need is Need.REQUIRED]
    return [*group, *last[:1]] if group else []


def _over(walked: Walk | None) -> str:
    if walked is None or walked.transport is None:
        return ""
    protocol, _, port = walked.transport.partition("/")
    return f"Media would go over {protocol.upper()} {port}. "


def _target(result: Result) -> str:
    check = result.check
    return f"{check.host} at {check.address}" if check.address else f"{check.host}"
