"""The controller link judged on hand-made evidence: the tables of docs/probes/controller.md, line by line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from roomprobe.evidence import Certificate, Connect, Failure, Icmp, Timing
from roomprobe.facts import Facts
from roomprobe.follow import CONTROL_PORT, flows
from roomprobe.link import candidates, diagnosis
from roomprobe.link.evidence import (
    Api,
    Blocks,
    Candidate,
    ControllerEvidence,
    Emulator,
    Hold,
    LinkEvidence,
    Near,
    OwnAddress,
    Router,
    SourceTry,
)
from roomprobe.link.settle import settle
from roomprobe.model import Check, Host, Profile, Requirement, Result, Service, ServiceSpec
from roomprobe.outcome import Confidence, Need, Outcome, Reason, State, Where
from roomprobe.probes import controller
from roomprobe.rollup import services

CODEC = "fe80::20%eth0"
ROUTED = "fd00:60::20"
PORTS = {
    "I1": (69, "listen"),
    "I2": (443, "tls"),
    "I3": (5000, "listen"),
    "I4": (5152, "listen"),
    "I5": (23456, "auth"),
}
FACTS = Facts(addresses=("fe80::10", "fd00:50::10"), networks=("fe80::10/64", "fd00:50::10/64"))
OWN = (
    OwnAddress(address="fe80::10", prefix=64, usable=True),
    OwnAddress(address="fd00:50::10", prefix=64, usable=True),
)
THERE = Near(address=CODEC, mac="02:00:00:00:00:20", state="reachable", router=False, confirmed_s=1.0)
GONE = Near(address=CODEC, mac=None, state="failed", router=False)
HOST = Near(address="fe80::30%eth0", mac="02:00:00:00:00:30", state="reachable", router=False, confirmed_s=1.0)
ROUTER = Near(address="fe80::1%eth0", mac="02:00:00:00:00:01", state="reachable", router=True, confirmed_s=1.0)
LOST_ROUTER = msgspec.structs.replace(ROUTER, state="failed")
LOST_HOST = msgspec.structs.replace(HOST, state="failed")
OLD_HOST = msgspec.structs.replace(HOST, state="stale", confirmed_s=60.0)
EMULATOR = Emulator(instance="0" * 16, connection=1, version="0.1", seen_address="fe80::10", seen_port=40000)
BOTH = Blocks(size=4096, up=True, down=True)
ALIVE = Hold(asked_s=2, after_s=2, end="alive")
CERTIFICATE = Certificate(sha256="ab" * 32, subject="CN=5141", issuer="CN=5141", names=(), not_before="", not_after="")
NO_NEIGHBOUR = Connect(result="failure", failure=Failure(operation="connect", errno="EHOSTUNREACH", detail=""))


def seen(row: str, result: str | Connect = "connected", **more: Any) -> ControllerEvidence:
    result = more.pop("connect", result)
    connect = result if isinstance(result, Connect) else Connect(result=result, source="fe80::10", source_port=40000)
    stage = "connected" if connect.result == "connected" else "connect"
    return ControllerEvidence(connect=connect, ask=PORTS[row][1], **{"stage": stage, **more})


def emulated(row: str, **more: Any) -> ControllerEvidence:
    return seen(row, **{"emulator": EMULATOR, "blocks": BOTH, "hold": ALIVE, **more})


def real(row: str) -> ControllerEvidence:
    """A real 5141's port."""
    return {
        "tls": lambda: seen(row, certificate=CERTIFICATE, tls_stage="established", stage="answered"),
        "auth": lambda: seen(row, http_status=200, api=Api(documented=True, iterations=1000), stage="answered"),
        "listen": lambda: seen(row),
    }[PORTS[row][1]]()


def link(*near: Near, **more: Any) -> LinkEvidence:
    fields = {
        "interface": "eth0",
        "gateway": None,
        "source": "fe80::10",
        "carrier": True,
        "own": OWN,
        "near": near,
        "since_s": 5.0,
    }
    return LinkEvidence(**{"address": CODEC, **fields, **more})


