"""The tables "Meeting a requirement" and "Service": what verdicts come to, held case by case."""

from __future__ import annotations

import msgspec
import pytest

from roomprobe import egress, rollup, unit, walk
from roomprobe.evidence import UdpEvidence
from roomprobe.meets import Meets, meets
from roomprobe.model import Hop, Place, Profile, Requirement, Result, ServiceSpec, Skip
from roomprobe.outcome import Confidence, Need, Outcome, Reason, State, Where
from roomprobe.site import outside
from tests.verdicts.build import CORE, FACTS, FW, HOST, ISP, path, result, steps, tcp_flow, udp_flow, verdict
from tests.verdicts.build import check as make_check

PORTS = {"F3": 24704, "F4": 3478, "F5": 1194, "F6": 500, "F7": 123}
GROUP = "udp-tunnel"


def row(name: str, transport: str, port: int, need: Need, group: str | None = None) -> Requirement:
    return Requirement(id=name, purpose="", document="d", services=("calls",), need=need, kind="udp",
                       transport=transport, host="{org}.call.sl", port=port, group=group)  # fmt: skip


PROFILE = Profile(
    schema=1,
    id="starleaf",
    title="StarLeaf",
    version="1",
    documents={"d": "D"},
    service=(ServiceSpec(id="calls", title="Calls"),),
    row=(
        row("F2", "tcp", 443, Need.REQUIRED),
        *(row(name, "udp", port, Need.RECOMMENDED, GROUP) for name, port in PORTS.items()),
    ),
)


def f0(outcome: Outcome, resolver: str = FW, transport: str = "udp", reason: Reason = Reason.ANSWERED) -> Result:
    return result(make_check("F0", transport, 53, resolver, kind="dns", need=Need.REQUIRED), outcome, reason)


def f2(outcome: Outcome, address: str | None = "203.0.113.10", via: str = "direct", **more) -> Result:
    return result(make_check("F2", "tcp", 443, address, need=Need.REQUIRED, via=via), outcome, **more)


def udp(name: str, outcome: Outcome, address: str = "203.0.113.10", **more) -> Result:
    return result(make_check(name, "udp", PORTS[name], address, group=GROUP), outcome, **more)


def all_udp(outcome: Outcome, address: str = "203.0.113.10", **more) -> list[Result]:
    return [udp(name, outcome, address, **more) for name in PORTS]


def calls(results, paths=(), host=HOST, facts=FACTS):
    return rollup.services(PROFILE, results, paths, host, facts)[0]


@pytest.mark.parametrize(
    ("outcome", "reason", "expected"),
    [
        (Outcome.OPEN, Reason.ANSWERED, Meets.MET),
        (Outcome.REACHED, Reason.HANDSHAKE_ONLY, Meets.MET),
        (Outcome.PASSES, Reason.LEAVES_SITE, Meets.MET),
        (Outcome.CLOSED, Reason.PORT_CLOSED, Meets.NOT_MET),
        (Outcome.FILTERED, Reason.PATH_ENDS, Meets.NOT_MET),
        (Outcome.REJECTED, Reason.RESET, Meets.NOT_MET),
        (Outcome.INTERCEPTED, Reason.ISSUER_UNEXPECTED, Meets.NOT_MET),
        (Outcome.NO_TARGET, Reason.NXDOMAIN, Meets.NOT_MET),
        (Outcome.REFUSED, Reason.RESET, Meets.CANNOT_TELL),
        (Outcome.UNANSWERED, Reason.SILENCE, Meets.CANNOT_TELL),
        (Outcome.FAULT, Reason.PERMISSION, Meets.CANNOT_TELL),
        (Outcome.SKIPPED, Reason.PRIVILEGE, Meets.CANNOT_TELL),
        (Outcome.SKIPPED, Reason.TIME, Meets.CANNOT_TELL),
        (Outcome.SKIPPED, Reason.INTERRUPTED, Meets.CANNOT_TELL),
        (Outcome.SKIPPED, Reason.OPT_IN, Meets.LEFT_OUT),
        (Outcome.SKIPPED, Reason.ATTESTATION, Meets.LEFT_OUT),
        (Outcome.SKIPPED, Reason.NO_FAMILY, Meets.LEFT_OUT),
        (Outcome.SKIPPED, Reason.INTERVAL, Meets.LEFT_OUT),
    ],
)
def test_meeting_a_requirement(outcome, reason, expected):
    assert meets(verdict(outcome, reason)) is expected


