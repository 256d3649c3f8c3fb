"""The product on the controller link of a switch: room and codec on one bridge, with everything that can go wrong between.

`lab` has a second host and a controller on the bridge, and a second interface in the room; `roomprobe codec` plays the 5141.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from . import faults_link as faults
from . import peers_link as peers
from .network import Lab
from .procs import Spec, program
from .product import Run, finish, parsed
from .scenario import service, told

ROWS = {"I1": 69, "I2": 443, "I3": 5000, "I4": 5152, "I5": 23456}
PING = "net.ipv4.ping_group_range"


@pytest.fixture(scope="module")
def whole() -> Iterator[Lab]:
    with Lab(second_codec=True, controller=True, second_interface=True) as lab:
        yield lab


@pytest.fixture
def lab(whole: Lab) -> Iterator[Lab]:
    """The lab with our emulator on the codec's port, and nobody allowed to send echo requests."""
    if "codec" not in whole.running:
        peers.codec(whole)
    yield whole
    whole.mend()
    whole.exec("room", "sysctl", "-qw", f"{PING}=1 0")
    for role in list(whole.running):
        if role != "codec":
            whole.stop(role)


def near(lab: Lab) -> str:
    return lab.codec_addresses()[0]


def link(lab: Lab, *args: str, codec: str | None = "", **how: Any) -> Run:
    """One run of the profile towards the codec's link-local address, unless told otherwise."""
    given = () if codec is None else ("--codec", codec or near(lab))
    return lab.roomprobe("--profile", "teamline-5141", *given, *args, **how)


def row(run: Run, name: str) -> dict[str, Any]:
    found = run.rows(name)
    assert len(found) == 1, told(run)
    return found[0]


def touch(run: Run, state: str, **more: Any) -> dict[str, Any]:
    return service(run, "touch-controller", state, **more)


def every(run: Run, **wanted: Any) -> None:
    """Every port came to this."""
    for name in ROWS:
        got = {key: row(run, name)[key] for key in wanted}
        assert got == wanted, f"{name}: {got}\n{told(run)}"


@pytest.mark.parametrize("number", [0, 1], ids=["link-local", "ula"])
def test_all_five_open(lab: Lab, number: int) -> None:
    run = link(lab, codec=lab.codec_addresses()[number])
    touch(run, "full", confidence="proven", where=None)
    every(run, outcome="open", confidence="proven")
    assert run.returncode == 0
    for name, port in ROWS.items():
        seen = row(run, name)["evidence"]
        source = row(run, name)["source"]["port"]
        assert 1024 <= source <= 65535 and seen["emulator"]["seen_port"] == source
        assert seen["emulator"]["seen_address"] == row(run, name)["source"]["address"].partition("%")[0]
        assert seen["blocks"]["up"] is True and seen["blocks"]["down"] is True
        assert seen["hold"]["end"] == "alive" and seen["timing"]["rtt_ms"] > 0
        assert seen["emulator"]["listening"] == list(ROWS.values()) and row(run, name)["port"] == port
    assert len(row(run, "I2")["evidence"]["certificate"]["sha256"]) == 64
    assert row(run, "I5")["evidence"]["api"]["documented"] is True


def test_the_codec_side_saw_the_same(lab: Lab) -> None:
    lab.stop("codec")
    codec = peers.codec(lab)
    run = link(lab)
    ours = {(row(run, name)["source"]["port"], port) for name, port in ROWS.items()}
    theirs = {(seen["source_port"], seen["port"]) for seen in codec.seen("connected")}
    assert ours <= theirs


@pytest.mark.parametrize("name", ROWS)
def test_one_port_is_dropped_by_the_switch(lab: Lab, name: str) -> None:
    faults.bridge_port_drop(lab, (ROWS[name],))
    run = link(lab)
    found = touch(run, "broken", where="lan")
    assert (row(run, name)["outcome"], row(run, name)["confidence"]) == ("filtered", "inferred"), told(run)
    assert f"TCP {ROWS[name]} gets no answer" in found["sentence"] and run.returncode == 2
    assert {row(run, other)["outcome"] for other in ROWS if other != name} == {"open"}, told(run)


def test_all_ports_are_dropped_by_the_switch(lab: Lab) -> None:
    faults.bridge_port_drop(lab, ROWS.values())
    run = link(lab)
    touch(run, "broken", where="lan", confidence="inferred")
    every(run, outcome="filtered", reason="neighbour-answers")


