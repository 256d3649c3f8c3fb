"""The product against UDP that is open, silent, dropped, refused and forged (rows F3-F7)."""

from __future__ import annotations

import sys

import pytest

from . import faults, peers
from .network import Lab
from .procs import Spec
from .scenario import UDP_ROWS, calls, contains, interval, only, told, udp_outcomes

CONFIG = {"site": {"prefixes": ["192.168.50.0/24"]}}


@pytest.fixture
def lab(narrow_lab: Lab) -> Lab:
    """IPv4 only, one address a name."""
    return narrow_lab


def test_all_open_and_answering(lab: Lab) -> None:
    run = lab.roomprobe()
    calls(run, "full", transport="udp/24704")
    assert udp_outcomes(run) == {"open"} and run.returncode == 0, told(run)


def test_all_open_and_silent_passes(lab: Lab) -> None:
    peers.udp(lab, answer=(), silent=faults.TUNNEL_PORTS)
    run = lab.roomprobe()
    calls(run, "full", transport="udp/24704", confidence="inferred")
    assert udp_outcomes(run) == {"passes"} and run.returncode == 0, told(run)
    assert only(run, "F3")["hop"]["last_answering"]["address"] == lab.hop_address("core")


def test_only_123_open(lab: Lab) -> None:
    faults.only_udp(lab, "fw", ports=(53, 123))
    run = lab.roomprobe()
    calls(run, "full", transport="udp/123")
    assert only(run, "F7")["outcome"] == "open", told(run)
    assert udp_outcomes(run, UDP_ROWS[:4]) == {"filtered"}, told(run)


def test_123_redirected_to_a_local_time_server_is_native_only(lab: Lab) -> None:
    peers.ntp(lab, "fw")
    faults.ntp_redirect(lab, "fw")
    faults.udp_drop(lab, "fw")
    run = lab.roomprobe()
    calls(run, "degraded", transport="tcp/443")
    check = only(run, "F7")
    assert check["reason"] == "native-only" and check["outcome"] != "open", told(run)
    assert check["hop"]["sender"]["distance"] == lab.hop("fw"), told(run)


@pytest.mark.parametrize("answering", [True, False])
@pytest.mark.parametrize("drop", [faults.udp_drop, faults.udp_drop_early])
@pytest.mark.parametrize("router", ["fw", "isp"])
def test_udp_dropped(lab: Lab, router: str, drop, answering: bool) -> None:
    if not answering:
        peers.udp(lab, answer=(), silent=faults.TUNNEL_PORTS)
    drop(lab, router)
    run = lab.roomprobe()
    calls(run, "degraded", transport="tcp/443")
    assert udp_outcomes(run) == {"filtered"} and run.returncode == 1, told(run)
    assert all(contains(only(run, row), lab, router) for row in UDP_ROWS), told(run)


def test_udp_dropped_at_core_in_front_of_a_silent_far_end_passes(lab: Lab) -> None:
    peers.udp(lab, answer=(), silent=faults.TUNNEL_PORTS)
    faults.udp_drop(lab, "core")
    run = lab.roomprobe()
    calls(run, "full", confidence="inferred")
    assert udp_outcomes(run) == {"passes"}, told(run)
    assert "unknown" in only(run, "F3")["sentence"]


def test_udp_dropped_early_at_core_is_seen(lab: Lab) -> None:
    peers.udp(lab, answer=(), silent=faults.TUNNEL_PORTS)
    faults.udp_drop_early(lab, "core")
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"filtered"}, told(run)
    assert interval(only(run, "F3")) == (lab.hop("isp"), lab.hop("core"))


def test_udp_dropped_at_core_beside_an_answering_sibling_is_filtered(lab: Lab) -> None:
    faults.udp_drop(lab, "core", ports=faults.TUNNEL_PORTS[:4])
    run = lab.roomprobe()
    calls(run, "full", transport="udp/123")
    assert udp_outcomes(run, UDP_ROWS[:4]) == {"filtered"}, told(run)
    assert only(run, "F3")["confidence"] == "inferred"


def test_silent_routers_make_it_unknown(lab: Lab) -> None:
    faults.udp_drop(lab, "core")
    faults.no_time_exceeded(lab)
    run = lab.roomprobe()
    calls(run, "unknown", at_least="degraded")
    assert udp_outcomes(run) == {"unanswered"} and run.returncode == 3, told(run)


@pytest.mark.parametrize("router", ["fw", "isp"])
def test_admin_prohibited_names_its_sender(lab: Lab, router: str) -> None:
    faults.udp_prohibited(lab, router)
    run = lab.roomprobe()
    calls(run, "degraded", transport="tcp/443")
    for row in UDP_ROWS:
        check = only(run, row)
        assert (check["outcome"], check["reason"]) == ("rejected", "admin-prohibited"), told(run)
        assert check["hop"]["sender"] == {"distance": lab.hop(router), "address": lab.hop_address(router)}


def test_port_unreachable_by_the_target_is_closed(lab: Lab) -> None:
    peers.udp(lab, answer=())
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"closed"}, told(run)
    calls(run, "degraded", where="far-end")


def test_port_unreachable_by_the_firewall_is_rejected(lab: Lab) -> None:
    faults.udp_unreachable(lab, "fw")
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"rejected"}, told(run)
    assert only(run, "F3")["hop"]["sender"] == {"distance": 1, "address": lab.hop_address("fw")}


@pytest.mark.parametrize("router", ["fw", "isp"])
def test_port_unreachable_forged_by_a_redirect_is_rejected(lab: Lab, router: str) -> None:
    faults.udp_forged(lab, router)
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"rejected"}, told(run)
    assert contains(only(run, "F3"), lab, router)


def test_refused_with_icmp_filtered_cannot_be_told(lab: Lab) -> None:
    faults.no_time_exceeded(lab)
    peers.udp(lab, answer=())
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"refused"}, told(run)
    calls(run, "unknown", at_least="degraded")


def test_opted_in_shapes_are_sent_and_never_meet_the_tunnel(lab: Lab) -> None:
    run = lab.roomprobe("--opt-in", "openvpn", "--opt-in", "ike")
    for row, shape in (("F5", "openvpn"), ("F6", "ike")):
        assert [e["payload"] for e in only(run, row)["evidence"]["exchanges"]][:2] == ["opaque", shape]
    assert [e["payload"] for e in only(lab.roomprobe(), "F5")["evidence"]["exchanges"]] == ["opaque", "opaque-short"]


def test_a_firewall_that_answers_udp_itself_is_not_open(lab: Lab) -> None:
    script = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('0.0.0.0', 9998))\n"
    script += "while True:\n    d, a = s.recvfrom(2048)\n    s.sendto(d, a)\n"
    lab.start(Spec("echo", "fw", (sys.executable, "-c", script), (("udp", 9998, 1),)))
    faults.Fault(lab).rules("fw", "redirect", ["ip daddr 203.0.113.0/24 meta l4proto udp redirect to :9998"])
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"intercepted"}, told(run)
    assert only(run, "F3")["hop"]["sender"]["distance"] == 1
    calls(run, "degraded", transport="tcp/443")
