"""Every line of the table "A silent UDP port", and the arithmetic behind it, on evidence written by hand."""

from __future__ import annotations

import msgspec
import pytest

from roomprobe import ladder
from roomprobe.evidence import Icmp, Step
from roomprobe.facts import Facts
from roomprobe.icmp import decisive, meaning, same_address
from roomprobe.model import Hop, Place
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.site import named, outside, where_between, where_sender
from roomprobe.verdict import cap, needs_path, own_target, refine
from tests.verdicts.build import CORE, FACTS, FW, ISP, TARGET, check, path, repeats, steps, tcp_flow, udp_flow, verdict

SILENT = verdict(Outcome.UNANSWERED, Reason.SILENCE)
REFUSED = verdict(Outcome.REFUSED, Reason.PORT_UNREACHABLE)
CONTROL = tcp_flow(steps(3, "answer", sender=TARGET))
F2 = check("F2", "tcp", 443)


def repeated(hops: int, rounds: int = 6):
    """A suspect silent after `hops`, repeated at the boundary, with a control that is answered in every round."""
    suspect = udp_flow(steps(hops) + repeats(hops + 1, rounds))
    router = (FW, ISP, CORE)[hops]
    control = tcp_flow(CONTROL.steps + repeats(hops + 1, rounds, "hop", router))
    return path(suspect, control)


@pytest.mark.parametrize(("hops", "last", "following"), [(0, None, FW), (1, FW, ISP), (2, ISP, CORE)])
def test_ladder_that_ends_early_is_filtered_between_two_hops(hops, last, following):
    got = refine(check(), SILENT, repeated(hops), FACTS)
    # Only TCP goes on: a rule about short-lived UDP packets would look the same.
    assert (got.outcome, got.confidence, got.reason) == (Outcome.FILTERED, Confidence.INFERRED, Reason.PATH_ENDS)
    assert (got.hop.last_answering.distance, got.hop.last_answering.address) == (hops, last)
    assert (got.hop.next_on_control.distance, got.hop.next_on_control.address) == (hops + 1, following)


def test_other_udp_that_goes_on_makes_it_proven():
    one = repeated(1)
    one = msgspec.structs.replace(one, flows=(*one.flows, udp_flow(steps(3), 123)))
    assert refine(check(), SILENT, one, FACTS).outcome is Outcome.UNANSWERED  # one answer in one try: that may be loss
    often = udp_flow(steps(3) + repeats(2, 8, "hop", ISP), 123)
    one = msgspec.structs.replace(repeated(1, rounds=8), flows=(*repeated(1, rounds=8).flows, often))
    assert refine(check(), SILENT, one, FACTS).confidence is Confidence.PROVEN


def test_a_far_end_that_forwards_inwards_is_no_router():
    inward = Step(ttl=4, round=0, result="hop", address=TARGET, ms=1.0)
    control = tcp_flow((*steps(3, "answer", at=5, sender=TARGET), inward))
    one = path(udp_flow(steps(3)), control)
    assert ladder.floor(one) == 4
    assert refine(check(), SILENT, one, FACTS).outcome is Outcome.PASSES
    closed = udp_flow(steps(3, "icmp", sender=TARGET, icmp=(3, 3)))
    assert refine(check(), REFUSED, path(closed, control), FACTS).outcome is not Outcome.REJECTED


def test_ways_of_different_length_prove_no_forgery():
    other_way = tuple(
        Step(ttl=t, round=0, result="hop", address=a, ms=1.0)
        for t, a in enumerate((FW, "100.64.0.9", CORE, "203.0.113.1"), 1)
    )
    control = udp_flow(other_way, role="control", port=33434)
    reset = tcp_flow(steps(2, "refused", at=3), role="suspect")
    got = refine(F2, verdict(Outcome.REFUSED, Reason.RESET), path(reset, control), FACTS)
    assert got.outcome is Outcome.REFUSED
    mute = tcp_flow(steps(2, "answer", at=3, sender=TARGET), role="suspect")
    got = refine(F2, verdict(Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY), path(mute, control), FACTS)
    assert got.outcome is Outcome.UNANSWERED


def test_a_loop_shows_no_length():
    loop = tuple(
        Step(ttl=t, round=0, result="hop", address=(FW, ISP, CORE, ISP, CORE)[t - 1], ms=1.0) for t in range(1, 6)
    )
    one = path(tcp_flow(steps(3, "refused"), role="suspect"), udp_flow(loop, role="control", port=33434))
    assert ladder.floor(one) == 4
    assert refine(F2, verdict(Outcome.REFUSED, Reason.RESET), one, FACTS).outcome is Outcome.REFUSED


