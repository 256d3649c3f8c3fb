"""The product on a controller link that crosses a router: the codec in a LAN of its own, one or two hops away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import faults
from . import faults_link as link_faults
from . import peers_link as peers
from .network import Lab
from .product import Run
from .scenario import told
from .test_product_link import ROWS, every, row, touch


@pytest.fixture(scope="module", params=[False, True], ids=["one-router", "two-routers"])
def whole(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(codec="routed", inner_hop=request.param) as lab:
        yield lab


@pytest.fixture
def lab(whole: Lab) -> Iterator[Lab]:
    if "codec" not in whole.running:
        peers.codec(whole)
    yield whole
    whole.mend()


def link(lab: Lab, *args: str, **how: Any) -> Run:
    return lab.roomprobe("--profile", "teamline-5141", "--codec", lab.codec_addresses()[0], *args, **how)


def test_all_five_open(lab: Lab) -> None:
    run = link(lab)
    touch(run, "full", confidence="proven")
    every(run, outcome="open")


@pytest.mark.parametrize("name", ["I1", "I2", "I5"])
def test_one_port_is_dropped(lab: Lab, name: str) -> None:
    faults.tcp_drop(lab, "fw", (ROWS[name],))
    run = link(lab)
    touch(run, "broken", where="lan")
    found = row(run, name)
    assert (found["outcome"], found["confidence"]) == ("filtered", "inferred"), told(run)
    assert found["hop"]["last_answering"]["address"] == lab.hop_address("fw", 6), told(run)
    assert {row(run, other)["outcome"] for other in ROWS if other != name} == {"open"}, told(run)


@pytest.mark.parametrize("name", ["I1", "I3", "I5"])
def test_one_port_is_reset_in_the_codecs_name(lab: Lab, name: str) -> None:
    faults.tcp_reset(lab, "fw", (ROWS[name],))
    run = link(lab)
    touch(run, "broken", where="lan")
    assert (row(run, name)["outcome"], row(run, name)["confidence"]) == ("rejected", "inferred"), told(run)


@pytest.mark.parametrize("name", ["I2", "I4"])
def test_one_port_is_prohibited_and_the_router_says_so(lab: Lab, name: str) -> None:
    link_faults.codec_prohibited(lab, "fw", (ROWS[name],))
    run = link(lab)
    touch(run, "broken", where="lan")
    found = row(run, name)
    assert (found["outcome"], found["reason"]) == ("rejected", "admin-prohibited"), told(run)
    assert found["hop"]["sender"]["address"] == lab.hop_address("fw", 6)


def test_everything_is_dropped(lab: Lab) -> None:
    faults.tcp_drop(lab, "fw", tuple(ROWS.values()))
    touch(link(lab), "unknown")


def test_an_mtu_black_hole(lab: Lab) -> None:
    link_faults.mtu_hole(lab, 1400)
    found = touch(link(lab), "broken", confidence="proven")
    assert "more than 1400 bytes" in found["sentence"]


def test_an_idle_connection_is_forgotten(lab: Lab) -> None:
    link_faults.idle_timeout(lab, 2)
    run = link(lab, "--hold", "4")
    touch(run, "broken", confidence="proven")
    every(run, reason="idle-timeout")


def test_the_codec_is_off(lab: Lab) -> None:
    link_faults.codec_off(lab)
    found = touch(link(lab), "unknown", reason="neighbour-silent", where="far-end")
    assert f"the router {lab.hop_address('fw', 6)} says that nobody answers" in found["sentence"]


def test_a_real_codec_without_a_word_on_its_quiet_ports_cannot_be_told(lab: Lab) -> None:
    lab.stop("codec")
    codec = peers.one_controller(lab, limit="none")
    run = link(lab)
    touch(run, "unknown", reason="handshake-only")
    assert row(run, "I5")["outcome"] == "open" and len(codec.seen("connect")) == len(ROWS)
    lab.stop("codec")


def test_a_real_codecs_port_is_refused_by_whom_cannot_be_told(lab: Lab) -> None:
    lab.stop("codec")
    peers.one_controller(lab, limit="none")
    faults.tcp_reset(lab, "fw", (5000,))
    run = link(lab)
    assert row(run, "I3")["outcome"] == "refused", told(run)
    lab.stop("codec")


@pytest.mark.parametrize("how", ["source", "router"])
def test_a_stray_router_advertisement(how: str) -> None:
    with Lab(codec="routed") as lab:
        peers.codec(lab)
        link_faults.stray_ra(lab, how=how)
        stray = lab.link_local("stray")
        run = link(lab)
        found = touch(run, "broken" if how == "source" else "unknown", where="lan")
        every(run, reason="stray-router")
        assert stray in found["sentence"], found["sentence"]
