"""The product against name servers: every way a name can go wrong is told apart, and none is called a firewall."""

from __future__ import annotations

import pytest

from . import faults, peers
from .network import Lab
from .product import Run
from .scenario import ONE_EACH, calls, only, service, told

CONFIG_ONLY = {"config.starleaf.com": (20,)}


@pytest.fixture
def lab(narrow_lab: Lab) -> Lab:
    """IPv4 only, one address a name."""
    return narrow_lab


def both(lab: Lab) -> list[str]:
    """The site's resolver and a second one on the LAN."""
    return [lab.address("fw"), lab.address("codec")]


def names(run: Run, name: str = "acme.call.sl", resolver: str | None = None) -> set[tuple[str, str]]:
    """(outcome, reason) of every lookup of a name."""
    found = run.rows("F0", host=name) if resolver is None else run.rows("F0", host=name, address=resolver)
    assert not any("firewall" in check["sentence"].lower() for check in found)
    return {(check["outcome"], check["reason"]) for check in found}


def test_name_does_not_exist(lab: Lab) -> None:
    peers.dns(lab, hosts=CONFIG_ONLY)
    run = lab.roomprobe()
    assert names(run) == {("no-target", "nxdomain")}, told(run)
    sentence = run.rows("F0", host="acme.call.sl")[0]["sentence"]
    assert all(word in sentence for word in ("gone", "mistyped", "hid")), sentence
    calls(run, "broken")
    service(run, "sign-in", "full")
    assert run.outcomes("F3") == {"no-target"}
    assert run.returncode == 2


def test_filtering_resolver(lab: Lab) -> None:
    peers.dns(lab, hosts=CONFIG_ONLY)
    peers.dns(lab, "codec", hosts=ONE_EACH)
    run = lab.roomprobe(resolv=both(lab))
    assert names(run, resolver=lab.address("fw")) == {("no-target", "resolver-filters")}, told(run)
    assert names(run, resolver=lab.address("codec")) == {("open", "answered")}
    calls(run, "degraded", reason="some-resolvers", transport="udp/24704")
    service(run, "sign-in", "full")


def test_missing_names_rewritten_to_an_address(lab: Lab) -> None:
    peers.dns(lab, hosts=CONFIG_ONLY, rewrite=("203.0.113.20",))
    run = lab.roomprobe()
    assert names(run) == {("intercepted", "wildcard-dns")}, told(run)
    calls(run, "broken")
    service(run, "sign-in", "full")


@pytest.mark.parametrize("how", ["silent", "refusing"])
def test_one_of_two_resolvers_dead(lab: Lab, how: str) -> None:
    if how == "silent":
        faults.deaf(lab, "codec")
    run = lab.roomprobe(resolv=both(lab))
    assert names(run, resolver=lab.address("fw")) == {("open", "answered")}, told(run)
    (found,) = names(run, resolver=lab.address("codec"))
    assert found == ("unanswered" if how == "silent" else "closed", "resolver-silent")
    calls(run, "degraded", reason="some-resolvers", transport="udp/24704")


def test_resolvers_differ(lab: Lab) -> None:
    peers.dns(lab, "codec", hosts={**ONE_EACH, "acme.call.sl": (11,)})
    run = lab.roomprobe(resolv=both(lab))
    assert names(run) == {("open", "resolvers-differ")}, told(run)
    assert {check["address"] for check in run.rows("F2") if check["outcome"] == "open"} == {
        "203.0.113.10",
        "203.0.113.11",
    }
    calls(run, "full")


def test_the_only_resolver_dead(lab: Lab) -> None:
    faults.deaf(lab, "fw")
    run = lab.roomprobe()
    assert names(run) == {("unanswered", "resolver-silent")}, told(run)
    calls(run, "unknown")
    assert run.returncode == 3


def test_addresses_from_the_configuration_need_no_names(lab: Lab) -> None:
    faults.deaf(lab, "fw")
    targets = {"config.starleaf.com": ["203.0.113.20"], "acme.call.sl": ["203.0.113.10"]}
    run = lab.roomprobe(config=lab.config(targets=targets))
    calls(run, "full", confidence="proven")
    assert only(run, "F3")["confidence"] == "proven"


@pytest.mark.parametrize("sink", ["0.0.0.0", "127.0.0.1"])
def test_sinkhole_is_told_and_nobody_is_asked(lab: Lab, sink: str) -> None:
    peers.dns(lab, hosts=CONFIG_ONLY, sink={"acme.call.sl": sink})
    run = lab.roomprobe()
    found = {(c["outcome"], c["reason"]) for c in run.rows("F0", host="acme.call.sl")}
    assert found == {("intercepted", "address-unusable")}, told(run)
    assert run.outcomes("F3") == {"no-target"} and not run.report["paths"]
    assert "Ask for" not in lab.run("--once").stdout
    calls(run, "broken")


def test_a_domain_that_answers_every_name_itself_is_no_rewriting(lab: Lab) -> None:
    peers.dns(lab, hosts=ONE_EACH, sink={"call.sl": "203.0.113.10"})
    run = lab.roomprobe()
    assert names(run) == {("open", "answered")}, told(run)
    calls(run, "full", transport="udp/24704")
