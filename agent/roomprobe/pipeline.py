"""The whole line as one readable function: profile → plan → probe → evidence → verdict → report → sinks.

`--once`, the demo and the daemon run the same `measure`; only who calls it and where the report goes differs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from roomprobe import __version__, follow, host, naming, plan, probes, rollup, verdict
from roomprobe.config import Config
from roomprobe.evidence import PathEvidence
from roomprobe.facts import Facts
from roomprobe.link import candidates, diagnosis, known
from roomprobe.link.evidence import LinkEvidence, Search
from roomprobe.link.examine import look_all
from roomprobe.link.settle import settle
from roomprobe.model import Check, Frozen, Host, Plan, Result, Service, Skip, Verdict
from roomprobe.net import Net
from roomprobe.net.pace import Bucket
from roomprobe.options import Options
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.report import output
from roomprobe.report.progress import Progress
from roomprobe.report.run import Report, Run, Site
from roomprobe.runner import Clock, run_checks, run_surveys

Said = TypeVar("Said", Verdict, Service)
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Measured(Frozen, frozen=True, kw_only=True):
    """Everything that a run saw and judged, before it is rolled up."""

    results: tuple[Result, ...]
    host: Host
    paths: tuple[PathEvidence, ...] = ()
    links: tuple[LinkEvidence, ...] = ()
    search: Search | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Resident:
    """What a run needs to know when it is one of many in a daemon, which has the signals to itself.

    `stop` ends the run early. `standing` are the last values of look-ups that are not made this time; `settled` gets the results of
    this run and gives those to be reported, which may be more. `trigger` says why the run is made.
    """

    trigger: str
    stop: asyncio.Event
    standing: tuple[Result, ...]
    settled: Callable[[tuple[Result, ...]], tuple[Result, ...]]


async def measure(
    made: Plan,
    config: Config,
    here: Host,
    timeout: float,
    progress: Progress,
    certificates: Mapping[str, str] | None = None,
    resident: Resident | None = None,
) -> Report:
    """One run. Ctrl-C ends it early with what is known by then. `certificates` are those of codecs seen at earlier runs."""
    started, wall = time.monotonic(), datetime.datetime.now(datetime.UTC)
    stop = asyncio.Event() if resident is None else resident.stop
    clock = Clock(started=started, deadline=started + timeout, stop=stop)
    loop = asyncio.get_running_loop()
    bugs: list[BaseException] = []
    before, signals = loop.get_exception_handler(), STOPS if resident is None else ()
    loop.set_exception_handler(lambda _, context: _bug(context, bugs, clock, shared=resident is not None))
    for number in signals:
        loop.add_signal_handler(number, _stop, clock)
    standing = () if resident is None else resident.standing
    try:
        seen = await _results(made, config, here, clock, progress, dict(certificates or {}), standing)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        loop.set_exception_handler(before)
        progress.close()
    if bugs:
        raise bugs[0]
    results, here = seen.results if resident is None else resident.settled(seen.results), seen.host
    facts = _facts(config, here)
    services = tuple(s for profile in made.profiles for s in rollup.services(profile, results, seen.paths, here, facts))
    services = tuple(candidates.with_codec(s, seen.search, results) for s in services)
    if here.vantage.state == "other":
        results = tuple(_result_from_here(r) for r in results)
        services = tuple(_from_here(s) for s in services)
    notes = [profile.note for profile in made.profiles if profile.note]
    notes += candidates.notes(seen.search) if seen.search is not None else ()
    return Report(
        agent_id=None,
        agent_version=__version__,
        site=Site(org=config.site.org, site=config.site.site, room=config.site.room),
        run=Run(
            id=str(uuid.uuid4()),
            trigger="once" if resident is None else resident.trigger,
            started=wall.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            started_mono=round(started, 3),
            duration_s=round(time.monotonic() - started, 3),
            clock_synced=here.clock_synced,
            interrupted=clock.stop.is_set(),
        ),
        host=here,
        notes=tuple(notes),
        services=services,
        results=results,
        paths=seen.paths,
        links=seen.links,
        search=seen.search,
    )


def _stop(clock: Clock) -> None:
    """Ends the run early. A second signal must not cost the report of what is known, so none is taken from here on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    clock.stop.set()


def _bug(context: Mapping[str, object], bugs: list[BaseException], clock: Clock, shared: bool) -> None:
    """A callback that raised has lost an answer: nothing judged after it would be true, so the run ends.

    On a loop that is `shared`, an OSError is somebody else's connection.
    """
    error = context.get("exception")
    if shared and isinstance(error, OSError):
        return
    bugs.append(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))
    clock.stop.set()