def test_a_relay_on_the_way_is_no_working_control():
    relay = tcp_flow(steps(1, "answer", at=2, sender=TARGET))
    deeper = udp_flow(steps(3), 123)
    one = path(udp_flow(steps(2)), relay, deeper)
    assert not ladder.reached_by_control(one, udp_flow(steps(2)[:1]))
    assert refine(check(), SILENT, path(udp_flow(steps(3)), relay), FACTS).outcome is Outcome.PASSES


def test_an_answer_that_came_late_is_no_control():
    late = tuple(Step(ttl=2, round=r, result="hop", address=ISP, ms=900.0) for r in range(1, 8))
    flow = udp_flow(steps(1) + repeats(2, 7))
    control = tcp_flow(tuple(s for s in CONTROL.steps if s.ttl != 2) + late)
    assert ladder.trials(path(flow, control), flow, 2) == 0


def test_too_few_repeats_are_never_filtered():
    got = refine(check(), SILENT, repeated(1, rounds=2), FACTS)
    assert (got.outcome, got.reason) == (Outcome.UNANSWERED, Reason.LOSS)


def test_loss_on_the_control_asks_for_more_repeats():
    flow = udp_flow(steps(1) + repeats(2, 8))
    lossy = tuple(Step(ttl=2, round=r, result="hop" if r % 2 else "silent", address=ISP) for r in range(1, 9))
    one = path(flow, tcp_flow(CONTROL.steps + lossy))
    assert ladder.trials(one, flow, 2) == 5 and ladder.loss(one, flow, 2) > 0.4
    assert refine(check(), SILENT, one, FACTS).outcome is Outcome.UNANSWERED


def test_one_answer_at_the_boundary_undoes_the_silence():
    flow = udp_flow(steps(1) + repeats(2, 7) + (Step(ttl=2, round=8, result="hop", address=ISP),))
    one = path(flow, tcp_flow(CONTROL.steps + repeats(2, 8, "hop", ISP)))
    assert not ladder.proven_silent(one, flow, 2)
    assert ladder.last_hop(one, flow) == Place(distance=2, address=ISP)


def test_same_last_hop_outside_the_site_passes():
    got = refine(check(), SILENT, path(udp_flow(steps(3)), CONTROL), FACTS)
    assert (got.outcome, got.confidence, got.where) == (Outcome.PASSES, Confidence.INFERRED, None)
    assert got.hop.last_answering == Place(distance=3, address=CORE)


@pytest.mark.parametrize(
    "facts",
    [
        msgspec.structs.replace(FACTS, prefixes=("192.168.50.0/24", "198.51.100.0/24")),
        msgspec.structs.replace(FACTS, addresses=("192.0.2.10",)),
        Facts(),
    ],
)
def test_passes_is_never_claimed_from_a_hop_that_may_be_inside(facts):
    got = refine(check(), SILENT, path(udp_flow(steps(3)), CONTROL), facts)
    assert (got.outcome, got.reason) == (Outcome.UNANSWERED, Reason.UNPROVEN)


def test_passes_needs_a_control_that_works():
    dead = tcp_flow(steps(3), role="suspect")
    assert refine(check(), SILENT, path(udp_flow(steps(3)), dead), FACTS).outcome is Outcome.UNANSWERED


def test_silent_routers_are_unanswered():
    got = refine(check(), SILENT, path(udp_flow(steps(0)), tcp_flow(steps(0, "answer", sender=TARGET))), FACTS)
    assert (got.outcome, got.reason, got.where) == (Outcome.UNANSWERED, Reason.SILENCE, Where.UNKNOWN)


def test_a_sibling_that_answers_makes_a_proven_silence_filtered_but_only_inferred():
    suspect = udp_flow(steps(3) + repeats(ladder.FULL_TTL, 6))
    sibling = udp_flow(
        steps(3, "answer", sender=TARGET) + repeats(ladder.FULL_TTL, 6, "answer", TARGET), 123, "control", ports=(1, 2)
    )
    got = refine(check(), SILENT, path(suspect, sibling, CONTROL), FACTS)
    assert (got.outcome, got.confidence, got.reason) == (Outcome.FILTERED, Confidence.INFERRED, Reason.SIBLING_ANSWERS)
    few = udp_flow(steps(3) + repeats(ladder.FULL_TTL, 3))
    assert refine(check(), SILENT, path(few, sibling, CONTROL), FACTS).outcome is Outcome.PASSES


