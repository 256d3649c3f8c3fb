"""The controller link judged on hand-made evidence: the tables of docs/probes/controller.md, line by line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from roomprobe.evidence import Connect, Failure, Icmp
from roomprobe.link.evidence import (
    Api,
    Blocks,
    Hold,
    OwnAddress,
)
from roomprobe.outcome import Confidence, Outcome, Reason, State, Where
from tests.verdicts.linking import (
    CERTIFICATE,
    FACTS,
    GONE,
    HOST,
    LOST_HOST,
    LOST_ROUTER,
    NO_NEIGHBOUR,
    OLD_HOST,
    PORTS,
    REFUSED,
    ROUTER,
    SILENT,
    THERE,
    all_ports,
    emulated,
    judged,
    link,
    real,
    seen,
    service,
    told,
)


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
