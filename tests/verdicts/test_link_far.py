"""A codec behind a router, and what a roomprobe at the far end adds: what its ports say of each other."""

from __future__ import annotations

import msgspec
import pytest

from roomprobe.evidence import Connect, Failure, Icmp, Timing
from roomprobe.follow import CONTROL_PORT, flows
from roomprobe.link.evidence import (
    ControllerEvidence,
    Hold,
    SourceTry,
)
from roomprobe.link.settle import settle
from roomprobe.outcome import Confidence, Outcome, Reason, State, Where
from tests.verdicts.linking import (
    ADVERTISED,
    CODEC,
    EMULATOR,
    FACTS,
    LISTENING,
    NO_NEIGHBOUR,
    OURS,
    OWN,
    REFUSED,
    ROUTED,
    SILENT,
    THERE,
    all_ports,
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


def test_another_source_works_so_the_stray_router_is_named() -> None:
    tries = (SourceTry(source="fd00:50::10", port=69, result="connected"),)
    results = judged(all_ports(lambda row: seen(row, SILENT)), routed(sources=tries), address=ROUTED)
    for result in results.values():
        assert told(result) == (Outcome.FILTERED, Reason.STRAY_ROUTER, Where.LAN)
        assert "fe80::bad" in result.verdict.sentence and "from its address fd00:50::10" in result.verdict.sentence


def test_a_way_by_a_router_that_advertised_itself_beside_another_is_suspect() -> None:
    results = judged(all_ports(lambda row: seen(row, SILENT)), routed(gateway="fe80::bad"), address=ROUTED)
    assert told(results["I1"]) == (Outcome.UNANSWERED, Reason.STRAY_ROUTER, Where.LAN)
    only = judged(
        all_ports(lambda row: seen(row, SILENT)), routed(gateway="fe80::bad", routers=(ADVERTISED,)), address=ROUTED
    )
    assert told(only["I1"])[1] is Reason.SILENCE


def test_no_route_is_this_box() -> None:
    failed = Connect(result="failure", failure=Failure(operation="connect", errno="ENETUNREACH", detail=""))
    results = judged(all_ports(lambda row: seen(row, failed)), routed(source=None, gateway=None), address=ROUTED)
    assert told(results["I1"]) == (Outcome.UNANSWERED, Reason.UNREACHABLE, Where.THIS_BOX)


def test_a_quiet_port_over_a_router_is_not_taken_for_the_codec() -> None:
    results = judged(all_ports(real), None, address=ROUTED)
    assert told(results["I1"])[:2] == (Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY)
    assert service(results).state is State.UNKNOWN


@pytest.mark.parametrize("address", [CODEC, ROUTED])
def test_the_far_roomprobe_listens_so_silence_is_stopped_on_the_way(address: str) -> None:
    between = link(THERE) if address == CODEC else routed()
    results = settled(all_ports(knowing) | {"I3": seen("I3", SILENT)}, between, address=address)
    verdict = results["I3"].verdict
    assert (verdict.outcome, verdict.confidence) == (Outcome.FILTERED, Confidence.INFERRED), verdict.sentence
    assert "listens on it" in verdict.sentence and verdict.where is Where.LAN
    assert service(results).state is State.BROKEN


@pytest.mark.parametrize("address", [CODEC, ROUTED])
def test_the_far_roomprobe_listens_so_a_refusal_is_forged_on_the_way(address: str) -> None:
    between = link(THERE) if address == CODEC else routed()
    verdict = settled(all_ports(knowing) | {"I3": seen("I3", REFUSED)}, between, address=address)["I3"].verdict
    assert (verdict.outcome, verdict.confidence, verdict.where) == (Outcome.REJECTED, Confidence.INFERRED, Where.LAN)


def test_a_port_that_the_far_roomprobe_does_not_play_is_closed() -> None:
    some = msgspec.structs.replace(EMULATOR, listening=(69, 443, 5152, 23456))
    evidence = all_ports(lambda row: emulated(row, emulator=some)) | {"I3": seen("I3", REFUSED)}
    verdict = settled(evidence, link(THERE))["I3"].verdict
    assert (verdict.outcome, verdict.where) == (Outcome.CLOSED, Where.FAR_END) and "--ports" in verdict.sentence


def test_a_far_roomprobe_that_does_not_say_what_it_plays_proves_nothing_more() -> None:
    verdict = settled(all_ports(emulated) | {"I3": seen("I3", SILENT)}, link(THERE))["I3"].verdict
    assert (verdict.outcome, verdict.confidence) == (Outcome.FILTERED, Confidence.INFERRED)


def test_a_routed_codecs_own_api_makes_another_ports_silence_a_filter() -> None:
    verdict = settled(all_ports(real) | {"I2": seen("I2", SILENT)}, routed(), address=ROUTED)["I2"].verdict
    assert (verdict.outcome, verdict.confidence) == (Outcome.FILTERED, Confidence.INFERRED)
    assert "or in the codec itself" in verdict.sentence


def test_a_routed_refusal_may_be_the_last_routers() -> None:
    results = judged(all_ports(real) | {"I3": seen("I3", REFUSED)}, None, address=ROUTED)
    closed = msgspec.structs.replace(results["I3"].verdict, outcome=Outcome.CLOSED, reason=Reason.PORT_CLOSED)
    results["I3"] = msgspec.structs.replace(results["I3"], verdict=closed)
    verdict = {r.check.row: r for r in settle(tuple(results.values()), FACTS)}["I3"].verdict
    assert (verdict.outcome, verdict.where) == (Outcome.REFUSED, Where.UNKNOWN)


def test_a_router_that_finds_nobody_speaks_of_the_codec() -> None:
    gone = Connect(result="icmp", source="fd00:50::10", errors=(Icmp(type=1, code=3, offender="fd00:50::1"),))
    results = settled(all_ports(lambda row: seen(row, gone)), routed(), address=ROUTED)
    assert told(results["I1"]) == (Outcome.UNANSWERED, Reason.NEIGHBOUR_SILENT, Where.FAR_END)
    assert "fd00:50::1 says that nobody answers" in results["I1"].verdict.sentence


def test_loss_that_hits_one_held_connection_is_no_idle_timeout() -> None:
    lost = Hold(asked_s=60, after_s=61, end="silent", again="same", far_side="open")
    lossy = Timing(rtt_ms=1.0, repeats=3)
    results = settled(all_ports(emulated) | {"I1": emulated("I1", hold=lost, timing=lossy)}, None)
    assert told(results["I1"])[:2] == (Outcome.UNANSWERED, Reason.LOSS)
    clean = settled(all_ports(emulated) | {"I1": emulated("I1", hold=lost, timing=Timing(rtt_ms=1.0))}, None)
    assert told(clean["I1"])[:2] == (Outcome.FILTERED, Reason.IDLE_TIMEOUT)
    every = settled(all_ports(lambda row: emulated(row, hold=lost, timing=lossy)), None)
    assert {told(r)[1] for r in every.values()} == {Reason.IDLE_TIMEOUT}


def test_a_routed_codec_that_is_silent_everywhere_is_not_called_filtered() -> None:
    results = settled(all_ports(lambda row: seen(row, SILENT)), routed(), address=ROUTED)
    assert {told(r)[0] for r in results.values()} == {Outcome.UNANSWERED}


def test_a_gateway_that_cannot_be_found_is_not_the_codec() -> None:
    results = judged(all_ports(lambda row: seen(row, NO_NEIGHBOUR)), None, address=ROUTED)
    assert told(results["I1"]) == (Outcome.UNANSWERED, Reason.UNREACHABLE, Where.THIS_BOX)


def flows_of(evidence: dict[str, ControllerEvidence], address: str) -> dict[str, list[tuple[str, int, str]]]:
    found = flows(tuple(judged(evidence, None, address=address).values()), FACTS)
    return {target: [(f.transport, f.port, f.role) for f in specs] for target, specs in found.items()}


def test_no_path_is_followed_to_a_neighbour() -> None:
    assert flows_of(all_ports(lambda row: seen(row, SILENT)), CODEC) == {}


def test_a_real_codecs_open_ports_are_not_connected_to_again() -> None:
    assert flows_of(all_ports(real), ROUTED) == {}
    silent = flows_of(all_ports(real) | {"I2": seen("I2", SILENT)}, ROUTED)
    assert silent == {ROUTED: [("tcp", 443, "suspect"), ("udp", CONTROL_PORT, "control")]}


def test_an_emulators_open_port_is_the_control() -> None:
    silent = flows_of(all_ports(emulated) | {"I2": seen("I2", SILENT)}, ROUTED)
    assert silent == {ROUTED: [("tcp", 443, "suspect"), ("tcp", 69, "control")]}


def test_a_port_that_was_not_asked_this_time_is_the_control_unless_it_is_a_real_codecs() -> None:
    standing = tuple(judged(all_ports(emulated), None, address=ROUTED).values())[1:]
    other = msgspec.structs.replace(standing[0], check=msgspec.structs.replace(standing[0].check, kind="tls"))
    first = tuple(judged({"I1": seen("I1", SILENT)}, None, address=ROUTED).values())
    shut = msgspec.structs.replace(other, verdict=msgspec.structs.replace(other.verdict, outcome=Outcome.UNANSWERED))
    ports = [[f.port for f in flows(first, FACTS, known)[ROUTED]] for known in (standing, (other,), (shut,))]
    assert ports == [[69, CONTROL_PORT], [69, 443], [69, CONTROL_PORT, 443]]


def test_a_source_of_our_own_that_a_rule_drops_is_no_stray_router() -> None:
    tries = (SourceTry(source="fd00:50::10", port=69, result="connected"),)
    results = judged(
        all_ports(lambda row: seen(row, SILENT)), routed(sources=tries, own=OWN, routers=(OURS,)), address=ROUTED
    )
    assert told(results["I1"]) == (Outcome.FILTERED, Reason.SIBLING_ANSWERS, Where.LAN)
    assert "drops the one source" in results["I1"].verdict.sentence


def test_loss_is_not_taken_for_a_port_filter() -> None:
    lossy = Timing(rtt_ms=1.0, repeats=2)
    evidence = all_ports(lambda row: emulated(row, emulator=LISTENING, timing=lossy)) | {"I3": seen("I3", SILENT)}
    assert told(settled(evidence, link(THERE))["I3"])[:2] == (Outcome.UNANSWERED, Reason.LOSS)
