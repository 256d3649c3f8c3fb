"""A finished run told to somebody: a person (terminal), a program (document), a build server (junit).

Everything here is a pure function of a `Report`; only junit.py writes a file and only progress.py knows a terminal.
"""

from __future__ import annotations

from roomprobe.meets import Meets, meets
from roomprobe.model import Check, Result, Service
from roomprobe.outcome import Reason, State
from roomprobe.report.run import Report

EXIT = {State.BROKEN: 2, State.DEGRADED: 1, State.UNKNOWN: 3, State.FULL: 0}
WORST_FIRST = tuple(EXIT)


def is_tested(service: Service) -> bool:
    """False when every row of the service was skipped: such a service says nothing about this network."""
    return not (service.state is State.UNKNOWN and service.reason is Reason.NOT_TESTED)


def exit_status(report: Report) -> int:
    """The status of `--once`: the worst service, 2 broken > 1 degraded > 3 unknown > 0 full; 3 when interrupted.

    Services that were not tested at all do not count, unless there is no other.
    """
    if report.run.interrupted:
        return EXIT[State.UNKNOWN]
    states = {service.state for service in report.services if is_tested(service)}
    return next((EXIT[state] for state in WORST_FIRST if state in states), EXIT[State.UNKNOWN])


def met_otherwise(result: Result, results: tuple[Result, ...]) -> bool:
    """True when a row that is not met itself is not missed either.

    Another row of its one-of group is met, or the same row is met the other way (through the web proxy instead of
    directly, or the reverse).
    """
    check = result.check
    met = [other.check for other in results if meets(other.verdict) is Meets.MET]
    by_group = check.group is not None and any(
        (other.profile, other.group) == (check.profile, check.group) and other.row != check.row for other in met
    )
    return by_group or any(other.via != check.via and _target(other) == _target(check) for other in met)


def _target(check: Check) -> tuple[str, str, str | None, int | None]:
    return check.profile, check.row, check.host, check.port