async def _results(
    made: Plan,
    config: Config,
    here: Host,
    clock: Clock,
    progress: Progress,
    certificates: dict[str, str],
    standing: tuple[Result, ...],
) -> Measured:
    facts = _facts(config, here, certificates)
    # A link to a neighbour needs no address from the network and no gateway.
    stuck = [_stuck(c, here.trouble) for c in made.checks if here.trouble is not None and c.kind != "controller"]
    if len(stuck) == len(made.checks):
        return Measured(results=tuple(stuck), host=here)
    whole, made = made, _without(made, stuck)
    net = Net(
        bucket=Bucket(config.network.rate_per_s, config.network.burst),
        proxy=config.network.proxy,
        pins=config.profiles.pins,
        ca_file=config.network.ca_file,
        opt_in=frozenset(config.profiles.opt_in),
        interface=config.network.interface,
    )
    names = [check for check in made.checks if check.kind == "dns"]
    progress.started(len(made.checks))
    progress.say("looking up names")
    here, looked_up, search = await asyncio.gather(
        host.locate(config, here, net.bucket),
        run_checks(names, net, clock, progress.done),
        clock.bounded(_find_codec(made, config, here, net)),
    )
    lookups = naming.compare(_judged(names, looked_up, facts))
    targets, unresolved = _targets(made, (*lookups, *standing), search, config, here)
    progress.started(len(names) + len(targets))
    progress.say("asking the far ends")
    evidence = await run_checks(targets, net, clock, lambda n: progress.done(len(names) + n))
    first = _judged(targets, evidence, facts)
    lookups = naming.vouched(lookups, first)
    wanted = follow.flows(first, facts)
    if wanted:
        progress.say(
            f"following the path to {', '.join(dict.fromkeys(r.check.host or '' for r in first if r.check.address in wanted))}"
        )
    surveys, links = await asyncio.gather(run_surveys(wanted, net, clock), clock.bounded(look_all(first, net)))
    here = host.refresh_neighbours(here)
    facts = _facts(config, here)
    linked = diagnosis.refine_all(first, links or {})
    refined = [
        _refined(result, surveys, made, config, here, facts) for result in (*lookups, *linked, *unresolved, *stuck)
    ]
    order = {(check.profile, check.row): number for number, check in enumerate(whole.checks)}
    refined = list(settle(refined, facts))
    refined.sort(key=lambda r: order[(r.check.profile, r.check.row)])
    return Measured(
        results=tuple(refined),
        host=here,
        paths=tuple(surveys.values()),
        links=tuple((links or {}).values()),
        search=search,
    )


async def _find_codec(made: Plan, config: Config, here: Host, net: Net) -> Search | None:
    """The codec of the controller link; None when its address is known or nobody asks."""
    checks = [c for c in made.checks if c.kind == "controller" and c.address is None and c.skip is None]
    if not checks:
        return None
    from roomprobe.link.search import find  # with the DNS library for names; few runs need it

    return await find(made, config, here, net)


def _without(made: Plan, stuck: Sequence[Result]) -> Plan:
    left = {result.check.id for result in stuck}
    return msgspec.structs.replace(made, checks=tuple(c for c in made.checks if c.id not in left))


def _facts(config: Config, here: Host, certificates: dict[str, str] | None = None) -> Facts:
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


def _from_here(said: Said) -> Said:
    return msgspec.structs.replace(said, sentence=f"From this box's port: {said.sentence}")


def _result_from_here(result: Result) -> Result:
    if result.verdict.outcome is Outcome.SKIPPED:
        return result
    return msgspec.structs.replace(result, verdict=_from_here(result.verdict))


def _stuck(check: Check, trouble: Skip) -> Result:
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


def _skipped(skip: Skip) -> Verdict:
    return Verdict(outcome=Outcome.SKIPPED, confidence=Confidence.NONE, reason=skip.reason, sentence=skip.sentence)


def _judged(checks: Sequence[Check], evidence: Mapping[str, object], facts: Facts) -> tuple[Result, ...]:
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


def _targets(
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
        addresses = config.targets.get(check.host or "") or naming.addresses(mine, _facts(config, here))
        if addresses:
            ready.extend(plan.resolve(check, addresses, here))
        else:
            unresolved.append(Result(check=check, evidence=None, verdict=naming.unresolved(check, mine)))
    return ready, unresolved


def _refined(
    result: Result, surveys: dict[str, PathEvidence], made: Plan, config: Config, here: Host, facts: Facts
) -> Result:
    check = result.check
    final = verdict.refine(check, result.verdict, surveys.get(check.address or ""), facts)
    final = verdict.own_target(final, check)
    legacy = any(p.id == check.profile and p.status == "legacy" for p in made.profiles)
    pinned = bool(getattr(result.evidence, "pinned", False))
    elsewhere = here.vantage.state == "other"
    final = verdict.cap(final, check, legacy=legacy, pinned=pinned, elsewhere=elsewhere)
    return Result(check=check, evidence=result.evidence, verdict=final)


def once(options: Options) -> int:
    """`roomprobe --once`: plan, measure, print; returns the exit status."""
    config, profiles = options.load()
    output.check_outputs(options)
    here = host.gather(config)
    made = plan.make(profiles, config, here, only=options.only, port_offset=options.port_offset, hold=options.hold)
    progress = Progress(sys.stderr)
    place = known.directory(os.environ)
    before = known.read(place)
    timeout = options.timeout + (options.hold or 0.0)
    certificates = {address: seen.sha256 for address, seen in before.items()}
    report = asyncio.run(measure(made, config, here, timeout, progress, certificates))
    unkept = known.remember(place, before, known.shown(report))
    if unkept is not None:
        report = msgspec.structs.replace(report, notes=(*report.notes, unkept))
    return output.write(report, options, sys.stdout)
