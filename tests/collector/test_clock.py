"""Is the collector's own clock to be believed? By steps of days, seen or slept through, forward and back."""

from __future__ import annotations

import logging
import sqlite3

import pytest

from roomprobe.collector import clock
from roomprobe.collector.clock import DAY_MS, Clock, Looked, look, remember

MINUTE_MS = 60_000
YEAR_MS = 365 * DAY_MS
NOW = 1_790_000_000_000


def watched(*steps: int, before: Looked | None = None, every: int = MINUTE_MS) -> Looked:
    """The last of several looks, one a minute, each with a step of the clock before it."""
    at = NOW if before is None else before.at
    for step in steps:
        at += every + step
        before = look(before, at, every)
    assert before is not None
    return before


def test_a_clock_that_goes_as_time_does_is_believed() -> None:
    assert watched(0, 0, 3600_000, -7200_000, 0).ahead == 0, "nor does an hour matter"
    assert look(watched(0), NOW + 2 * MINUTE_MS + DAY_MS // 2, None).ahead == 0, "nor half a day of which nobody knows"


def test_a_year_forward_is_in_doubt_for_three_days_and_then_believed() -> None:
    found = watched(0, 0, YEAR_MS)
    assert found.ahead >= YEAR_MS - DAY_MS and found.seen
    for _ in range(2):
        found = watched(0, before=found, every=DAY_MS)
        assert found.ahead and found.seen
    assert watched(0, before=found, every=DAY_MS) == Looked(at=found.at + DAY_MS)


@pytest.mark.parametrize("back", [YEAR_MS, 2 * YEAR_MS, YEAR_MS - DAY_MS // 2])
def test_back_where_it_was_it_is_believed_at_once(back: int) -> None:
    assert watched(0, YEAR_MS, 0, -back).ahead == 0


def test_half_the_way_back_is_still_in_doubt_and_its_three_days_go_on() -> None:
    found = watched(0, YEAR_MS)
    found = watched(0, before=found, every=2 * DAY_MS)
    found = watched(-YEAR_MS // 2, before=found)
    assert YEAR_MS // 3 < found.ahead < YEAR_MS
    assert watched(0, before=found, every=DAY_MS).ahead == 0


def test_a_second_step_begins_the_three_days_anew() -> None:
    found = watched(0, YEAR_MS)
    found = watched(YEAR_MS, before=watched(0, before=found, every=2 * DAY_MS))
    assert watched(0, before=found, every=2 * DAY_MS).ahead > YEAR_MS


def test_the_next_process_knows_of_the_doubt_but_has_not_seen_it(caplog: pytest.LogCaptureFixture) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    with caplog.at_level(logging.WARNING, "roomprobe"):
        first = Clock(db)
        assert first.look(NOW, 100.0).ahead == 0
        remember(db, first.look(NOW + MINUTE_MS, 160.0))
        assert caplog.messages == []
        ahead = first.look(NOW + YEAR_MS, 220.0)
        remember(db, ahead)
        first.look(NOW + YEAR_MS + MINUTE_MS, 280.0)
        assert ahead.seen and len(caplog.messages) == 1 and "365 days ahead" in caplog.messages[0]
        second = Clock(db)
        found = second.look(NOW + YEAR_MS + DAY_MS // 2, 5.0)
        assert found.ahead and not found.seen and found.since == ahead.since
        rest = clock.BELIEVED_AFTER_MS - DAY_MS // 2
        assert second.look(NOW + YEAR_MS + DAY_MS // 2 + rest, 5.0 + rest / 1000).ahead == 0
        assert len(caplog.messages) == 2 and "believed again" in caplog.messages[1]
    db.close()


def test_a_start_long_after_the_last_look_is_in_doubt_too() -> None:
    found = look(Looked(at=NOW), NOW + 14 * DAY_MS, None)
    assert (found.ahead, found.seen) == (14 * DAY_MS, False)