def judged(
    evidence: dict[str, ControllerEvidence], between: LinkEvidence | None, *, address: str = CODEC, facts: Facts = FACTS
) -> dict[str, Result]:
    first = []
    for row, one in evidence.items():
        check = Check(
            id=row,
            profile="teamline-5141",
            row=row,
            purpose=row,
            document="",
            services=("touch-controller",),
            need=Need.REQUIRED,
            kind="controller",
            transport="tcp",
            address=address,
            port=PORTS[row][0],
            params={"ask": [PORTS[row][1]]},
        )
        first.append(Result(check=check, evidence=one, verdict=controller.judge(check, one, facts)))
    done = diagnosis.refine_all(first, {} if between is None else {address: between})
    return {r.check.row: r for r in done}


def all_ports(make: Any) -> dict[str, ControllerEvidence]:
    return {row: make(row) for row in PORTS}


def service(results: dict[str, Result]) -> Service:
    rows = tuple(
        Requirement(
            id=r,
            purpose=r,
            document="d",
            services=("touch-controller",),
            need=Need.REQUIRED,
            kind="controller",
            port=PORTS[r][0],
        )
        for r in PORTS
    )
    spec = (ServiceSpec(id="touch-controller", title="Touch controller"),)
    profile = Profile(
        schema=1, id="teamline-5141", title="5141", version="1", documents={"d": "d"}, service=spec, row=rows
    )
    return services(profile, tuple(results.values()), (), Host(), FACTS)[0]


def told(result: Result) -> tuple[Outcome, Reason, Where | None]:
    return result.verdict.outcome, result.verdict.reason, result.verdict.where


def test_the_emulator_on_all_ports_is_full_and_proven() -> None:
    results = judged(all_ports(emulated), None)
    assert {told(r) for r in results.values()} == {(Outcome.OPEN, Reason.ANSWERED, None)}
    found = service(results)
    assert (found.state, found.confidence) == (State.FULL, Confidence.PROVEN)
    assert "roomprobe that plays the codec" in found.sentence and "Quality" not in found.sentence


def test_a_real_codec_is_full_and_inferred_and_says_what_was_not_shown() -> None:
    results = judged(all_ports(real), None)
    assert told(results["I5"]) == (Outcome.OPEN, Reason.ANSWERED, None)
    assert told(results["I2"]) == (Outcome.REACHED, Reason.ANSWERED, None)
    assert told(results["I1"]) == (Outcome.REACHED, Reason.HANDSHAKE_ONLY, None)
    found = service(results)
    assert (found.state, found.confidence) == (State.FULL, Confidence.INFERRED)
    assert "TCP 69, 5000 and 5152 take connections" in found.sentence


def test_a_certificate_that_changed_is_met_and_said() -> None:
    facts = msgspec.structs.replace(FACTS, certificates={"fe80::20": "cd" * 32})
    results = judged(all_ports(real), None, facts=facts)
    assert told(results["I2"]) == (Outcome.REACHED, Reason.CERTIFICATE_CHANGED, None)
    assert service(results).state is State.FULL
    same = msgspec.structs.replace(FACTS, certificates={"fe80::20": "ab" * 32})
    assert told(judged(all_ports(real), None, facts=same)["I2"])[1] is Reason.ANSWERED


REFUSED, SILENT = Connect(result="refused", source="fe80::10"), Connect(result="timeout", source="fe80::10")
ABSENT = [
    ((GONE, HOST, ROUTER), {}, Outcome.UNANSWERED, Where.FAR_END, "other devices here do"),
    ((GONE, ROUTER), {}, Outcome.UNANSWERED, Where.UNKNOWN, "The router fe80::1%eth0 does"),
    (
        (GONE, LOST_ROUTER),
        {"gateway4": "reachable", "gateway4_confirmed_s": 2.0},
        Outcome.FILTERED,
        Where.LAN,
        "which does answer over IPv4",
    ),
    (
        (GONE, LOST_ROUTER),
        {"gateway4": "reachable", "gateway4_confirmed_s": 20.0},
        Outcome.UNANSWERED,
        Where.UNKNOWN,
        "which of them cannot be told",
    ),
    ((GONE,), {}, Outcome.UNANSWERED, Where.UNKNOWN, "no other device here answers by IPv6"),
    # a neighbour that is lost is no router that is lost
    (
        (GONE, LOST_HOST),
        {"gateway4": "reachable", "gateway4_confirmed_s": 2.0},
        Outcome.UNANSWERED,
        Where.UNKNOWN,
        "no other device here answers",
    ),
    # an old entry is alive when it has answered an echo or a datagram
    ((GONE, OLD_HOST), {"heard": (OLD_HOST.address,)}, Outcome.UNANSWERED, Where.FAR_END, "other devices here do"),
    ((GONE, OLD_HOST), {}, Outcome.UNANSWERED, Where.UNKNOWN, "no other device here answers"),
    ((GONE,), {"elsewhere": ("eth1",)}, Outcome.UNANSWERED, Where.THIS_BOX, "--codec fe80::20%eth1"),
]


