"""What of the controller link's evidence outweighs what: tables' edges that a small change of judgement would move."""

from __future__ import annotations

import msgspec

from roomprobe.evidence import Connect, Icmp, Timing
from roomprobe.link import candidates
from roomprobe.link.evidence import Blocks, Hold, SourceTry
from roomprobe.link.settle import settle
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from tests.verdicts.linking import (
    ALIVE,
    ALL,
    FACTS,
    LISTENING,
    NO_NEIGHBOUR,
    REFUSED,
    ROUTED,
    SILENT,
    THERE,
    all_ports,
    device,
    emulated,
    judged,
    knowing,
    link,
    real,
    routed,
    seen,
    service,
    settled,
    told,
)


def test_a_neighbour_that_is_there_is_not_sent_to_another_interface() -> None:
    result = judged(all_ports(lambda row: seen(row, SILENT)), link(THERE, elsewhere=("eth1",)))["I1"]
    assert told(result)[1] is Reason.NEIGHBOUR_ANSWERS


def test_one_port_alone_is_not_enough_to_call_it_a_stranger() -> None:
    assert told(judged({"I2": real("I2")}, None)["I2"])[0] is Outcome.REACHED
    two = judged({"I2": real("I2"), "I1": seen("I1", REFUSED)}, link(THERE))
    assert told(two["I2"])[0] is Outcome.REACHED


def test_loss_on_other_ports_does_not_touch_a_refusal() -> None:
    lossy = Timing(rtt_ms=1.0, repeats=2)
    evidence = all_ports(lambda row: emulated(row, timing=lossy)) | {"I3": seen("I3", REFUSED)}
    assert told(settled(evidence, link(THERE))["I3"])[:2] == (Outcome.CLOSED, Reason.PORT_CLOSED)


def test_what_the_far_roomprobe_plays_does_not_outweigh_the_stray_router() -> None:
    tries = (SourceTry(source="fd00:50::10", port=69, result="connected"),)
    evidence = all_ports(lambda row: seen(row, SILENT)) | {"I5": knowing("I5")}
    found = settled(evidence, routed(sources=tries), address=ROUTED)["I1"]
    assert told(found) == (Outcome.FILTERED, Reason.STRAY_ROUTER, Where.LAN)


def test_a_router_that_finds_nobody_outweighs_what_the_far_roomprobe_plays() -> None:
    gone = Connect(result="icmp", source="fd00:50::10", errors=(Icmp(type=1, code=3, offender="fd00:50::1"),))
    found = settled(all_ports(knowing) | {"I3": seen("I3", gone)}, routed(), address=ROUTED)["I3"]
    assert told(found)[:2] == (Outcome.UNANSWERED, Reason.NEIGHBOUR_SILENT)


def test_a_certificate_over_a_router_does_not_make_anothers_silence_a_filter() -> None:
    evidence = all_ports(lambda row: seen(row, SILENT)) | {"I2": real("I2")}
    assert told(settled(evidence, routed(), address=ROUTED)["I1"])[0] is Outcome.UNANSWERED


def test_the_control_api_decides_between_one_device_and_another_that_has_half() -> None:
    assert candidates.choose([device(1, *ALL), device(2, 443, 5000)], 23456, ()).chosen == "fe80::1%eth0"


def test_a_hold_that_some_ports_lost_is_not_told_of_all() -> None:
    some = judged(all_ports(emulated) | {"I1": emulated("I1", hold=None)}, None)
    assert (
        "All lasted" not in service(some).sentence
        and "All lasted 2 s without" in service(judged(all_ports(emulated), None)).sentence
    )
    noisy = msgspec.structs.replace(ALIVE, noisy=True)
    assert "All lasted 2 s." in service(judged(all_ports(lambda row: emulated(row, hold=noisy)), None)).sentence


def test_repeats_are_told_beside_what_works() -> None:
    lossy = judged(all_ports(lambda row: emulated(row, timing=Timing(rtt_ms=1.0, repeats=1))), None)
    assert "had to be repeated" in service(lossy).sentence
    assert "had to be repeated" not in service(judged(all_ports(emulated), None)).sentence


def test_an_interface_that_is_switched_off_is_not_one_without_ipv6() -> None:
    off = judged(all_ports(lambda row: seen(row, NO_NEIGHBOUR)), link(carrier=None, own=()))["I1"]
    assert (
        told(off) == (Outcome.FAULT, Reason.INTERFACE_DOWN, Where.THIS_BOX) and "switched off" in off.verdict.sentence
    )
    without = judged(all_ports(lambda row: seen(row, NO_NEIGHBOUR)), link(own=()))["I1"]
    assert told(without) == (Outcome.FAULT, Reason.NO_LINK_LOCAL, Where.THIS_BOX)