def test_neighbour_discovery_is_filtered(lab: Lab) -> None:
    faults.nd_filtered(lab)
    run = link(lab)
    found = touch(run, "broken", where="lan", confidence="inferred")
    every(run, outcome="filtered", reason="neighbour-silent")
    assert "which does answer over IPv4" in found["sentence"]


@pytest.mark.parametrize("may_ping", [False, True])
def test_client_isolation_is_never_said_for_sure(lab: Lab, may_ping: bool) -> None:
    if may_ping:
        lab.exec("room", "sysctl", "-qw", f"{PING}=0 2147483647")
    faults.client_isolation(lab)
    run = link(lab)
    found = touch(run, "unknown", reason="neighbour-silent", where="unknown")
    assert "client isolation" in found["sentence"] and "cannot be told" in found["sentence"]
    assert run.returncode == 3


@pytest.mark.parametrize("how", ["down", "silent"])
def test_the_codec_is_off(lab: Lab, how: str) -> None:
    faults.codec_off(lab, how=how)
    run = link(lab)
    touch(run, "unknown", reason="neighbour-silent", where="unknown")
    assert any("client isolation" in c["sentence"] for c in run.report["checks"])


def test_the_codec_is_off_and_others_show_that_the_link_works(lab: Lab) -> None:
    lab.exec("room", "sysctl", "-qw", f"{PING}=0 2147483647")
    faults.codec_off(lab)
    run = link(lab)
    found = touch(run, "unknown", reason="neighbour-silent", where="far-end")
    assert "other devices here do" in found["sentence"]
    assert run.report["links"][0]["heard"]


def test_nothing_listens_at_the_codec(lab: Lab) -> None:
    lab.stop("codec")
    run = link(lab)
    touch(run, "broken", where="far-end")
    every(run, outcome="closed", reason="port-closed")


@pytest.mark.parametrize("size", [1280, 1400, 1499])
def test_an_mtu_black_hole(lab: Lab, size: int) -> None:
    faults.mtu_hole(lab, size)
    run = link(lab)
    found = touch(run, "broken", where="lan", confidence="proven")
    every(run, outcome="filtered", reason="mtu-black-hole")
    assert f"more than {size} bytes to the codec and from the codec" in found["sentence"]


@pytest.mark.parametrize(("direction", "words"), [("out", "to the codec"), ("in", "from the codec")])
def test_an_mtu_black_hole_one_way(lab: Lab, direction: str, words: str) -> None:
    faults.mtu_hole(lab, 1450, direction=direction)
    found = touch(link(lab), "broken", reason="required-not-met")
    assert f"more than 1450 bytes {words} vanish" in found["sentence"]


def test_an_idle_connection_is_forgotten_on_the_way(lab: Lab) -> None:
    faults.idle_timeout(lab, 2)
    run = link(lab, "--hold", "4")
    touch(run, "broken", where="lan", confidence="proven")
    every(run, outcome="filtered", reason="idle-timeout")


def test_a_hold_that_lasts(lab: Lab) -> None:
    run = link(lab, "--hold", "3")
    touch(run, "full")
    assert {row(run, name)["evidence"]["hold"]["end"] for name in ROWS} == {"alive"}
    assert run.report["run"]["duration_s"] >= 3


def test_the_codec_restarts_during_the_hold(lab: Lab) -> None:
    before = lab.running["codec"].pid
    child = lab.popen("--once", "--json", "--profile", "teamline-5141", "--codec", near(lab), "--hold", "8")
    time.sleep(3)  # all five are held by then
    faults.codec_rebooted(lab)
    run = parsed(finish(child, 60))
    assert lab.running["codec"].pid != before
    found = touch(run, "unknown", reason="codec-restarted", where="far-end")
    assert "restarted" in found["sentence"] and run.returncode == 3


@pytest.mark.parametrize("kind", ["emulator", "real", "both", "none"])
def test_two_devices_with_the_codecs_address_are_not_called_a_firewall(lab: Lab, kind: str) -> None:
    if kind in ("real", "none"):
        lab.stop("codec")
    if kind == "real":
        peers.one_controller(lab, limit="none")
    if kind == "both":
        peers.codec(lab, "codec2")
    for _ in range(3):  # a late packet of a test before may make one of the two known, and then nobody is asked for
        with faults.address_twice(lab):
            run = link(lab)
        if run.service("touch-controller")["state"] != "full":
            break
    found = touch(run, "unknown", reason="address-twice", where="lan")
    assert "More than one device on this network has the address" in found["sentence"]
    every(run, outcome="unanswered", reason="address-twice")
    assert len(row(run, "I1")["evidence"]["macs"]) == 2 and run.returncode == 3
    lab.stop("codec")