def test_port_unreachable_at_full_length_is_closed():
    flow = udp_flow(steps(3, "icmp", sender=TARGET, icmp=(3, 3)))
    got = refine(check(), REFUSED, path(flow, CONTROL), FACTS)
    assert (got.outcome, got.where) == (Outcome.CLOSED, Where.FAR_END)


def test_a_refusal_whose_first_packet_was_lost_is_still_the_far_ends():
    flow = udp_flow(steps(3, "icmp", at=5, sender=TARGET, icmp=(3, 3)))
    assert refine(check(), REFUSED, path(flow, CONTROL), FACTS).outcome is Outcome.CLOSED


@pytest.mark.parametrize("at", [1, 2, 3])
def test_port_unreachable_at_a_shorter_ttl_is_forged(at):
    flow = udp_flow(steps(at - 1, "icmp", at=at, sender=TARGET, icmp=(3, 3)))
    got = refine(check(), REFUSED, path(flow, CONTROL), FACTS)
    assert got.outcome is Outcome.REJECTED
    assert got.hop.next_on_control.distance == at


def test_refusal_without_known_length_is_refused():
    flow = udp_flow(steps(3, "icmp", sender=TARGET, icmp=(3, 3)))
    for control in (tcp_flow(steps(3), role="suspect"), tcp_flow(steps(0, "answer", at=4, sender=TARGET))):
        bare = udp_flow(steps(0, "icmp", sender=TARGET, icmp=(3, 3)))
        assert refine(check(), REFUSED, path(bare, control), FACTS).outcome is Outcome.REFUSED
    assert refine(check(), REFUSED, path(flow, tcp_flow(steps(3), role="suspect")), FACTS).outcome is Outcome.REFUSED


def test_an_answer_lost_at_its_own_distance_does_not_lengthen_the_path():
    late = tcp_flow(steps(2, "answer", at=5, sender=TARGET))
    flow = udp_flow(steps(2, "icmp", at=4, sender=TARGET, icmp=(3, 3)))
    assert refine(check(), REFUSED, path(flow, late), FACTS).outcome is Outcome.REFUSED


@pytest.mark.parametrize("code", [9, 10, 13])
def test_admin_prohibited_names_the_sender_and_its_distance(code):
    flow = udp_flow(steps(2, "icmp", at=3, sender=ISP, icmp=(3, code)))
    first = verdict(Outcome.REJECTED, Reason.ADMIN_PROHIBITED, hop=Hop(sender=Place(address=ISP)))
    got = refine(check(), first, path(flow, CONTROL), FACTS)
    assert (got.outcome, got.reason) == (Outcome.REJECTED, Reason.ADMIN_PROHIBITED)
    assert got.hop.sender == Place(distance=2, address=ISP)


@pytest.mark.parametrize(("code", "outcome"), [(3, Outcome.UNANSWERED), (0, Outcome.REJECTED), (1, Outcome.REJECTED)])
def test_a_router_that_finds_no_codec_on_its_network_has_refused_nothing(code, outcome):
    """Its neighbour discovery takes longer than a connection is waited for: only the survey hears of it."""
    codec, router = "fd00:60::20", "fd00:58::1"
    port = check("I1", "tcp", 69, codec, kind="controller")
    late = msgspec.structs.replace(
        tcp_flow(steps(1, "icmp", at=2, sender=router, icmp=(1, code)), role="suspect"), port=69
    )
    got = refine(port, SILENT, path(late, address=codec), FACTS)
    assert got.outcome is outcome
    if code == 3:
        assert (got.reason, got.where, got.confidence) == (Reason.NEIGHBOUR_SILENT, Where.FAR_END, Confidence.NONE)
        assert got.hop.sender.address == router


def test_port_unreachable_by_another_address_is_rejected():
    flow = udp_flow(steps(1, "icmp", at=2, sender=FW, icmp=(3, 3)))
    got = refine(check(), verdict(Outcome.REJECTED, Reason.PORT_UNREACHABLE), path(flow, CONTROL), FACTS)
    assert (got.outcome, got.hop.sender, got.where) == (Outcome.REJECTED, Place(distance=1, address=FW), Where.LAN)