def test_every_outcome_is_in_the_table():
    assert all(meets(verdict(outcome)) for outcome in Outcome)


@pytest.mark.parametrize(
    ("tcp", "udp_outcome", "state", "at_least", "reason", "transport"),
    [
        (Outcome.OPEN, Outcome.OPEN, State.FULL, None, Reason.ALL_MET, "udp/24704"),
        (Outcome.OPEN, Outcome.PASSES, State.FULL, None, Reason.ALL_MET, "udp/24704"),
        (Outcome.REACHED, Outcome.OPEN, State.FULL, None, Reason.ALL_MET, "udp/24704"),
        (Outcome.OPEN, Outcome.FILTERED, State.DEGRADED, None, Reason.RECOMMENDED_NOT_MET, "tcp/443"),
        (Outcome.OPEN, Outcome.CLOSED, State.DEGRADED, None, Reason.RECOMMENDED_NOT_MET, "tcp/443"),
        (Outcome.OPEN, Outcome.UNANSWERED, State.UNKNOWN, State.DEGRADED, Reason.SILENCE, None),
        (Outcome.OPEN, Outcome.FAULT, State.UNKNOWN, State.DEGRADED, Reason.SILENCE, None),
        (Outcome.OPEN, Outcome.SKIPPED, State.FULL, None, Reason.ALL_MET, None),
        (Outcome.FILTERED, Outcome.OPEN, State.BROKEN, None, Reason.REQUIRED_NOT_MET, None),
        (Outcome.CLOSED, Outcome.OPEN, State.BROKEN, None, Reason.REQUIRED_NOT_MET, None),
        (Outcome.REFUSED, Outcome.OPEN, State.UNKNOWN, None, Reason.SILENCE, None),
        (Outcome.UNANSWERED, Outcome.FILTERED, State.UNKNOWN, None, Reason.SILENCE, None),
        (Outcome.NO_TARGET, Outcome.NO_TARGET, State.BROKEN, None, Reason.REQUIRED_NOT_MET, None),
    ],
)
def test_service_states(tcp, udp_outcome, state, at_least, reason, transport):
    reasons = {"reason": Reason.OPT_IN} if udp_outcome is Outcome.SKIPPED else {}
    got = calls([f2(tcp), *all_udp(udp_outcome, **reasons)])
    assert (got.state, got.at_least, got.reason) == (state, at_least, reason)
    assert got.transport == transport or udp_outcome is Outcome.SKIPPED
    if state is State.FULL:
        assert "not measured" in got.sentence


def test_a_group_is_met_when_one_member_is():
    members = [udp(n, Outcome.FILTERED) for n in ("F3", "F4", "F5", "F6")]
    got = calls([f2(Outcome.OPEN), *members, udp("F7", Outcome.OPEN)])
    assert (got.state, got.transport, got.confidence) == (State.FULL, "udp/123", Confidence.PROVEN)


def test_a_group_cannot_be_told_when_none_is_met_and_one_cannot():
    members = [udp(n, Outcome.FILTERED) for n in ("F3", "F4", "F5", "F6")]
    got = calls([f2(Outcome.OPEN), *members, udp("F7", Outcome.UNANSWERED)])
    assert (got.state, got.at_least, got.transport) == (State.UNKNOWN, State.DEGRADED, None)


def test_an_earlier_port_that_cannot_be_told_lowers_the_walk():
    made = walk.replay(PROFILE.row[1:], [udp("F3", Outcome.UNANSWERED), udp("F4", Outcome.OPEN)])
    assert (made.transport, made.confidence) == ("udp/3478", Confidence.INFERRED)
    assert "not published" in made.sentence


def test_the_walk_adds_up_what_each_step_took():
    evidence = UdpEvidence(source=None, exchanges=(), duration_s=1.75)
    steps_ = [msgspec.structs.replace(udp(n, Outcome.FILTERED), evidence=evidence) for n in PORTS]
    made = walk.replay((*PROFILE.row[1:], PROFILE.row[0]), [*steps_, f2(Outcome.OPEN)])
    assert made.transport == "tcp/443" and made.duration_s == pytest.approx(8.75)
    assert [s.transport for s in made.steps] == ["udp/24704", "udp/3478", "udp/1194", "udp/500", "udp/123", "tcp/443"]