def test_the_right_codec_at_the_wrong_interface(lab: Lab) -> None:
    wrong = near(lab).replace("%eth0", "%eth1")
    found = touch(link(lab, codec=wrong), "unknown", where="this-box")
    assert f"give --codec {near(lab)}" in found["sentence"]


def test_a_web_server_is_no_5141(lab: Lab) -> None:
    lab.stop("codec")
    peers.web_instead(lab)
    run = link(lab)
    found = touch(run, "broken", where="far-end")
    assert "answers, but is no 5141" in found["sentence"] and "nginx" in found["sentence"]
    assert row(run, "I2")["reason"] == "not-a-codec"
    lab.stop("codec")


# A real codec, as far as one can be had here: a stand-in that is no emulator of ours.


def test_a_real_codec_is_only_read(lab: Lab) -> None:
    lab.stop("codec")
    codec = peers.one_controller(lab, limit="none")
    run = link(lab)
    touch(run, "full", confidence="inferred")
    assert [row(run, name)["outcome"] for name in ROWS] == ["reached", "reached", "reached", "reached", "open"]
    assert len(codec.seen("connect")) == len(ROWS), "one connection a port, and no second one"
    plain = [one for one in codec.seen("received") if one["port"] != 443]
    assert {one["port"] for one in plain} == {23456}
    assert all(bytes.fromhex(one["data"]).startswith(b"GET /auth HTTP/1.1\r\n") for one in plain)
    lab.stop("codec")


def test_a_real_codec_is_held_only_when_asked(lab: Lab) -> None:
    lab.stop("codec")
    peers.one_controller(lab, limit="none")
    assert {row(link(lab), name)["evidence"]["hold"] for name in ("I1", "I3")} == {None}
    run = link(lab, "--hold", "3")
    found = touch(run, "full")
    assert "All lasted 3 s without traffic" in found["sentence"]
    lab.stop("codec")


def test_a_real_codec_that_is_lost_while_held_did_not_close(lab: Lab) -> None:
    lab.stop("codec")
    peers.one_controller(lab, limit="none")
    faults.idle_timeout(lab, 2)
    run = link(lab, "--hold", "4")
    found = touch(run, "unknown", reason="idle-timeout")
    assert "nobody acknowledged it any more" in found["sentence"]
    assert not {row(run, name)["evidence"]["closed"] for name in ROWS} & {"closed"}
    lab.stop("codec")


@pytest.mark.parametrize("limit", ["newest", "oldest", "closed"])
def test_a_codec_that_serves_one_controller_only_is_left_alone(lab: Lab, limit: str) -> None:
    """Whatever such a codec does with a second connection, the controller holds all five when we are gone."""
    lab.stop("codec")
    codec = peers.one_controller(lab, limit=limit)
    controller = peers.controller(lab)
    before = len(codec.seen("connect"))
    run = link(lab, "--hold", "3")
    controller.settled()
    lost = controller.outages()
    assert len(lost) <= len(ROWS) and len({one["port"] for one in lost}) == len(lost), "one reconnect a port at most"
    if limit == "newest":
        reconnects = len(lost)
        assert len(codec.seen("connect")) - before <= len(ROWS) + reconnects, "nothing of ours was repeated"
    else:
        assert not lost
    assert run.returncode in (2, 3) and run.service("touch-controller")["state"] in ("unknown", "broken")
    assert not any(row(run, name)["where"] == "lan" for name in ROWS), told(run)
    lab.stop("controller")
    lab.stop("codec")


def test_a_changed_certificate_is_told(lab: Lab) -> None:
    lab.stop("codec")
    state = lab.work / "state"
    state.mkdir(mode=0o777, exist_ok=True)
    state.chmod(0o777)
    how = {"env": {"XDG_STATE_HOME": str(state)}}
    peers.one_controller(lab, limit="none")
    assert row(link(lab, **how), "I2")["reason"] == "answered"
    again = link(lab, **how)
    assert row(again, "I2")["reason"] == "answered" and not any("remembered" in n for n in again.report["notes"])
    lab.stop("codec")
    peers.one_controller(lab, limit="none")
    changed = link(lab, **how)
    assert row(changed, "I2")["reason"] == "certificate-changed" and touch(changed, "full")
    lab.stop("codec")