@pytest.mark.parametrize(("near", "more", "outcome", "where", "words"), ABSENT)
def test_nobody_answers_neighbour_discovery(near, more, outcome, where, words) -> None:
    results = judged(all_ports(lambda row: seen(row, NO_NEIGHBOUR)), link(*near, **more))
    for result in results.values():
        assert told(result) == (outcome, Reason.NEIGHBOUR_SILENT, where), result.verdict.sentence
        assert words in result.verdict.sentence
    state = State.BROKEN if outcome is Outcome.FILTERED else State.UNKNOWN
    found = service(results)
    assert (found.state, found.where) == (state, where)
    assert "The same goes for TCP 443, 5000, 5152 and 23456." in found.sentence


def test_the_kernels_own_unreachable_message_is_the_same() -> None:
    own = Connect(result="icmp", source="fe80::10", errors=(Icmp(type=1, code=3, offender="fe80::10%eth0"),))
    results = judged(all_ports(lambda row: seen(row, own)), link(GONE, HOST))
    assert told(results["I1"]) == (Outcome.UNANSWERED, Reason.NEIGHBOUR_SILENT, Where.FAR_END)


NO_OWN = [
    ({"own": ()}, Outcome.FAULT, Reason.NO_LINK_LOCAL, Where.THIS_BOX, "IPv6 is switched off"),
    (
        {"own": (OwnAddress(address="fe80::10", prefix=64, usable=False, failed=True),)},
        Outcome.FAULT,
        Reason.NO_LINK_LOCAL,
        Where.THIS_BOX,
        "in use by another device",
    ),
    ({"carrier": False}, Outcome.UNANSWERED, Reason.NO_CARRIER, Where.JACK, "Check the cable"),
]


@pytest.mark.parametrize(("more", "outcome", "reason", "where", "words"), NO_OWN)
def test_this_box_itself(more, outcome, reason, where, words) -> None:
    failed = Connect(result="failure", failure=Failure(operation="connect", errno="EADDRNOTAVAIL", detail=""))
    result = judged(all_ports(lambda row: seen(row, failed)), link(**more))["I1"]
    assert told(result) == (outcome, reason, where), result.verdict.sentence
    assert words in result.verdict.sentence


@pytest.mark.parametrize("row", PORTS)
def test_one_port_is_silent_and_the_rest_is_not(row: str) -> None:
    evidence = all_ports(emulated) | {row: seen(row, SILENT)}
    results = judged(evidence, link(THERE))
    assert told(results[row]) == (Outcome.FILTERED, Reason.SIBLING_ANSWERS, Where.LAN)
    assert {told(r)[0] for name, r in results.items() if name != row} == {Outcome.OPEN}
    found = service(results)
    assert (found.state, found.where) == (State.BROKEN, Where.LAN)
    assert f"TCP {PORTS[row][0]} gets no answer" in found.sentence and "work." in found.sentence


def test_every_port_is_silent_while_the_device_is_there() -> None:
    results = judged(all_ports(lambda row: seen(row, SILENT)), link(THERE))
    assert {told(r) for r in results.values()} == {(Outcome.FILTERED, Reason.NEIGHBOUR_ANSWERS, Where.LAN)}
    assert service(results).confidence is Confidence.INFERRED


def test_every_port_is_refused_by_the_device() -> None:
    results = judged(all_ports(lambda row: seen(row, REFUSED)), link(THERE))
    assert {told(r) for r in results.values()} == {(Outcome.CLOSED, Reason.PORT_CLOSED, Where.FAR_END)}


def test_a_refusal_says_nothing_of_the_network_when_the_link_was_not_looked_at() -> None:
    results = judged(all_ports(lambda row: seen(row, REFUSED)), None)
    assert {told(r)[0] for r in results.values()} == {Outcome.REFUSED}
    assert service(results).state is State.UNKNOWN