def test_tcp_reset_before_the_far_end_is_rejected_and_at_it_closed():
    first = verdict(Outcome.REFUSED, Reason.RESET)
    control = udp_flow(steps(3, "answer", sender=TARGET), role="control", ports=(1, 2))
    early = tcp_flow(steps(1, "refused", at=2), role="suspect")
    got = refine(F2, first, path(early, control), FACTS)
    assert (got.outcome, got.reason) == (Outcome.REJECTED, Reason.RESET)
    assert (got.hop.last_answering.address, got.hop.next_on_control.address) == (FW, ISP)
    full = tcp_flow(steps(3, "refused"), role="suspect")
    assert refine(F2, first, path(full, control), FACTS).outcome is Outcome.CLOSED


def test_handshake_completed_short_of_the_far_end_is_intercepted():
    first = verdict(Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY)
    control = udp_flow(steps(3), role="control")
    short = tcp_flow(steps(0, "answer", at=1, sender=TARGET), role="suspect")
    got = refine(F2, first, path(short, control), FACTS)
    assert (got.outcome, got.reason, got.hop.sender) == (
        Outcome.INTERCEPTED,
        Reason.HANDSHAKE_SHORT,
        Place(distance=1, address=FW),
    )
    full = tcp_flow(steps(3, "answer", sender=TARGET), role="suspect")
    assert refine(F2, first, path(full, control), FACTS).outcome is Outcome.UNANSWERED
    alert = verdict(Outcome.UNANSWERED, Reason.TLS_ALERT)
    assert refine(F2, alert, path(full, control), FACTS).outcome is Outcome.REACHED
    assert refine(F2, alert, path(short, control), FACTS).outcome is Outcome.INTERCEPTED
    near = tcp_flow(steps(0, "answer", at=1, sender=TARGET), role="suspect")
    assert refine(F2, first, path(near, udp_flow(steps(0), role="control")), FACTS).outcome is Outcome.UNANSWERED


def test_native_answer_alone_never_meets_the_tunnel():
    first = verdict(Outcome.UNANSWERED, Reason.NATIVE_ONLY)
    f7 = check("F7", port=123)
    opaque = udp_flow(steps(0) + repeats(1, 6), 123)
    native = udp_flow(steps(0, "answer", at=1, sender=TARGET), 123, "control", "ntp", ports=(1, 2))
    control = tcp_flow(CONTROL.steps + repeats(1, 6, "hop", FW))
    got = refine(f7, first, path(opaque, native, control), FACTS)
    assert (got.outcome, got.reason, got.hop.sender.distance) == (Outcome.INTERCEPTED, Reason.NATIVE_ONLY, 1)
    far = udp_flow(steps(3, "answer", sender=TARGET), 123, "control", "ntp", ports=(1, 2))
    silent = udp_flow(steps(3), 123)
    got = refine(f7, first, path(silent, far, CONTROL), FACTS)
    assert got.reason is Reason.NATIVE_ONLY and got.outcome is Outcome.UNANSWERED


def test_a_late_answer_to_the_same_packet_is_open():
    flow = udp_flow((*steps(3), Step(ttl=64, round=2, result="answer", address=TARGET, ms=2.0)))
    assert refine(check(), SILENT, path(flow, CONTROL), FACTS).outcome is Outcome.OPEN


def test_only_direct_checks_in_trouble_ask_for_a_path():
    assert needs_path(check(), SILENT)
    assert not needs_path(check(), verdict(Outcome.OPEN, Reason.ANSWERED))
    assert not needs_path(check(), verdict(Outcome.UNANSWERED, Reason.GATEWAY_SILENT))
    assert not needs_path(check(via="proxy"), SILENT)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"legacy": True, "pinned": False, "elsewhere": False}, Confidence.INFERRED),
        ({"legacy": True, "pinned": True, "elsewhere": False}, Confidence.PROVEN),
        ({"legacy": False, "pinned": False, "elsewhere": True}, Confidence.INFERRED),
        ({"legacy": False, "pinned": False, "elsewhere": False}, Confidence.PROVEN),
    ],
)
def test_confidence_is_capped_at_a_legacy_name_and_from_another_port(flags, expected):
    assert cap(verdict(Outcome.OPEN, Reason.ANSWERED), check(), **flags).confidence is expected
    overridden = msgspec.structs.replace(check(), overridden=True)
    only_legacy = {"legacy": True, "pinned": False, "elsewhere": False}
    assert cap(verdict(Outcome.OPEN, Reason.ANSWERED), overridden, **only_legacy).confidence is Confidence.PROVEN