# Finding it


def test_the_codec_is_found(lab: Lab) -> None:
    lab.exec("room", "sysctl", "-qw", f"{PING}=0 2147483647")
    run = link(lab, codec=None)
    touch(run, "full")
    assert run.report["search"]["chosen"] == near(lab)
    assert any("found by itself" in note for note in run.report["notes"])


def test_what_could_not_be_tried_to_find_it_is_said(lab: Lab) -> None:
    lab.exec("room", "ip", "-6", "neigh", "flush", "dev", "eth0")
    run = link(lab, codec=None)
    assert run.report["search"]["untried"] and any("ping_group_range" in note for note in run.report["notes"])


def test_two_codecs_are_listed_and_none_is_guessed(lab: Lab) -> None:
    lab.exec("room", "sysctl", "-qw", f"{PING}=0 2147483647")
    peers.codec(lab, "codec2")
    run = link(lab, codec=None)
    found = touch(run, "unknown", reason="several-codecs")
    for ns in ("codec", "codec2"):
        assert lab.codec_addresses(ns)[0] in found["sentence"]
    assert "--codec" in found["sentence"] and run.report["search"]["chosen"] is None
    assert all(check["evidence"] is None for check in run.report["checks"])


def test_a_codec_with_a_name_is_found_by_it(lab: Lab) -> None:
    argv = (program("llmnrd", "llmnrd"), "-6", "-H", "teamline", "-i", "eth0")
    lab.start(Spec("llmnr", "codec", argv, (("udp", 5355, 1),)))
    run = link(lab, codec="teamline")
    touch(run, "full")
    assert run.report["search"]["chosen"] in lab.codec_addresses()
    other = link(lab, codec="somebody")
    assert "nobody on this network answers LLMNR" in touch(other, "unknown", reason="no-codec")["sentence"]


def test_a_network_without_a_codec(lab: Lab) -> None:
    lab.exec("room", "sysctl", "-qw", f"{PING}=0 2147483647")
    lab.stop("codec")
    run = link(lab, codec=None)
    touch(run, "unknown", reason="no-codec")


# Clumsy input, IPv4 only, interrupted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("192.168.50.20", "IPv6 only"),
        ("fe80::1", "must name the interface"),
        ("fe80::1%eth9", 'no interface "eth9"; it has eth0, eth1, lo'),
        ("fe80::1%eth0%x", "must name an interface"),
        ("fe80::zz%eth0", "must be an IPv6 address"),
    ],
)
def test_a_clumsy_address_is_one_sentence(lab: Lab, given: str, words: str) -> None:
    done = lab.run("--once", "--profile", "teamline-5141", "--codec", given)
    assert done.returncode == 3 and done.stdout == "" and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("codec", [None, "fe80::20%eth0", "fd00:50::20"])
def test_a_room_without_ipv6(codec: str | None) -> None:
    with Lab(no_ipv6=("room",)) as lab:
        run = link(lab, codec=codec)
        found = touch(run, "unknown")
        assert found["reason"] in ("no-link-local", "unreachable") and "IPv6" in found["sentence"]


def test_a_codec_without_ipv6() -> None:
    with Lab(no_ipv6=("codec",)) as lab:
        touch(link(lab, codec="fd00:50::20"), "unknown", reason="neighbour-silent")


def test_a_room_with_nothing_but_a_link_local_address(lab: Lab) -> None:
    """Two small computers on two wall ports: no router, no address, no name server."""
    for family in ("-4", "-6"):
        lab.exec("room", "ip", family, "route", "flush", "default")
    lab.exec("room", "ip", "addr", "flush", "dev", "eth0", "scope", "global")
    try:
        touch(link(lab), "full", confidence="proven")
    finally:
        lab.configure("room")


def test_ctrl_c_during_a_hold_reports_what_is_known(lab: Lab) -> None:
    child = lab.popen("--once", "--json", "--profile", "teamline-5141", "--codec", near(lab), "--hold", "60")
    time.sleep(2.5)
    child.send_signal(2)
    out, _ = child.communicate(timeout=10)
    report = json.loads(out)
    assert child.returncode == 3 and report["run"]["interrupted"] is True