def test_a_web_server_in_the_codecs_place() -> None:
    evidence = all_ports(lambda row: seen(row, REFUSED)) | {
        "I2": seen("I2", certificate=CERTIFICATE, http_status=200, server="nginx", stage="answered")
    }
    results = judged(evidence, link(THERE))
    assert told(results["I2"]) == (Outcome.INTERCEPTED, Reason.NOT_A_CODEC, Where.FAR_END)
    assert "nginx" in results["I2"].verdict.sentence
    assert service(results).state is State.BROKEN and "no 5141" in service(results).sentence


MEASURED = [
    (
        {"blocks": Blocks(size=4096, up=False, down=True, largest_up=1400, sure=True), "hold": None},
        Outcome.FILTERED,
        Reason.MTU_BLACK_HOLE,
        "more than 1400 bytes to the codec",
    ),
    (
        {
            "blocks": Blocks(size=4096, up=False, down=False, largest_up=1280, largest_down=1280, sure=True),
            "hold": None,
        },
        Outcome.FILTERED,
        Reason.MTU_BLACK_HOLE,
        "more than 1280 bytes to the codec and from the codec",
    ),
    (
        {"blocks": Blocks(size=4096, up=False, down=True, largest_up=1400)},
        Outcome.UNANSWERED,
        Reason.LOSS,
        "packets are lost",
    ),
    ({"blocks": Blocks(size=4096)}, Outcome.UNANSWERED, Reason.LOSS, "got no right answer in time"),
    (
        {"hold": Hold(asked_s=60, after_s=20, end="reset", again="refused")},
        Outcome.UNANSWERED,
        Reason.RESET,
        "refused or ended since",
    ),
    (
        {"hold": Hold(asked_s=60, after_s=20, end="silent", again="silent")},
        Outcome.UNANSWERED,
        Reason.SILENCE,
        "answers on no new connection",
    ),
    (
        {"hold": Hold(asked_s=60, after_s=61, end="silent", again="same", far_side="open")},
        Outcome.FILTERED,
        Reason.IDLE_TIMEOUT,
        "does not last 60 s",
    ),
    (
        {"hold": Hold(asked_s=60, after_s=61, end="reset", again="same", far_side="open")},
        Outcome.REJECTED,
        Reason.IDLE_TIMEOUT,
        "reset on the way",
    ),
    (
        {"hold": Hold(asked_s=60, after_s=20, end="reset", again="restarted")},
        Outcome.UNANSWERED,
        Reason.CODEC_RESTARTED,
        "restarted 20 s into the hold",
    ),
    (
        {"hold": Hold(asked_s=60, after_s=20, end="closed", again="same", far_side="closed")},
        Outcome.UNANSWERED,
        Reason.IDLE_TIMEOUT,
        "Cannot tell",
    ),
    (
        {"hold": Hold(asked_s=60, after_s=61, end="silent", again="same", far_side="closed")},
        Outcome.UNANSWERED,
        Reason.IDLE_TIMEOUT,
        "Cannot tell",
    ),
    (
        {"hold": Hold(asked_s=60, after_s=20, end="silent", again="silent")},
        Outcome.UNANSWERED,
        Reason.SILENCE,
        "switched off",
    ),
]


@pytest.mark.parametrize(("more", "outcome", "reason", "words"), MEASURED)
def test_what_only_the_emulator_can_show(more, outcome, reason, words) -> None:
    result = judged(all_ports(emulated) | {"I5": emulated("I5", **more)}, link(THERE))["I5"]
    assert told(result)[:2] == (outcome, reason), result.verdict.sentence
    assert words in result.verdict.sentence


NOT_A_CODEC = [
    ("I5", {"http_status": 404, "server": "nginx"}, Reason.NOT_A_CODEC),
    ("I5", {"http_status": 401, "api": Api(documented=True)}, Reason.NOT_A_CODEC),
    ("I5", {"banner": "53534821"}, Reason.NOT_A_CODEC),
    ("I5", {"closed": "reset"}, Reason.CODEC_BUSY),
    ("I5", {}, Reason.HANDSHAKE_ONLY),
    ("I2", {"not_tls": True}, Reason.NOT_TLS),
    ("I2", {"closed": "closed"}, Reason.CODEC_BUSY),
    ("I2", {}, Reason.HANDSHAKE_ONLY),
    ("I1", {"closed": "closed"}, Reason.CODEC_BUSY),
]