@pytest.mark.parametrize(
    ("kind", "code", "v6", "expected"),
    [
        (11, 0, False, "time-exceeded"),
        (11, 1, False, "other"),
        (3, 0, False, "unreachable"),
        (3, 1, False, "unreachable"),
        (3, 3, False, "port-unreachable"),
        (3, 4, False, "other"),
        (3, 9, False, "admin-prohibited"),
        (3, 10, False, "admin-prohibited"),
        (3, 13, False, "admin-prohibited"),
        (5, 0, False, "other"),
        (3, 0, True, "time-exceeded"),
        (3, 1, True, "other"),
        (1, 0, True, "unreachable"),
        (1, 1, True, "admin-prohibited"),
        (1, 3, True, "unreachable"),
        (1, 4, True, "port-unreachable"),
        (1, 5, True, "admin-prohibited"),
        (1, 6, True, "admin-prohibited"),
        (2, 0, True, "other"),
    ],
)
def test_icmp_is_read_by_type_and_code(kind, code, v6, expected):
    assert meaning(kind, code, v6) == expected


def test_icmp_errors_that_end_a_check():
    assert decisive(Icmp(type=3, code=13, offender=FW), False)
    assert not decisive(Icmp(type=3, code=4, offender=FW), False)
    assert same_address("fe80::1%eth0", "fe80::1") and not same_address(None, FW)


V6 = Facts(addresses=("2001:db8:50::10", "fe80::10"))


@pytest.mark.parametrize(
    ("address", "facts", "expected"),
    [
        (None, FACTS, None),
        ("169.254.1.1", FACTS, False),
        ("fe80::1", V6, False),
        ("fd00::1", V6, False),
        ("2001:db8:50:9::1", V6, False),
        ("2001:db8:51::1", V6, True),
        ("2001:db8:51::1", Facts(), None),
        (CORE, Facts(addresses=("192.0.2.10",)), None),
        (CORE, Facts(addresses=("100.64.1.10",)), True),
        (CORE, Facts(addresses=("192.168.50.10",), prefixes=("198.51.100.0/24",)), False),
        (ISP, Facts(addresses=("192.168.50.10",), prefixes=("192.168.0.0/16",)), True),
        ("2001:db8:51::1", Facts(addresses=("2001:db8:50::1",), prefixes=("192.168.0.0/16",)), True),
    ],
)
def test_outside_the_site(address, facts, expected):
    assert outside(address, facts) is expected


@pytest.mark.parametrize(
    ("last", "following", "expected"),
    [
        (None, Place(distance=1, address=FW), Where.LAN),
        (Place(distance=1, address=FW), Place(distance=2, address="192.168.60.1"), Where.LAN),
        (Place(distance=1, address=FW), Place(distance=2, address=CORE), Where.SITE_EDGE),
        (Place(distance=1, address=FW), Place(distance=2, address=ISP), Where.UNKNOWN),
        (Place(distance=3, address=CORE), Place(distance=4, address="203.0.113.1"), Where.BEYOND),
        (Place(distance=3, address=CORE), None, Where.BEYOND),
        (Place(distance=1, address=FW), None, Where.UNKNOWN),
        (None, None, Where.UNKNOWN),
    ],
)
def test_where_an_interval_sits(last, following, expected):
    assert where_between(last, following, FACTS) is expected


def test_where_a_sender_sits():
    assert where_sender(TARGET, TARGET, FACTS) is Where.FAR_END
    assert where_sender(CORE, TARGET, FACTS) is Where.BEYOND
    assert where_sender(FW, TARGET, FACTS) is Where.LAN
    assert where_sender(ISP, TARGET, FACTS) is Where.UNKNOWN


def test_devices_are_named_as_people_know_them():
    assert named(None, FACTS) == named(Place(distance=0), FACTS) == "this box"
    assert named(Place(distance=2), FACTS) == "hop 2"
    assert named(Place(), FACTS) == "an unknown device"
    assert named(Place(distance=1, address=FW), FACTS) == f"{FW}, your gateway (hop 1)"
    assert named(Place(address=FW), FACTS) == f"{FW}, your gateway"
    assert named(Place(address=ISP), FACTS) == ISP


def test_a_refusal_behind_another_router_gets_its_own_ttl():
    unreachable = {"sender": ISP, "icmp": (3, 0)}
    flow = udp_flow(steps(1, "icmp", at=2, **unreachable))
    ended = tcp_flow(steps(1), role="suspect")
    one = path(flow, ended)
    assert ladder.sender_distance(one, flow.steps[-1]) == 2
    alone = path(udp_flow(steps(0, "icmp", at=2, **unreachable)), ended)
    assert ladder.sender_distance(path(alone.flows[0]), alone.flows[0].steps[-1]) is None
    at_once = path(udp_flow(steps(0, "icmp", at=1, sender=FW, icmp=(3, 0))))
    assert ladder.sender_distance(at_once, at_once.flows[0].steps[0]) == 1