def test_a_refusal_may_mean_that_another_controller_is_served() -> None:
    result = judged(all_ports(lambda row: seen(row, REFUSED)), link(THERE))["I1"]
    assert told(result) == (Outcome.CLOSED, Reason.PORT_CLOSED, Where.FAR_END)
    assert "or it serves one controller only and has one" in result.verdict.sentence


def test_an_address_that_two_devices_have_is_told_and_nothing_else() -> None:
    macs = ("02:00:00:00:00:20", "02:00:00:00:00:21")
    evidence = all_ports(lambda row: emulated(row, emulator=LISTENING, macs=macs)) | {"I1": seen("I1", REFUSED)}
    results = settled(evidence, link(THERE))
    assert {told(r) for r in results.values()} == {(Outcome.UNANSWERED, Reason.ADDRESS_TWICE, Where.LAN)}
    assert all(mac in results["I1"].verdict.sentence for mac in macs)
    assert results["I1"].verdict.confidence is Confidence.NONE and results["I1"].verdict.hop is None
    once = settled(all_ports(lambda row: emulated(row, macs=macs[:1])), link(THERE))
    assert {r.verdict.outcome for r in once.values()} == {Outcome.OPEN}


def test_a_refusal_to_another_source_shows_that_it_works() -> None:
    tries = (SourceTry(source="fd00:50::10", port=69, result="refused"),)
    results = judged(all_ports(lambda row: seen(row, SILENT)), routed(sources=tries), address=ROUTED)
    assert told(results["I1"])[1] is Reason.STRAY_ROUTER


def test_a_source_that_another_port_answers_to_is_no_stray() -> None:
    tries = (SourceTry(source="fd00:50::10", port=69, result="connected"),)
    stray = Connect(result="connected", source="2001:db8:bad::10", source_port=40000)
    silent = Connect(result="timeout", source="2001:db8:bad::10")
    evidence = all_ports(lambda row: seen(row, silent)) | {"I5": seen("I5", stray)}
    results = judged(evidence, routed(sources=tries), address=ROUTED)
    assert told(results["I1"])[:2] == (Outcome.FILTERED, Reason.SIBLING_ANSWERS)


def test_an_end_after_the_hold_takes_nothing_back() -> None:
    assert told(judged({"I1": emulated("I1", closed="closed")}, None)["I1"])[0] is Outcome.OPEN


def test_a_real_codec_whose_hold_was_stopped_is_judged_by_the_rest() -> None:
    stopped = msgspec.structs.replace(real("I1"), hold=Hold(asked_s=60, after_s=3, end="stopped"))
    assert told(judged({"I1": stopped}, None)["I1"])[0] is Outcome.REACHED


def test_only_what_works_has_lasted() -> None:
    wrong = seen("I5", http_status=404, hold=ALIVE)
    results = judged(all_ports(lambda row: msgspec.structs.replace(real(row), hold=ALIVE)) | {"I5": wrong}, None)
    assert "lasted" not in results["I5"].verdict.sentence and "lasted 2 seconds" in results["I1"].verdict.sentence


def test_a_neighbour_that_the_kernel_does_not_find_is_told_without_a_look_at_the_link() -> None:
    local = Connect(result="icmp", source="fe80::10", errors=(Icmp(type=0, code=0, offender=None, local=True),))
    for failed in (NO_NEIGHBOUR, local):
        assert told(judged({"I1": seen("I1", failed)}, None)["I1"])[1] is Reason.NEIGHBOUR_SILENT


def test_a_neighbour_with_a_public_address_is_on_the_lan() -> None:
    public = "2001:db8:5::20"
    facts = msgspec.structs.replace(FACTS, networks=("2001:db8:5::10/64",))
    there = msgspec.structs.replace(THERE, address=public)
    evidence = all_ports(knowing) | {"I3": seen("I3", SILENT)}
    results = judged(evidence, link(there, address=public), address=public, facts=facts)
    found = {r.check.row: r for r in settle(tuple(results.values()), facts)}["I3"]
    assert told(found) == (Outcome.FILTERED, Reason.SIBLING_ANSWERS, Where.LAN)


def test_a_hole_of_two_sizes_names_both() -> None:
    blocks = Blocks(size=4096, up=False, down=False, largest_up=1400, largest_down=1300, sure=True)
    found = judged(all_ports(lambda row: emulated(row, blocks=blocks, hold=None)), None)["I1"].verdict.sentence
    assert "more than 1400 bytes to the codec" in found and "more than 1300 bytes from the codec" in found