@pytest.mark.parametrize(("row", "more", "reason"), NOT_A_CODEC)
def test_an_answer_that_is_not_a_codecs_is_never_fine_and_never_blocked(row, more, reason) -> None:
    result = judged(all_ports(real) | {row: seen(row, **more)}, link(THERE))[row]
    assert told(result)[:2] == (Outcome.UNANSWERED, reason), result.verdict.sentence
    assert result.verdict.confidence is Confidence.NONE


CUT = Api(documented=False, problem="unfinished")
PIECES = [
    ("I2", {"stage": "answered"}, "begins to answer in TLS, but the handshake did not come to an end"),
    ("I2", {"stage": "answered", "closed": "closed"}, "begins to answer in TLS, but the handshake was closed"),
    ("I5", {"http_status": 200, "api": CUT}, "the rest did not come in time"),
    ("I5", {"http_status": 200, "api": CUT, "closed": "reset"}, "was reset before the rest of it"),
    ("I1", {"closed": "closed", "named_emulator": True}, "is closed before the exchange is over"),
]


@pytest.mark.parametrize(("row", "more", "words"), PIECES)
def test_an_answer_in_pieces_is_told_as_one(row: str, more: dict[str, Any], words: str) -> None:
    result = judged(all_ports(real) | {row: seen(row, **more)}, None)[row]
    assert result.verdict.outcome is Outcome.UNANSWERED and words in result.verdict.sentence, result.verdict.sentence


def test_a_held_real_codec_that_ends_the_connection_is_not_called_a_fault_of_the_network() -> None:
    for end in ("closed", "reset", "silent"):
        held = seen("I1", hold=Hold(asked_s=30, after_s=3, end=end))
        result = judged(all_ports(real) | {"I1": held}, link(THERE))["I1"]
        assert result.verdict.outcome is Outcome.UNANSWERED and result.verdict.confidence is Confidence.NONE


ADVERTISED = Router(address="fe80::bad", interface="eth0", advertised=True, metric=1024)
OURS = Router(address="fe80::1", interface="eth0", advertised=False, metric=1024)


STRAY = OwnAddress(address="2001:db8:bad::10", prefix=64, usable=True, dynamic=True)


