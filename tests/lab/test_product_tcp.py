"""The product against TCP 443 that is dropped, reset, taken over; and against networks that nothing leaves."""

from __future__ import annotations

import pytest

from . import faults
from .network import Lab
from .scenario import ONE_EACH, calls, contains, only, service, told


@pytest.fixture
def lab(narrow_lab: Lab) -> Lab:
    """IPv4 only, one address a name."""
    return narrow_lab


def test_443_dropped(lab: Lab) -> None:
    faults.tcp_drop(lab, "fw")
    run = lab.roomprobe()
    calls(run, "broken")
    service(run, "sign-in", "broken")
    for row in ("F1", "F2"):
        assert only(run, row)["outcome"] == "filtered" and contains(only(run, row), lab, "fw"), told(run)
    assert run.returncode == 2


def test_443_reset_at_fw(lab: Lab) -> None:
    faults.tcp_reset(lab, "fw")
    run = lab.roomprobe()
    calls(run, "broken")
    for row in ("F1", "F2"):
        check = only(run, row)
        assert (check["outcome"], check["reason"]) == ("rejected", "reset") and contains(check, lab, "fw"), told(run)
    assert run.returncode == 2


def test_443_reset_at_the_target(lab: Lab) -> None:
    lab.stop("tls")
    run = lab.roomprobe()
    calls(run, "broken", where="far-end")
    assert only(run, "F2")["outcome"] == "closed", told(run)
    assert run.returncode == 2


@pytest.mark.parametrize("then", ["mute", "close"])
@pytest.mark.parametrize("router", ["fw", "isp"])
def test_a_firewall_that_completes_every_handshake(lab: Lab, router: str, then: str) -> None:
    faults.tcp_answered(lab, router, then)
    run = lab.roomprobe()
    calls(run, "broken")
    for row in ("F1", "F2"):
        check = only(run, row)
        assert check["outcome"] == "intercepted", told(run)
        assert check["hop"]["sender"]["distance"] == lab.hop(router), told(run)


@pytest.mark.parametrize(
    ("fault", "router", "behind"),
    [
        (faults.uplink_down, "fw", "fw"),
        (faults.deny_any, "fw", "fw"),
        (faults.no_route, "isp", "isp"),
    ],
)
def test_nothing_leaves(lab: Lab, fault, router: str, behind: str) -> None:
    fault(lab, router)
    run = lab.roomprobe()
    for name in ("calls", "sign-in"):
        found = service(run, name, "broken", reason="no-egress")
        assert found["hop"]["last_answering"]["distance"] == lab.hop(behind), told(run)
        assert found["hop"]["last_answering"]["address"] == lab.hop_address(behind)
    assert run.returncode == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(faults.no_carrier, "no-carrier"), (faults.no_address, "no-local-address"), (faults.no_gateway, "no-gateway")],
)
def test_the_jack(lab: Lab, fault, reason: str) -> None:
    fault(lab)
    run = lab.roomprobe()
    calls(run, "broken", where="jack", reason=reason)
    assert run.returncode == 2


def test_an_interface_switched_off_is_this_box_not_the_jack(lab: Lab) -> None:
    lab.ip("room", "link set eth0 down")
    try:
        run = lab.roomprobe()
    finally:
        lab.configure("room")
    calls(run, "unknown", where="this-box", reason="interface-down")
    assert run.returncode == 3


@pytest.mark.parametrize("verdict", ["drop", "reject with tcp reset"])
def test_a_filter_that_lets_only_the_handshake_through_is_not_fine(lab: Lab, verdict: str) -> None:
    faults.Fault(lab).rules("fw", "forward", [f"tcp dport 443 meta length > 150 {verdict}"])
    run = lab.roomprobe()
    for row in ("F1", "F2"):
        check = only(run, row)
        assert (check["outcome"], check["reason"]) == ("unanswered", "handshake-only"), told(run)
    calls(run, "unknown")
    assert run.returncode == 3


def test_a_gateway_that_does_not_answer(lab: Lab) -> None:
    lab.ip("fw", "link set lan0 down")
    lab.ip("room", "neigh flush dev eth0")
    try:
        run = lab.roomprobe(config=lab.config(targets={k: [f"203.0.113.{n[0]}"] for k, n in ONE_EACH.items()}))
    finally:
        lab.configure("fw")
    calls(run, "broken", where="jack", reason="gateway-silent")


def test_local_firewall_is_our_own_fault(lab: Lab) -> None:
    faults.local_drop(lab)
    run = lab.roomprobe()
    check = only(run, "F3")
    assert (check["outcome"], check["where"]) == ("fault", "this-box"), told(run)
    calls(run, "unknown", at_least="degraded", where="this-box")


def test_missing_permission_is_our_own_fault(lab: Lab) -> None:
    faults.local_prohibit(lab)
    run = lab.roomprobe()
    for row in ("F1", "F2", "F3"):
        assert (only(run, row)["outcome"], only(run, row)["where"]) == ("fault", "this-box"), told(run)
    calls(run, "unknown", where="this-box")
    assert run.returncode == 3
