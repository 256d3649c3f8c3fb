"""No row is asked more often than its interval allows, whatever happens; and every row is asked when it is time."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from roomprobe.daemon.schedule import AGAIN_S, SETTLE_S, Schedule, Sweep, key, period
from roomprobe.model import Skip
from roomprobe.outcome import Reason
from tests.daemon.making import check, plan

OFTEN, SOMETIMES, SELDOM = check("A", 0), check("B", 60), check("C", 900, host="other.example")
NAME = check("N", 300, kind="dns", address="192.0.2.53")
MADE = plan(NAME, OFTEN, SOMETIMES, SELDOM)


def run(schedule: Schedule, now: float, doubted: dict[str, float] | None = None) -> tuple[Sweep, list[str]] | None:
    """One turn of the loop; the sweep takes no time."""
    sweep = schedule.next(now)
    if sweep is None:
        return None
    chosen = schedule.chosen(sweep, MADE, now)
    schedule.begun(sweep, chosen, now)
    schedule.ended(doubted or {}, {key(SOMETIMES): 60, key(OFTEN): 0})
    return sweep, [c.row for c in chosen]


def test_the_first_sweep_is_full_and_at_once_and_the_next_one_a_period_later() -> None:
    schedule = Schedule(300, 30, 0.0)
    assert run(schedule, 0.0) == (Sweep(kind="full"), ["N", "A", "B", "C"])
    assert run(schedule, 29.9) is None
    seen = [(now, found[0].kind, found[1]) for now in range(30, 601) if (found := run(schedule, float(now)))]
    assert [(now, rows) for now, kind, rows in seen if kind == "full"] == [
        (300, ["N", "A", "B"]),
        (600, ["N", "A", "B"]),
    ]
    quick = [(now, rows) for now, kind, rows in seen if kind == "quick" and now < 300]
    assert quick[:3] == [(30, ["A"]), (60, ["A", "B"]), (90, ["A"])]
    assert quick[-1][0] == 270  # none just before the full one


def test_a_row_whose_name_gave_no_address_is_due_with_its_name() -> None:
    slow = check("D", 900)
    made, schedule = plan(NAME, slow), Schedule(300, 30, 0.0)

    def full(now: float, *, somewhere: bool) -> list[str]:
        sweep = schedule.next(now)
        assert sweep is not None
        chosen = schedule.chosen(sweep, made, now)
        schedule.begun(sweep, chosen, now)
        if slow in chosen:
            schedule.sent(key(slow), somewhere=somewhere)
        schedule.ended({key(slow): 900}, {})
        return [c.row for c in chosen]

    assert full(0.0, somewhere=False) == ["N", "D"]
    assert schedule.next(299.0) is None  # without its name it is not asked again
    assert full(300.0, somewhere=True) == ["N", "D"]
    assert full(600.0, somewhere=True) == ["N"]  # sent: its own interval counts, from then on
    assert full(900.0, somewhere=True) == ["N"]
    assert full(1200.0, somewhere=True) == ["N", "D"]


def test_a_quick_check_with_nothing_due_is_not_made() -> None:
    schedule = Schedule(300, 30, 0.0)
    sweep = Sweep(kind="full")
    schedule.begun(sweep, [SELDOM], 0.0)
    schedule.ended({}, {key(SELDOM): 900})
    assert [now for now in range(300) if schedule.next(float(now))] == []
    assert schedule.when() == ("full", 300.0)


def test_a_doubt_is_confirmed_at_once_or_as_soon_as_the_interval_allows() -> None:
    schedule = Schedule(300, 30, 0.0)
    run(schedule, 0.0, {key(OFTEN): 0, key(SOMETIMES): 60})
    assert run(schedule, 0.0, {key(SOMETIMES): 60}) == (
        Sweep(kind="confirm", rows=frozenset({key(OFTEN), key(SOMETIMES)})),
        ["A"],
    )
    schedule.ended({key(SOMETIMES): 60}, {})
    assert schedule.when() == ("confirm", 60.0)
    assert schedule.next(59.9) is None
    found = run(schedule, 60.0)
    assert found is not None and (found[0].kind, found[1]) == ("confirm", ["B"])


def test_a_confirm_sweep_that_can_ask_nothing_does_not_come_again_at_once() -> None:
    schedule = Schedule(300, 30, 0.0)
    run(schedule, 0.0, {key(OFTEN): 0})
    sweep = schedule.next(0.0)
    assert sweep is not None and sweep.kind == "confirm"
    schedule.begun(sweep, (), 0.0)  # the cable is out
    schedule.ended({key(OFTEN): 0})
    assert schedule.next(29.9) is None and schedule.when() == ("confirm", 30.0)


def test_names_are_asked_with_the_rows_that_need_them_and_only_when_due() -> None:
    schedule = Schedule(300, 30, 0.0)
    sweep = Sweep(kind="quick", rows=frozenset({key(OFTEN)}))
    assert [c.row for c in schedule.chosen(sweep, MADE, 0.0)] == ["N", "A"]
    schedule.begun(sweep, [NAME, OFTEN], 0.0)
    assert [c.row for c in schedule.chosen(sweep, MADE, 299.0)] == ["A"]


def test_a_sweep_never_overlaps_itself() -> None:
    schedule = Schedule(300, 30, 0.0)
    schedule.begun(Sweep(kind="full"), [OFTEN], 0.0)
    schedule.network_changed(1.0)
    assert all(schedule.next(float(now)) is None for now in range(0, 5000, 10))
    schedule.ended({}, {})
    assert schedule.next(5000.0) == Sweep(kind="full")


def test_what_was_missed_in_suspend_is_done_once() -> None:
    schedule = Schedule(300, 30, 0.0)
    run(schedule, 0.0)
    found = run(schedule, 90_000.0)
    assert found is not None and found[0].kind == "full"
    assert schedule.next(90_000.0) is None


def test_network_events_come_to_one_sweep_and_not_to_a_storm() -> None:
    schedule = Schedule(3000, 30, 0.0)
    run(schedule, 0.0)
    times = []
    for tenth in range(1000, 3000):  # an event every tenth of a second for 200 s
        now = tenth / 10
        schedule.network_changed(now)
        if (found := schedule.next(now)) is not None:
            schedule.begun(found, [], now)
            schedule.ended({}, {})
            times += [now] if found.kind == "network" else []
    assert times[0] == 100 + SETTLE_S
    assert all(b - a >= AGAIN_S for a, b in itertools.pairwise(times)) and len(times) > 3


def test_what_is_planned_as_skipped_is_not_asked() -> None:
    left = check("X", skip=Skip(reason=Reason.NOT_CONFIGURED, sentence="no"))
    assert Schedule(300, 30, 0.0).chosen(Sweep(kind="full"), plan(left, OFTEN), 0.0) == (OFTEN,)


def test_a_key_outlives_resolving() -> None:
    assert key(check("A", address="192.0.2.1")) == key(check("A"))
    assert key(check("N", kind="dns", address="192.0.2.1")) != key(check("N", kind="dns", address="192.0.2.2"))


@given(st.text(), st.floats(0, 0.5), st.integers(5, 86_400))
def test_a_period_is_never_shorter_than_asked_for(agent: str, jitter: float, full_s: int) -> None:
    assert full_s <= period(full_s, jitter, agent) <= full_s * (1 + jitter)
    assert period(full_s, jitter, agent) == period(full_s, jitter, agent)


def test_agents_spread() -> None:
    assert len({round(period(300, 0.1, str(n))) for n in range(200)}) > 25


STEP = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 400)),
    st.tuples(st.just("suspend"), st.floats(1e3, 1e6)),
    st.tuples(st.just("network"), st.just(0.0)),
    st.tuples(st.just("doubt"), st.sampled_from([0.0, 1.0, 2.0])),
    st.tuples(st.just("reload"), st.floats(5, 600)),
    st.tuples(st.just("restart"), st.just(0.0)),
    st.tuples(st.just("long"), st.floats(0, 100)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=60), st.floats(5, 600), st.floats(5, 600))
def test_no_row_is_asked_more_often_than_its_interval(
    steps: list[tuple[str, float]], full: float, quick: float
) -> None:
    now, schedule = 1000.0, Schedule(full, quick, 1000.0)
    asked: dict[str, list[float]] = {}
    doubted: dict[str, float] = {}
    takes = 0.0
    for what, value in steps:
        match what:
            case "wait" | "suspend":
                now += value
            case "network":
                schedule.network_changed(now)
            case "doubt":
                one = (OFTEN, SOMETIMES, SELDOM)[int(value)]
                doubted = {key(one): one.min_interval_s}
                schedule.ended(doubted)
            case "reload":
                schedule.change(value, value / 10, now)
            case "restart":
                schedule = Schedule(full, quick, now, schedule.asked)
            case "long":
                takes = value
        for _ in range(5):
            sweep = schedule.next(now)
            if sweep is None:
                break
            chosen = schedule.chosen(sweep, MADE, now)
            for one in chosen:
                asked.setdefault(key(one), []).append(now)
            schedule.begun(sweep, chosen, now)
            assert schedule.next(now) is None
            now += takes
            schedule.ended(doubted, {key(c): c.min_interval_s for c in MADE.checks})
    for one in MADE.checks:
        times = asked.get(key(one), [])
        assert all(b - a >= one.min_interval_s - 1e-6 for a, b in itertools.pairwise(times)), one.row


@given(st.floats(5, 600), st.floats(5, 600))
def test_every_row_is_asked_in_time(full: float, quick: float) -> None:
    schedule, now, last = Schedule(full, quick, 0.0), 0.0, dict.fromkeys("NABC", 0.0)
    while now < 4000:
        if (found := run(schedule, now)) is not None:
            last.update(dict.fromkeys(found[1], now))
        assert all(now - last[c.row] <= c.min_interval_s + full + 1e-6 for c in MADE.checks)
        now = max(now, schedule.when()[1])
