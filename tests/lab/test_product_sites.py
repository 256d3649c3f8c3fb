"""The product on sites of many shapes: families, several addresses, NAT, shared and public ranges, loss, limits, vantage."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import faults, peers
from .network import Lab
from .scenario import ONE_EACH, UDP_ROWS, calls, contains, only, service, told, udp_outcomes

SILENT = faults.TUNNEL_PORTS
MakeLab = Callable[..., Lab]


def one_address(make_lab: MakeLab, **options) -> Lab:
    """A lab with one address a name."""
    lab = make_lab(bare=True, **options)
    peers.dns(lab, hosts=ONE_EACH)
    peers.tls(lab)
    peers.udp(lab)
    return lab


def test_one_of_three_addresses_dead(make_lab: MakeLab) -> None:
    lab = make_lab(families=(4,))
    faults.host_drop(lab, "fw")
    run = lab.roomprobe()
    calls(run, "degraded", reason="some-addresses", transport="udp/24704")
    assert "203.0.113.12" in run.service("calls")["sentence"]
    assert run.outcomes("F2", address="203.0.113.12") == {"unanswered"}, told(run)
    assert run.returncode == 1


def test_ipv6_present_but_broken(make_lab: MakeLab) -> None:
    lab = one_address(make_lab)
    faults.v6_drop(lab, "isp")
    run = lab.roomprobe()
    calls(run, "degraded", reason="one-family")
    assert run.outcomes("F2", address="203.0.113.10") == {"open"}, told(run)


@pytest.mark.parametrize("family", [4, 6])
def test_one_family_only(make_lab: MakeLab, family: int) -> None:
    lab = one_address(make_lab, families=(family,))
    run = lab.roomprobe()
    calls(run, "full", transport="udp/24704")
    used = {c["address"] for c in run.rows("F2") if c["outcome"] != "skipped"}
    assert all((":" in address) == (family == 6) for address in used), told(run)
    skipped = {c["reason"] for c in run.rows("F2") if c["outcome"] == "skipped"}
    assert skipped == {"no-family"}


def test_udp_dropped_in_both_families(make_lab: MakeLab) -> None:
    lab = one_address(make_lab)
    faults.udp_drop(lab, "isp")
    run = lab.roomprobe()
    calls(run, "degraded", transport="tcp/443")
    assert udp_outcomes(run) == {"filtered"}, told(run)
    v6 = only(run, "F3", address="2001:db8:113::10")
    assert v6["hop"]["last_answering"]["address"] == lab.hop_address("isp", 6)


def test_admin_prohibited_in_ipv6(make_lab: MakeLab) -> None:
    lab = one_address(make_lab, families=(6,))
    faults.udp_prohibited(lab, "fw")
    run = lab.roomprobe()
    check = only(run, "F3")
    assert (check["outcome"], check["reason"]) == ("rejected", "admin-prohibited"), told(run)
    assert check["hop"]["sender"] == {"distance": 1, "address": lab.hop_address("fw", 6)}


def test_ipv6_passes_outside_the_site(make_lab: MakeLab) -> None:
    lab = one_address(make_lab, families=(6,))
    peers.udp(lab, answer=(), silent=SILENT)
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"passes"}, told(run)


@pytest.mark.parametrize("nat", [("fw",), ("isp",)])
@pytest.mark.parametrize("case", ["answering", "silent", "dropped"])
def test_nat(make_lab: MakeLab, nat: tuple[str, ...], case: str) -> None:
    lab = one_address(make_lab, families=(4,), nat=nat)
    if case != "answering":
        peers.udp(lab, answer=(), silent=SILENT)
    if case == "dropped":
        faults.udp_drop(lab, "isp")
    run = lab.roomprobe()
    wanted = {"answering": "open", "silent": "passes", "dropped": "filtered"}[case]
    assert udp_outcomes(run) == {wanted}, told(run)
    if case == "dropped":
        assert contains(only(run, "F3"), lab, "isp")


def test_shared_range_inside_the_site_is_not_outside(make_lab: MakeLab) -> None:
    lab = one_address(make_lab, families=(4,), inner_hop=True)
    peers.udp(lab, answer=(), silent=SILENT)
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"passes"}, told(run)
    assert only(run, "F3")["hop"]["last_answering"]["address"] == lab.hop_address("core")
    faults.no_time_exceeded(lab, "core")  # the last one heard is 100.64.0.1 now: inside or carrier, who knows
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"unanswered"}, told(run)
    assert only(run, "F3")["reason"] == "unproven"


def test_public_range_inside_the_site(make_lab: MakeLab) -> None:
    lab = one_address(make_lab, families=(4,), lan="public")
    peers.udp(lab, answer=(), silent=SILENT)
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"unanswered"} and only(run, "F3")["reason"] == "unproven", told(run)
    run = lab.roomprobe(config=lab.config(site={"prefixes": ["192.0.2.0/24"]}))
    assert udp_outcomes(run) == {"passes"}, told(run)
    everything = ["192.0.2.0/24", "100.64.0.0/10", "198.51.100.0/24"]
    run = lab.roomprobe(config=lab.config(site={"prefixes": everything}))
    assert udp_outcomes(run) == {"unanswered"}, told(run)


def test_room_system_in_another_network(make_lab: MakeLab) -> None:
    lab = one_address(make_lab, families=(4,))
    targets = {name: [f"203.0.113.{n[0]}"] for name, n in ONE_EACH.items()}
    other = lab.config(site={"room_system": "10.9.9.9"}, targets=targets)
    run = lab.roomprobe(config=other)
    assert run.report["host"]["vantage"]["state"] == "other"
    assert only(run, "F3")["confidence"] == "inferred" and "this box's port" in only(run, "F3")["sentence"]
    assert "this box's port" in calls(run, "full", confidence="inferred")["sentence"]
    same = lab.config(site={"room_system": lab.address("codec")}, targets=targets)
    run = lab.roomprobe(config=same)
    assert run.report["host"]["vantage"]["state"] == "same"
    assert only(run, "F3")["confidence"] == "proven" and "this box's port" not in only(run, "F3")["sentence"]


@pytest.mark.parametrize(
    ("router", "drop", "wanted"),
    [
        ("fw", faults.udp_drop, "filtered"),
        ("isp", faults.udp_drop_early, "filtered"),
        ("core", faults.udp_drop, "passes"),
    ],
)
def test_default_icmp_limits_change_nothing(make_lab: MakeLab, router: str, drop, wanted: str) -> None:
    lab = one_address(make_lab, families=(4,), default_icmp_limits=True)
    peers.udp(lab, answer=(), silent=SILENT)
    drop(lab, router)
    run = lab.roomprobe()
    assert udp_outcomes(run) == {wanted}, told(run)
    if wanted == "filtered":
        assert all(contains(only(run, row), lab, router) for row in UDP_ROWS)
    assert run.report["run"]["duration_s"] < 15


@pytest.mark.parametrize("answering", [True, False])
def test_loss_never_looks_like_a_filter(make_lab: MakeLab, answering: bool) -> None:
    lab = one_address(make_lab, families=(4,))
    if not answering:
        peers.udp(lab, answer=(), silent=SILENT)
    faults.loss(lab, "isp", 20)
    with ThreadPoolExecutor(5) as pool:
        runs = list(pool.map(lambda _: lab.roomprobe(), range(20)))
    found = [outcome for run in runs for outcome in udp_outcomes(run)]
    blocked = [run for run in runs if {"filtered", "rejected", "closed"} & udp_outcomes(run)]
    assert not blocked, told(blocked[0])
    tcp = [run for run in runs if {"filtered", "rejected", "intercepted"} & (run.outcomes("F1") | run.outcomes("F2"))]
    assert not tcp, told(tcp[0])
    assert ("open" if answering else "passes") in found


def test_services_of_the_profile(make_lab: MakeLab) -> None:
    lab = one_address(make_lab, families=(4,))
    run = lab.roomprobe()
    assert [s["id"] for s in run.report["services"]] == ["sign-in", "calls", "browser-calls", "standby"]
    service(run, "browser-calls", "unknown", reason="not-tested")
    assert run.returncode == 0


def test_a_far_end_of_the_other_family_only_is_not_fine(make_lab: MakeLab) -> None:
    lab = make_lab(bare=True, families=(6,))
    peers.dns(lab, hosts=ONE_EACH, aaaa=False)
    peers.tls(lab)
    peers.udp(lab)
    run = lab.roomprobe()
    calls(run, "unknown", reason="no-family")
    assert run.returncode == 3


def test_default_icmp_limits_with_many_addresses_and_both_families(make_lab: MakeLab) -> None:
    lab = make_lab(default_icmp_limits=True)
    peers.udp(lab, answer=(), silent=SILENT)
    faults.udp_drop(lab, "fw")
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"filtered"}, told(run)
    calls(run, "degraded", transport="tcp/443")
    assert run.report["run"]["duration_s"] < 15