def routed(**more: Any) -> LinkEvidence:
    return link(
        **{
            "address": ROUTED,
            "gateway": "fe80::1",
            "source": "2001:db8:bad::10",
            "own": (*OWN, STRAY),
            "routers": (OURS, ADVERTISED),
            **more,
        }
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


ALL = (69, 443, 5000, 5152, 23456)


def device(number: int, *ports: int, **more: Any) -> Candidate:
    address = more.pop("address", f"fe80::{number}%eth0")
    return Candidate(address=address, mac=f"02:00:00:00:00:{number:02x}", open=ports, **more)


def test_the_only_device_that_answers_like_a_codec_is_taken_and_said() -> None:
    found = candidates.choose([device(1), device(2, 443), device(3, *ALL)], 23456, ())
    assert found.chosen == "fe80::3%eth0" and found.reason is None
    assert "found by itself" in found.sentence and "3 neighbours" in found.sentence
    assert candidates.choose([device(1, 23456)], 23456, ()).chosen == "fe80::1%eth0"
    assert candidates.choose([device(1, 69, 5000, 5152)], 23456, ()).chosen == "fe80::1%eth0"


def test_one_device_with_two_addresses_is_one_device() -> None:
    both = [device(3, *ALL, address="fd00:50::3"), device(3, *ALL)]
    assert candidates.choose(both, 23456, ()).chosen == "fe80::3%eth0"


def test_two_codecs_are_asked_about() -> None:
    found = candidates.choose([device(1, *ALL), device(2, *ALL)], 23456, ())
    assert (found.chosen, found.reason) == (None, Reason.SEVERAL_CODECS)
    assert "fe80::1%eth0" in found.sentence and "fe80::2%eth0" in found.sentence and "--codec" in found.sentence
    verdict = candidates.unfound(found)
    assert (verdict.outcome, verdict.confidence) == (Outcome.UNANSWERED, Confidence.NONE)


@pytest.mark.parametrize(
    ("asked", "words"), [([], "no neighbour"), ([device(1)], "none answers"), ([device(1, 443)], "not like one")]
)
def test_no_codec_is_never_a_guess(asked, words) -> None:
    found = candidates.choose(asked, 23456, ("eth0: not allowed.",))
    assert (found.chosen, found.reason) == (None, Reason.NO_CODEC)
    assert words in found.sentence
    assert any("not allowed" in note for note in candidates.notes(found))


# The last word: what the ports of one codec say of each other (link/settle.py)

LISTENING = msgspec.structs.replace(EMULATOR, listening=tuple(port for port, _ in PORTS.values()))


def settled(evidence: dict[str, ControllerEvidence], between: LinkEvidence | None, **more: Any) -> dict[str, Result]:
    return {r.check.row: r for r in settle(tuple(judged(evidence, between, **more).values()), FACTS)}


def knowing(row: str) -> ControllerEvidence:
    return emulated(row, emulator=LISTENING)


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


def test_a_source_of_our_own_that_a_rule_drops_is_no_stray_router() -> None:
    tries = (SourceTry(source="fd00:50::10", port=69, result="connected"),)
    results = judged(
        all_ports(lambda row: seen(row, SILENT)), routed(sources=tries, own=OWN, routers=(OURS,)), address=ROUTED
    )
    assert told(results["I1"]) == (Outcome.FILTERED, Reason.SIBLING_ANSWERS, Where.LAN)
    assert "drops the one source" in results["I1"].verdict.sentence


def test_a_neighbour_known_from_before_is_no_proof_of_now() -> None:
    old = msgspec.structs.replace(THERE, confirmed_s=20.0)
    results = judged(all_ports(lambda row: seen(row, SILENT)), link(old, HOST))
    assert told(results["I1"]) == (Outcome.UNANSWERED, Reason.NEIGHBOUR_SILENT, Where.UNKNOWN)
    assert "a moment ago" in results["I1"].verdict.sentence
    others = msgspec.structs.replace(HOST, confirmed_s=20.0)
    alone = judged(all_ports(lambda row: seen(row, NO_NEIGHBOUR)), link(GONE, others))
    assert "no other device here answers" in alone["I1"].verdict.sentence
    echoed = judged(all_ports(lambda row: seen(row, SILENT)), link(old, echoed=True))
    assert told(echoed["I1"])[1] is Reason.NEIGHBOUR_ANSWERS


def test_loss_is_not_taken_for_a_port_filter() -> None:
    lossy = Timing(rtt_ms=1.0, repeats=2)
    evidence = all_ports(lambda row: emulated(row, emulator=LISTENING, timing=lossy)) | {"I3": seen("I3", SILENT)}
    assert told(settled(evidence, link(THERE))["I3"])[:2] == (Outcome.UNANSWERED, Reason.LOSS)


def test_a_device_that_refuses_the_control_api_is_no_codec() -> None:
    nas = device(1, 443, 5000, 5152, refused=(69, 23456))
    found = candidates.choose([nas, device(2, 443, 5000)], 23456, ())
    assert (found.chosen, found.reason) == (None, Reason.NO_CODEC)
    found = candidates.choose([device(1, 69, 443, 5000), device(2, 443, 5000)], 23456, ())
    assert (found.chosen, found.reason) == (None, Reason.SEVERAL_CODECS)


def test_no_choice_is_made_while_some_were_not_asked() -> None:
    found = candidates.choose([device(1, *ALL)], 23456, (), unasked=8)
    assert (found.chosen, found.reason) == (None, Reason.SEVERAL_CODECS) and "8 more devices" in found.sentence
    assert "8 more devices" in candidates.choose([device(1)], 23456, (), unasked=8).sentence


def test_this_very_box_is_no_codec() -> None:
    own = Connect(result="connected", source="fe80::20%eth0", source_port=40000)
    results = judged(all_ports(lambda row: emulated(row, connect=own)), None)
    assert told(results["I1"]) == (Outcome.UNANSWERED, Reason.ADDRESS_UNUSABLE, Where.THIS_BOX)


def test_what_was_not_tried_is_said_beside_what_works() -> None:
    some = judged({"I2": emulated("I2")}, None)
    assert "Only TCP 443 was tried" in service(some).sentence and "All ports" not in service(some).sentence
    moved = judged(all_ports(emulated), None)
    assert "moved" not in service(moved).sentence
    shifted = {
        row: msgspec.structs.replace(r, check=msgspec.structs.replace(r.check, port=(r.check.port or 0) + 1000))
        for row, r in moved.items()
    }
    found = service(shifted)
    assert "moved by 1000" in found.sentence and found.confidence is Confidence.INFERRED