def test_one_dead_address_of_three_degrades():
    good = [f2(Outcome.OPEN, f"203.0.113.{n}") for n in (10, 11)]
    udps = [r for n in (10, 11, 12) for r in all_udp(Outcome.OPEN, f"203.0.113.{n}")]
    got = calls([*good, f2(Outcome.UNANSWERED, "203.0.113.12", reason=Reason.LOSS), *udps])
    assert (got.state, got.at_least) == (State.UNKNOWN, State.DEGRADED)
    for outcome in (Outcome.FILTERED, Outcome.UNANSWERED):
        got = calls([*good, f2(outcome, "203.0.113.12"), *udps])
        assert (got.state, got.reason) == (State.DEGRADED, Reason.SOME_ADDRESSES)
        assert "203.0.113.12" in got.sentence


def test_a_known_degradation_outweighs_a_doubt():
    udps = [*all_udp(Outcome.OPEN), *all_udp(Outcome.UNANSWERED, "203.0.113.12")]
    got = calls([f2(Outcome.OPEN), f2(Outcome.UNANSWERED, "203.0.113.12"), *udps])
    assert (got.state, got.reason) == (State.DEGRADED, Reason.SOME_ADDRESSES)
    got = calls([f2(Outcome.OPEN), *udps])
    assert (got.state, got.at_least) == (State.UNKNOWN, State.DEGRADED)


def test_a_port_that_works_at_each_address_is_enough_for_the_group():
    got = calls([f2(Outcome.OPEN), udp("F3", Outcome.OPEN), udp("F4", Outcome.FILTERED, "203.0.113.11"),
                 udp("F7", Outcome.OPEN, "203.0.113.11")])  # fmt: skip
    assert got.state is State.FULL


def test_a_broken_family_degrades_and_an_absent_one_is_left_out():
    v4 = [f2(Outcome.OPEN), *all_udp(Outcome.OPEN)]
    v6 = "2001:db8:113::10"
    got = calls([*v4, f2(Outcome.FILTERED, v6), *all_udp(Outcome.FILTERED, v6)])
    assert (got.state, got.reason) == (State.DEGRADED, Reason.ONE_FAMILY)
    absent = {"reason": Reason.NO_FAMILY}
    got = calls([*v4, f2(Outcome.SKIPPED, v6, **absent), *all_udp(Outcome.SKIPPED, v6, **absent)])
    assert got.state is State.FULL


@pytest.mark.parametrize("other", [Outcome.UNANSWERED, Outcome.NO_TARGET, Outcome.CLOSED])
def test_one_good_resolver_is_enough_and_a_bad_one_degrades(other):
    rest = [f2(Outcome.OPEN), *all_udp(Outcome.OPEN)]
    got = calls([f0(Outcome.OPEN), f0(other, "192.168.50.20"), *rest])
    assert (got.state, got.reason) == (State.DEGRADED, Reason.SOME_RESOLVERS)
    assert calls([f0(Outcome.OPEN), f0(Outcome.UNANSWERED, transport="tcp"), *rest]).state is State.FULL


def test_a_far_end_without_a_family_that_the_site_has_is_never_full():
    absent = {"reason": Reason.NO_FAMILY}
    v6 = "2001:db8:113::10"
    got = calls([f0(Outcome.OPEN), f2(Outcome.SKIPPED, v6, **absent), *all_udp(Outcome.SKIPPED, v6, **absent)])
    assert (got.state, got.at_least) == (State.UNKNOWN, None)


def test_a_dead_gateway_of_one_family_degrades():
    v6 = "2001:db8:113::10"
    dead = f2(Outcome.UNANSWERED, v6, reason=Reason.GATEWAY_SILENT)
    got = calls([f2(Outcome.OPEN), *all_udp(Outcome.OPEN), dead])
    assert (got.state, got.reason) == (State.DEGRADED, Reason.ONE_FAMILY)


