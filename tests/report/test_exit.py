"""The exit status: the worst service counts, and what was not tested does not."""

from __future__ import annotations

import msgspec
import pytest

from roomprobe.model import Service
from roomprobe.outcome import Reason, State
from roomprobe.report import exit_status
from tests.report import samples

WORDS = {"full": State.FULL, "degraded": State.DEGRADED, "broken": State.BROKEN, "unknown": State.UNKNOWN}


def services(states: str) -> tuple[Service, ...]:
    return tuple(samples.service(s, s, WORDS[s], Reason.ALL_MET, s) for s in states.split())


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ("full", 0),
        ("full degraded", 1),
        ("unknown degraded full", 1),
        ("unknown full", 3),
        ("degraded broken unknown", 2),
        ("unknown", 3),
        ("", 3),
    ],
)
def test_worst_service_decides(states: str, status: int) -> None:
    assert exit_status(samples.report(services(states), ())) == status


def test_untested_services_do_not_count() -> None:
    assert exit_status(samples.full()) == 0
    assert exit_status(samples.report(samples.NOT_TESTED, ())) == 3


def test_interrupted_is_never_a_clean_bill() -> None:
    report = samples.full()
    run = msgspec.structs.replace(report.run, interrupted=True)
    assert exit_status(msgspec.structs.replace(report, run=run)) == 3
