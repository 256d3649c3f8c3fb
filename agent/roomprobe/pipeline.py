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

import msgspec

from roomprobe import __version__, follow, host, judging, naming, plan, rollup
from roomprobe.config import Config
from roomprobe.evidence import PathEvidence
from roomprobe.link import candidates, diagnosis, known
from roomprobe.link.evidence import LinkEvidence, Search
from roomprobe.link.examine import look_all
from roomprobe.model import Frozen, Host, Plan, Result
from roomprobe.net import Net
from roomprobe.net.pace import Bucket
from roomprobe.options import Options
from roomprobe.report import output
from roomprobe.report.progress import Progress
from roomprobe.report.run import Report, Run, Site
from roomprobe.runner import Clock, run_checks, run_surveys

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

    `stop` ends the run early. `standing` are the last values of what is not asked this time: look-ups give addresses, and ports that
    answered are what a silent one is held against. `settled` gets the results of this run and gives those to be reported, which may
    be more. `paths` were followed earlier: what nothing is asked at this time still ends where it ended. `trigger` says why the run
    is made.
    """

    trigger: str
    stop: asyncio.Event
    standing: tuple[Result, ...]
    paths: tuple[PathEvidence, ...]
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
    facts = judging.facts_of(config, here)
    paths = seen.paths if resident is None else (*seen.paths, *_still(resident.paths, seen.results))
    services = tuple(s for profile in made.profiles for s in rollup.services(profile, results, paths, here, facts))
    services = tuple(candidates.with_codec(s, seen.search, results) for s in services)
    if here.vantage.state == "other":
        results = tuple(judging.result_from_here(r) for r in results)
        services = tuple(judging.from_here(s) for s in services)
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


def _still(paths: Sequence[PathEvidence], fresh: Sequence[Result]) -> list[PathEvidence]:
    """Those of the paths whose far ends were not asked anything this time."""
    asked = {result.check.address for result in fresh}
    return [path for path in paths if path.address not in asked]


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
    facts = judging.facts_of(config, here, certificates)
    # A link to a neighbour needs no address from the network and no gateway.
    stuck = [judging.stuck(c, here.trouble) for c in made.checks if here.trouble is not None and c.kind != "controller"]
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
    lookups = naming.compare(judging.judged(names, looked_up, facts))
    known_names = [result for result in standing if result.check.kind == "dns"]
    targets, unresolved = judging.targets(made, (*lookups, *known_names), search, config, here)
    progress.started(len(names) + len(targets))
    progress.say("asking the far ends")
    evidence = await run_checks(targets, net, clock, lambda n: progress.done(len(names) + n))
    first = judging.judged(targets, evidence, facts)
    lookups = naming.vouched(lookups, first)
    wanted = follow.flows(first, facts, standing)
    if wanted:
        progress.say(
            f"following the path to {', '.join(dict.fromkeys(r.check.host or '' for r in first if r.check.address in wanted))}"
        )
    surveys, links = await asyncio.gather(run_surveys(wanted, net, clock), clock.bounded(look_all(first, net)))
    here = host.refresh_neighbours(here)
    linked = diagnosis.refine_all(first, links or {})
    everything = (*lookups, *linked, *unresolved, *stuck)
    return Measured(
        results=judging.refined(everything, surveys, whole, config, here),
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
