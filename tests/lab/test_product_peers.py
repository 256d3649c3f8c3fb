"""The product against proxies, opened TLS, wrong certificates and far ends that want a client certificate."""

from __future__ import annotations

import pytest

from . import faults, peers
from .network import Lab
from .scenario import UDP_ROWS, calls, only, service, told


@pytest.fixture
def lab(narrow_lab: Lab) -> Lab:
    """IPv4 only, one address a name."""
    return narrow_lab


@pytest.fixture
def inward(lab: Lab) -> dict[str, str]:
    """A proxy-only site: names do not resolve inside, direct 443 is dropped."""
    peers.dns(lab, hosts={})
    faults.tcp_drop(lab, "fw")
    return {"proxy": peers.proxy_url(lab)}


def through(run, row: str):
    (found,) = run.rows(row, via="proxy")
    return found


def test_proxy_only_site(lab: Lab, inward: dict[str, str]) -> None:
    peers.proxy(lab)
    run = lab.roomprobe(config=lab.config(network=inward))
    assert through(run, "F1")["outcome"] == through(run, "F2")["outcome"] == "open", told(run)
    assert "proxy" in service(run, "sign-in", "full")["sentence"]
    assert calls(run, "degraded")["transport"] == "tcp/443"


def test_proxy_wants_a_password(lab: Lab, inward: dict[str, str]) -> None:
    peers.proxy(lab, password=True)
    run = lab.roomprobe(config=lab.config(network=inward))
    assert (through(run, "F2")["outcome"], through(run, "F2")["reason"]) == ("rejected", "proxy-authentication"), told(
        run
    )
    calls(run, "broken")


def test_proxy_dead(lab: Lab, inward: dict[str, str]) -> None:
    run = lab.roomprobe(config=lab.config(network=inward))
    assert (through(run, "F2")["outcome"], through(run, "F2")["reason"]) == ("closed", "proxy-fails"), told(run)
    calls(run, "broken")


def test_proxy_silent(lab: Lab, inward: dict[str, str]) -> None:
    faults.deaf(lab, "fw", ports=(3128,))
    run = lab.roomprobe(config=lab.config(network=inward))
    assert (through(run, "F2")["outcome"], through(run, "F2")["reason"]) == ("unanswered", "proxy-silent"), told(run)
    calls(run, "unknown")


@pytest.mark.parametrize("in_system_store", [False, True])
def test_tls_interception_names_the_issuer(lab: Lab, in_system_store: bool) -> None:
    peers.proxy(lab, intercept=True)
    faults.tls_intercepted(lab, "fw")
    run = lab.roomprobe(ca=peers.interceptor(lab).cert if in_system_store else None)
    for row in ("F1", "F2"):
        check = only(run, row)
        assert (check["outcome"], check["reason"]) == ("intercepted", "issuer-unexpected"), told(run)
        assert "Acme web security CA" in check["sentence"]
        assert check["hop"]["sender"]["distance"] == lab.hop("fw"), told(run)
    calls(run, "broken")


def test_a_valid_certificate_for_another_name(lab: Lab) -> None:
    peers.tls(lab, certificate_for={"acme.call.sl": "portal.example"})
    run = lab.roomprobe()
    check = only(run, "F2")
    assert (check["outcome"], check["reason"]) == ("intercepted", "name-mismatch"), told(run)
    assert "roomprobe lab CA" in check["sentence"] and "portal.example" in check["sentence"]


def test_far_end_that_wants_a_client_certificate(lab: Lab) -> None:
    peers.tls(lab, hosts={"config.starleaf.com": (20,)})
    peers.picky_tls(lab, hosts={"acme.call.sl": (10,)})
    run = lab.roomprobe()
    check = only(run, "F2")
    assert (check["outcome"], check["reason"]) == ("reached", "wants-client-certificate"), told(run)
    calls(run, "full", confidence="inferred")


def test_stun_and_time_servers_beside_the_tunnel_are_native_only(lab: Lab) -> None:
    peers.udp(lab, answer=(), silent=(24704, 1194, 500))
    peers.stun(lab)
    peers.ntp(lab)
    run = lab.roomprobe()
    for row, word in (("F4", "STUN"), ("F7", "NTP")):
        check = only(run, row)
        assert check["reason"] == "native-only" and check["outcome"] == "unanswered", told(run)
        assert word in check["sentence"]
    assert {only(run, row)["outcome"] for row in UDP_ROWS if row not in ("F4", "F7")} == {"passes"}