def test_dead_names_break_and_dead_resolvers_cannot_be_told():
    gone = [f2(Outcome.NO_TARGET, None)]
    assert calls([f0(Outcome.NO_TARGET), *gone]).state is State.BROKEN
    assert calls([f0(Outcome.UNANSWERED), f2(Outcome.UNANSWERED, None)]).state is State.UNKNOWN


def test_the_proxy_is_enough_and_takes_the_names_over():
    got = calls([f0(Outcome.NO_TARGET), f2(Outcome.NO_TARGET, None), f2(Outcome.OPEN, via="proxy")])
    assert got.state is State.FULL and "proxy" in got.sentence
    got = calls([f0(Outcome.NO_TARGET), f2(Outcome.FILTERED), f2(Outcome.REJECTED, via="proxy")])
    assert got.state is State.BROKEN


def test_nothing_asked_is_unknown_and_not_tested():
    got = calls([f2(Outcome.SKIPPED, reason=Reason.NOT_IN_RELEASE)])
    assert (got.state, got.reason) == (State.UNKNOWN, Reason.NOT_TESTED)


def test_trouble_at_the_jack_breaks():
    host = msgspec.structs.replace(HOST, trouble=Skip(reason=Reason.NO_CARRIER, sentence="No cable."))
    got = calls([f2(Outcome.UNANSWERED)], host=host)
    assert (got.state, got.where, got.reason) == (State.BROKEN, Where.JACK, Reason.NO_CARRIER)
    dead = msgspec.structs.replace(HOST, neighbours={FW: "failed"})
    got = calls([f2(Outcome.UNANSWERED, reason=Reason.GATEWAY_SILENT)], host=dead)
    assert (got.state, got.where, got.reason) == (State.BROKEN, Where.JACK, Reason.GATEWAY_SILENT)
    assert calls([f2(Outcome.OPEN)], host=dead).state is State.FULL


def test_trouble_of_this_box_is_not_the_jacks():
    host = msgspec.structs.replace(HOST, trouble=Skip(reason=Reason.INTERFACE_DOWN, sentence="eth0 is switched off."))
    got = calls([f2(Outcome.FAULT, reason=Reason.INTERFACE_DOWN, where=Where.THIS_BOX)], host=host)
    assert (got.state, got.where, got.reason) == (State.UNKNOWN, Where.THIS_BOX, Reason.INTERFACE_DOWN)


@pytest.mark.parametrize(
    ("said", "told"),
    [("Cannot tell: no resolver answers.", "No resolver answers."), ("Cannot tell: eth0 is odd.", "eth0 is odd.")],
)
def test_what_cannot_be_told_begins_a_sentence(said, told):
    silent = f2(Outcome.UNANSWERED)
    got = calls([msgspec.structs.replace(silent, verdict=msgspec.structs.replace(silent.verdict, sentence=said))])
    assert got.sentence.startswith(f"Cannot tell whether calls will work. {told}")


def test_nothing_required_means_nothing_promised():
    got = calls(all_udp(Outcome.UNANSWERED))
    assert (got.state, got.at_least) == (State.UNKNOWN, None) and "will work" not in got.sentence


def ended(hops: int, address: str, end: str | None = None, sender: str | None = None, icmp=None):
    made = steps(hops, end, at=hops + 1, sender=sender, icmp=icmp)
    return path(tcp_flow(made, role="suspect"), udp_flow(made), address=address)


BOTH = ("203.0.113.10", "203.0.113.20")


@pytest.mark.parametrize(
    ("paths", "place"),
    [
        ([ended(1, a) for a in BOTH], Place(distance=1, address=FW)),
        ([ended(0, a) for a in BOTH], Place(distance=1, address=FW)),
        ([ended(1, a, "icmp", FW, (3, 0)) for a in BOTH], Place(distance=1, address=FW)),
        ([ended(2, a, "icmp", ISP, (3, 0)) for a in BOTH], Place(distance=2, address=ISP)),
        ([ended(2, a) for a in BOTH], Place(distance=2, address=ISP)),
    ],
)
def test_nothing_leaves(paths, place):
    got = calls([f2(Outcome.UNANSWERED), *all_udp(Outcome.UNANSWERED)], paths)
    assert (got.state, got.reason, got.hop.last_answering) == (State.BROKEN, Reason.NO_EGRESS, place)