def test_a_refusal_by_the_gateway_is_one_hop_away_even_without_a_ladder():
    first = verdict(Outcome.REJECTED, Reason.UNREACHABLE, hop=Hop(sender=Place(address=FW)))
    got = refine(check(), first, path(udp_flow(steps(0)), tcp_flow(steps(0), role="suspect")), FACTS)
    assert got.hop.sender == Place(distance=1, address=FW)
    bare = refine(check(), verdict(Outcome.REJECTED), path(udp_flow(steps(0)), CONTROL), FACTS)
    assert bare.hop.sender == Place()


def test_opened_tls_is_placed_only_when_it_is_short_of_the_far_end():
    first = verdict(Outcome.INTERCEPTED, Reason.ISSUER_UNEXPECTED)
    control = udp_flow(steps(3), role="control", port=33434)
    near = tcp_flow(steps(1, "answer", at=2, sender=TARGET), role="suspect")
    assert refine(F2, first, path(near, control), FACTS).hop.sender == Place(distance=2, address=ISP)
    full = tcp_flow(steps(3, "answer", sender=TARGET), role="suspect")
    assert refine(F2, first, path(full, control), FACTS) is first


def test_tcp_that_connects_late_is_loss_not_a_verdict():
    flow = tcp_flow(steps(3, "answer", sender=TARGET), role="suspect")
    got = refine(F2, SILENT, path(flow, udp_flow(steps(3), role="control")), FACTS)
    assert (got.outcome, got.reason) == (Outcome.UNANSWERED, Reason.LOSS)


def test_native_answers_behind_a_filter_stay_native_only():
    first = verdict(Outcome.UNANSWERED, Reason.NATIVE_ONLY)
    one = repeated(1)
    got = refine(check(), first, one, FACTS)
    assert (got.outcome, got.reason) == (Outcome.FILTERED, Reason.NATIVE_ONLY)


def test_without_a_survey_the_first_verdict_stands():
    assert refine(check(), SILENT, None, FACTS) is SILENT
    assert refine(check("F4", port=3478), SILENT, path(udp_flow(steps(3))), FACTS) is SILENT


def witnesses(count: int, result: str = "hop", router: str = ISP) -> tuple[Step, ...]:
    return tuple(Step(ttl=2, round=r, result=result, address=router) for r in range(1, count + 1))


def test_controls_of_other_addresses_witness_for_the_same_router_only():
    flow = udp_flow(steps(1) + repeats(2, 7))
    one = msgspec.structs.replace(path(flow, CONTROL), witnesses=witnesses(7))
    assert ladder.trials(one, flow, 2) == 8
    assert refine(check(), SILENT, one, FACTS).outcome is Outcome.FILTERED
    other = msgspec.structs.replace(one, witnesses=witnesses(7, router="100.64.0.9"))
    assert refine(check(), SILENT, other, FACTS).outcome is Outcome.UNANSWERED
    lost = msgspec.structs.replace(one, witnesses=witnesses(4) + witnesses(7, "silent")[4:])
    assert ladder.loss(lost, flow, 2) > ladder.loss(one, flow, 2)
    assert refine(check(), SILENT, lost, FACTS).outcome is Outcome.UNANSWERED


def test_silence_proven_farther_out_is_a_wider_interval():
    # The routers' limits left nothing of this flow's own first pass: only the boundary of another address was asked.
    quiet = (Step(ttl=1, round=0, result="silent"), *repeats(2, 7))
    control = tcp_flow(CONTROL.steps + repeats(2, 7, "hop", ISP))
    got = refine(check(), SILENT, path(udp_flow(quiet), control), FACTS)
    assert got.outcome is Outcome.FILTERED
    assert (got.hop.last_answering, got.hop.next_on_control) == (Place(distance=0), Place(distance=2, address=ISP))
    assert "something before it" in got.sentence


def test_an_own_far_end_speaks_for_itself_only():
    seen = verdict(Outcome.OPEN, Reason.ANSWERED)
    mine = msgspec.structs.replace(check(), overridden=True)
    assert "not necessarily to others" in own_target(seen, mine).sentence
    assert own_target(seen, check()) is seen
    assert own_target(SILENT, mine) is SILENT
    assert own_target(seen, msgspec.structs.replace(F2, overridden=True)) is seen
