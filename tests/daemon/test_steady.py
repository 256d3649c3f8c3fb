"""A change is reported once it repeats, the last value stands in between, and other addresses are no change."""

from __future__ import annotations

import msgspec

from roomprobe.daemon import steady
from roomprobe.daemon.schedule import key
from roomprobe.daemon.steady import PATIENCE, Steady
from roomprobe.model import Address, Host, Skip
from roomprobe.outcome import Outcome, Reason
from tests.daemon.making import check, outcomes, result

ROW = check("A", 60)
KEYS = {key(ROW)}
HOME = Host(interface="eth0", addresses=(Address(address="192.0.2.9", prefix=24),), gateways={4: "192.0.2.1"})


def at(address: str, outcome: Outcome = Outcome.OPEN) -> steady.Result:
    return result(check("A", 60, address=address), outcome)


def test_the_first_value_is_reported_at_once() -> None:
    assert outcomes(Steady().take([at("192.0.2.1", Outcome.FILTERED)], KEYS)) == ["filtered"]


def test_a_change_is_reported_when_it_repeats() -> None:
    one = Steady()
    one.take([at("192.0.2.1")], KEYS)
    once = one.take([at("192.0.2.1", Outcome.FILTERED)], KEYS)
    assert outcomes(once) == ["open"] and once[0].verdict.rtt_ms is None
    assert one.doubts.keys() == KEYS
    assert "A: another outcome was seen once" in steady.notes(one.doubts, once)[0]
    assert outcomes(one.take([at("192.0.2.1", Outcome.FILTERED)], KEYS)) == ["filtered"]
    assert not one.doubts and steady.notes(one.doubts, once) == ()


def test_the_first_answer_after_a_name_had_no_address_is_reported_at_once() -> None:
    one = Steady()
    one.take([result(ROW, Outcome.UNANSWERED)], KEYS)
    assert outcomes(one.take([at("192.0.2.1")], KEYS)) == ["open"] and not one.doubts


def test_a_glitch_is_never_reported() -> None:
    one = Steady()
    seen = [Outcome.OPEN, Outcome.FILTERED, Outcome.OPEN, Outcome.UNANSWERED, Outcome.OPEN]
    assert [outcomes(one.take([at("192.0.2.1", outcome)], KEYS))[0] for outcome in seen] == ["open"] * 5


def test_what_never_repeats_is_not_hidden_for_ever() -> None:
    one = Steady()
    one.take([at("192.0.2.1")], KEYS)
    ever = [Outcome.FILTERED, Outcome.CLOSED] * PATIENCE
    said = [outcomes(one.take([at("192.0.2.1", outcome)], KEYS))[0] for outcome in ever]
    assert said[: PATIENCE - 1] == ["open"] * (PATIENCE - 1) and said[PATIENCE - 1] != "open"


def test_other_addresses_that_answer_alike_are_no_change() -> None:
    one = Steady()
    one.take([at("192.0.2.1"), at("192.0.2.2")], KEYS)
    found = one.take([at("192.0.2.3")], KEYS)
    assert [r.check.address for r in found] == ["192.0.2.3"] and not one.doubts


def test_one_address_of_several_that_fails_is_a_change() -> None:
    one = Steady()
    one.take([at("192.0.2.1"), at("192.0.2.2")], KEYS)
    mixed = [at("192.0.2.1"), at("192.0.2.2", Outcome.FILTERED)]
    assert outcomes(one.take(mixed, KEYS)) == ["open", "open"]
    assert outcomes(one.take(mixed, KEYS)) == ["open", "filtered"]


def test_the_last_value_stands_for_what_was_not_asked() -> None:
    one = Steady()
    one.take([at("192.0.2.1")], KEYS)
    other = check("B", 900)
    found = one.standing([ROW, other])
    assert [(r.check.row, r.verdict.outcome, r.verdict.reason, r.verdict.rtt_ms) for r in found] == [
        ("A", "open", "answered", None),
        ("B", "unanswered", "interval", None),
    ]


def test_what_was_not_asked_passes_as_it_is_and_is_not_remembered() -> None:
    one = Steady()
    one.take([at("192.0.2.1")], KEYS)
    assert outcomes(one.take([at("192.0.2.1", Outcome.FAULT)], ())) == ["fault"]
    assert outcomes(one.standing([ROW])) == ["open"]


def test_a_row_that_the_run_had_no_time_for_says_nothing_new() -> None:
    one = Steady()
    one.take([at("192.0.2.1")], KEYS)
    late = result(ROW, Outcome.SKIPPED, reason=Reason.TIME)
    assert outcomes(one.take([late], KEYS)) == ["open"] and not one.doubts
    assert outcomes(Steady().take([late], KEYS)) == ["skipped"]


def test_in_another_network_old_values_are_forgotten() -> None:
    one = Steady()
    assert one.moved(HOME) is False
    one.take([at("192.0.2.1")], KEYS)
    assert (
        one.moved(
            msgspec.structs.replace(HOME, addresses=(*HOME.addresses, Address(address="2001:db8::9", prefix=128)))
        )
        is False
    )
    unplugged = Host(interface="eth0", trouble=Skip(reason=Reason.NO_CARRIER, sentence="no link"))
    assert one.moved(unplugged) is False and one.moved(HOME) is False and one.reported
    assert one.moved(msgspec.structs.replace(HOME, gateways={4: "192.0.2.2"})) is True
    assert not one.reported


def test_what_left_the_plan_is_forgotten() -> None:
    one = Steady()
    one.take([at("192.0.2.1")], KEYS)
    one.take([at("192.0.2.1", Outcome.CLOSED)], KEYS)
    one.keep(())
    assert not one.reported and not one.doubts
