"""Which rule is asked for: the smallest that helps, and none where no rule would."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from roomprobe.model import Host, Result, Vantage
from roomprobe.outcome import Need, Outcome, Reason, State, Where
from roomprobe.report.rule import Ask, asks
from roomprobe.report.run import Report
from tests.report import samples


def blocked(row: str, **more: Any) -> Result:
    return samples.udp(row, Outcome.FILTERED, Reason.PATH_ENDS, **more)


def run(*results: Result, host: Host = samples.HOST) -> Report:
    return samples.report((), results, host=host)


def only(report: Report) -> Ask:
    (ask,) = asks(report)
    return ask


def test_of_a_group_the_first_port_in_the_room_systems_order() -> None:
    ask = only(samples.degraded())
    assert (ask.row, ask.transport, ask.port, ask.name) == ("F3", "udp", 24704, "acme.call.sl")
    assert ask.addresses == ask.blocked == ("203.0.113.10", "203.0.113.11")
    assert (ask.one_of, ask.need, ask.sources) == (5, Need.RECOMMENDED, ("10.20.4.0/24",))


def test_nothing_when_another_port_of_the_group_works() -> None:
    assert not asks(run(blocked("F3"), blocked("F4"), samples.udp("F7", Outcome.OPEN, Reason.ANSWERED)))


def test_a_blocked_address_is_asked_for_though_another_of_the_same_row_works() -> None:
    fine = samples.udp("F3", Outcome.OPEN, Reason.ANSWERED, address="203.0.113.11")
    ask = only(run(blocked("F3"), fine, blocked("F4"), blocked("F4", address="203.0.113.11")))
    assert (ask.row, ask.blocked, ask.addresses) == ("F3", ("203.0.113.10",), ("203.0.113.10", "203.0.113.11"))


@pytest.mark.parametrize("other", [{"via": "proxy", "address": None}, {"direction": "in"}])
def test_the_way_through_a_proxy_and_inward_flows_need_no_rule_from_here(other: dict[str, Any]) -> None:
    result = samples.tls("F2", "acme.call.sl", Outcome.FILTERED, Reason.PATH_ENDS)
    check = msgspec.structs.replace(result.check, **other)
    assert not asks(run(msgspec.structs.replace(result, check=check)))


def test_nothing_when_the_proxy_makes_up_for_it() -> None:
    direct = samples.tls("F2", "acme.call.sl", Outcome.FILTERED, Reason.PATH_ENDS)
    by_proxy = samples.tls("F2", "acme.call.sl", Outcome.OPEN, Reason.VERIFIED)
    check = msgspec.structs.replace(by_proxy.check, via="proxy", address=None)
    assert asks(run(direct))
    assert not asks(run(direct, msgspec.structs.replace(by_proxy, check=check)))


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (Outcome.FILTERED, Outcome.REJECTED)])
def test_only_a_block_is_asked_for(outcome: Outcome) -> None:
    assert not asks(run(samples.tls("F2", "acme.call.sl", outcome, Reason.SILENCE)))


@pytest.mark.parametrize("outcome", [Outcome.FILTERED, Outcome.REJECTED])
def test_a_block_is_asked_for(outcome: Outcome) -> None:
    ask = only(run(samples.tls("F2", "acme.call.sl", outcome, Reason.RESET)))
    assert (ask.port, ask.one_of, ask.need) == (443, None, Need.REQUIRED)


@pytest.mark.parametrize("where", [Where.THIS_BOX, Where.JACK])
def test_no_rule_mends_this_box_or_its_jack(where: Where) -> None:
    assert not asks(run(blocked("F3", where=where)))


def test_optional_rows_are_never_asked_for() -> None:
    result = blocked("F3")
    assert not asks(
        run(msgspec.structs.replace(result, check=msgspec.structs.replace(result.check, need=Need.OPTIONAL)))
    )


def test_nothing_when_nothing_leaves_at_all() -> None:
    service = samples.service("calls", "Calls", State.BROKEN, Reason.NO_EGRESS, "Calls will not work.")
    assert not asks(samples.report((service,), (blocked("F3"),)))


def test_one_dead_address_of_three_is_named() -> None:
    config, call = asks(samples.broken())
    assert config.blocked == ("203.0.113.12",)
    assert config.addresses == ("203.0.113.10", "203.0.113.11", "203.0.113.12")
    assert call.name == "acme.call.sl"


def test_room_system_is_the_source() -> None:
    assert {ask.sources for ask in asks(samples.broken())} == {("10.20.9.10",)}


def test_source_follows_the_family() -> None:
    assert only(run(blocked("F3", address="2001:db8::5"))).sources == ("fd00:20:4::/64",)
    elsewhere = msgspec.structs.replace(
        samples.HOST, vantage=Vantage(state="other", sentence="", room_system="10.20.9.10")
    )
    assert only(run(blocked("F3", address="2001:db8::5"), host=elsewhere)).sources == ()


def test_a_blocked_resolver_is_asked_for_by_its_address() -> None:
    results = [
        samples.dns(host, "192.0.2.53", "udp", Outcome.FILTERED, reason=Reason.PATH_ENDS)
        for host in ("config.starleaf.com", "acme.call.sl")
    ]
    ask = only(run(*results))
    assert (ask.name, ask.addresses, ask.transport, ask.port) == (None, ("192.0.2.53",), "udp", 53)