def test_three_flows_to_one_host_are_not_the_whole_network():
    three = path(tcp_flow(steps(1), role="suspect"), udp_flow(steps(1)), udp_flow(steps(1), 123), address=BOTH[0])
    assert egress.find([f2(Outcome.UNANSWERED)], [three], HOST, FACTS) is None
    other = path(udp_flow(steps(1), 500), address=BOTH[1])
    assert egress.find([f2(Outcome.UNANSWERED)], [three, other], HOST, FACTS) is not None


def rejected(row: str, sender: str | None, address: str = BOTH[0]) -> Result:
    place = Hop(sender=Place(address=sender)) if sender else None
    port = 443 if row == "F2" else PORTS[row]
    transport = "tcp" if row == "F2" else "udp"
    made = make_check(row, transport, port, address, group=None if row == "F2" else GROUP)
    return Result(check=made, evidence=None, verdict=verdict(Outcome.REJECTED, Reason.UNREACHABLE, hop=place))


def test_refusals_of_the_checks_count_where_the_ladders_got_none():
    quiet = [ended(1, a) for a in BOTH]
    seen = [rejected("F2", ISP), rejected("F3", ISP), rejected("F4", ISP, BOTH[1]), rejected("F5", None)]
    assert egress.find(seen, quiet, HOST, FACTS) is None  # it is not known to be farther than the gateway
    far = [ended(2, a, "icmp", ISP, (3, 0)) for a in BOTH]
    assert egress.find(seen, far, HOST, FACTS).hop.last_answering == Place(distance=2, address=ISP)


@pytest.mark.parametrize(
    ("results", "paths", "host"),
    [
        ([f2(Outcome.UNANSWERED)], [ended(1, BOTH[0])], HOST),  # one host only
        ([f2(Outcome.UNANSWERED)], [ended(3, a) for a in BOTH], HOST),  # silence behind a hop outside the site
        ([f2(Outcome.UNANSWERED)], [ended(1, BOTH[0]), ended(2, BOTH[1])], HOST),  # not the same hop
        ([f2(Outcome.UNANSWERED), udp("F3", Outcome.OPEN)], [ended(1, a) for a in BOTH], HOST),  # something left
        (
            [f2(Outcome.UNANSWERED), f0(Outcome.OPEN, "203.0.113.53")],
            [ended(1, a) for a in BOTH],
            HOST,
        ),  # a resolver beyond answered
        (
            [f2(Outcome.UNANSWERED)],
            [ended(0, a) for a in BOTH],
            msgspec.structs.replace(HOST, neighbours={}),
        ),  # the gateway itself was never heard
        ([f2(Outcome.UNANSWERED)], [ended(3, BOTH[0], "answer", BOTH[0]), ended(1, BOTH[1])], HOST),  # one got through
        ([f2(Outcome.UNANSWERED)], [ended(3, a, "refused") for a in BOTH], HOST),  # refused in the target's name
        ([f2(Outcome.UNANSWERED)], [], HOST),  # nothing was followed
        (
            all_udp(Outcome.UNANSWERED),
            [path(udp_flow(steps(1)), udp_flow(steps(1), 123), address=a) for a in BOTH],
            HOST,
        ),  # UDP alone: TCP may pass
    ],
)
def test_no_egress_is_not_claimed_without_its_whole_proof(results, paths, host):
    assert egress.find(results, paths, host, FACTS) is None


def test_inside_outside_and_the_shared_range_between():
    assert (outside(FW, FACTS), outside(ISP, FACTS), outside(CORE, FACTS)) == (False, None, True)


def test_units_speak_of_rows_and_groups():
    made = rollup.units([f0(Outcome.OPEN), f2(Outcome.OPEN), *all_udp(Outcome.OPEN)], with_proxy=False)
    assert [u.name for u in made] == ["F0", "F2", GROUP]
    assert [u.name for u in rollup.units([f0(Outcome.OPEN), f2(Outcome.OPEN)], with_proxy=True)] == ["F2"]
    assert unit.make("F2", Need.REQUIRED, [f2(Outcome.SKIPPED, reason=Reason.OPT_IN)]).state is Meets.LEFT_OUT
