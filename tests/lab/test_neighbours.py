"""The neighbours of the room, seen by nobody without rights: echo, names, the cache, and neighbours that lie."""

from __future__ import annotations

import ipaddress
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import faults_link, product
from .network import Lab
from .procs import Process, Spec, program

HERE = Path(__file__).parent
RANGE = "net.ipv4.ping_group_range"
FORBIDDEN = "ICMPv6 echo could not be asked: net.ipv4.ping_group_range does not include this user's group, and roomprobe has no CAP_NET_RAW."
Seen = Callable[..., Any]


class Room:
    """The lab as the runner in the room sees it; `taken` is what the last call has drawn from the bucket."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.taken = lab, 0
        self.interpreter, path = product._interpreter(lab)
        self.env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def call(self, what: str, uid: int = product.NOBODY, **given: Any) -> Any:
        argv = [self.interpreter, str(self.lab.work / "neighbours.py"), what, json.dumps(given)]
        done = product.finish(product.popen(self.lab, argv, uid=uid, env=self.env), 30)
        assert done.returncode == 0 and not done.stderr, done.stderr
        said = json.loads(done.stdout)
        self.taken = said["taken"]
        return said["result"]

    def survey(self, **given: Any) -> dict[str, Any]:
        """What was found at eth0."""
        found: list[dict[str, Any]] = self.call("survey", **given)
        return next(one for one in found if one["interface"] == "eth0")

    def near(self, found: dict[str, Any], address: str) -> dict[str, Any] | None:
        return next((one for one in found["near"] if one["address"] == address), None)

    def address(self, ns: str) -> str:
        return f"{self.lab.link_local(ns)}%eth0"

    def entry(self, ns: str) -> str:
        """A host's entry in the room's neighbour cache, as `ip neigh` takes it."""
        return f"{self.lab.link_local(ns)} dev eth0 lladdr {self.mac(ns)}"

    def mac(self, ns: str, port: str = "eth0") -> str:
        shown = json.loads(self.lab.exec(ns, "ip", "-j", "link", "show", "dev", port))
        return str(shown[0]["address"])

    def let_ping(self, allowed: bool = True) -> None:
        group = product.NOBODY if allowed else 0
        self.lab.exec("room", "sysctl", "-qw", f"{RANGE}={group} {group}" if allowed else f"{RANGE}=1 0")

    def start(self, role: str, *argv: str, port: int) -> Process:
        return self.lab.start(Spec(role, "codec", argv, (("udp", port, 1),)))

    def lie(self, kind: str, mode: str) -> Process:
        return self.start("liar", sys.executable, str(HERE / "hostile_neighbour.py"), kind, mode, port=9999)


@pytest.fixture(scope="module")
def built() -> Iterator[Room]:
    with Lab(second_interface=True) as lab:
        script = lab.work / "neighbours.py"
        script.write_bytes((HERE / "neighbours.py").read_bytes())
        script.chmod(0o644)
        for ns in ("room", "codec", lab.gateway):
            lab.link_local(ns, "lan0" if ns == lab.gateway else "eth0")
        # Five seconds by default until the kernel asks again for a neighbour met earlier.
        lab.exec("room", "sysctl", "-qw", "net.ipv6.neigh.eth0.delay_first_probe_time=2")
        yield Room(lab)


@pytest.fixture
def room(built: Room) -> Iterator[Room]:
    """The shared lab as it was: nobody may ping, the cache is empty, no servers and no faults."""
    built.let_ping(False)
    built.lab.ip("room", "-6 neigh flush all", "-4 neigh flush all")
    yield built
    built.lab.mend()
    for role in list(built.lab.running):
        built.lab.stop(role)


# Echo


def test_echo_without_any_right_is_refused_in_one_sentence(room: Room) -> None:
    found = room.call("ping", address=room.address("codec"), count=1)
    assert (found["refused"], found["sent"], found["answers"], room.taken) == (FORBIDDEN, 0, [], 0)
    survey = room.survey()
    assert (survey["heard"], survey["untried"]) == (None, FORBIDDEN)


def test_echo_to_one_neighbour(room: Room) -> None:
    room.let_ping()
    near, ula = room.address("codec"), room.lab.address("codec", 6)
    for address in (near, ula):
        found = room.call("ping", address=address, count=3)
        assert [one for one, _ in found["answers"]] == [address]
        assert (found["sent"], found["refused"], found["failure"], room.taken) == (3, None, None, 3)
        assert 0 < found["answers"][0][1] < 1000


def test_echo_to_all_nodes_of_one_link(room: Room) -> None:
    room.let_ping()
    found = room.call("ping", address="ff02::1", interface="eth0", count=1)
    hosts = {room.address("codec"), f"{room.lab.link_local(room.lab.gateway, 'lan0')}%eth0"}
    assert hosts <= {address for address, _ in found["answers"]}
    assert room.address("room") not in {address for address, _ in found["answers"]}
    for _ in range(6):  # a new bridge takes its time to learn who listens to what
        other = room.call("ping", address="ff02::1%eth1", count=1)
        if other["answers"]:
            break
    assert [address for address, _ in other["answers"]] == [f"{room.lab.link_local('lan', 'br1')}%eth1"]


def test_echo_by_a_raw_socket_where_ping_sockets_are_forbidden(room: Room) -> None:
    found = room.call("ping", uid=0, address=room.address("codec"), count=2)
    assert ([one for one, _ in found["answers"]], found["sent"]) == ([room.address("codec")], 2)


def test_echo_to_nobody_and_from_nowhere(room: Room) -> None:
    room.let_ping()
    dead = room.call("ping", address="fe80::dead%eth0", count=2)
    assert (dead["answers"], dead["sent"], dead["failure"]) == ([], 2, None)
    nowhere = room.call("ping", address="2001:db8::1%eth1", count=1)
    assert nowhere["answers"] == []
    for address in ("192.0.2.1", "fe80::1%none", "codec", "fe80::1"):
        failed = room.call("ping", address=address, count=1)
        assert (failed["failure"]["errno"], failed["sent"]) == ("EINVAL", 0)


@pytest.mark.parametrize("uid", [0, product.NOBODY])
def test_only_our_own_echo_counts(room: Room, uid: int) -> None:
    room.let_ping(uid != 0)
    room.lie("echo", "junk")
    found = room.call("ping", uid=uid, address="ff02::1", interface="eth0", count=2)
    addresses = [address for address, _ in found["answers"]]
    assert "fe80::900d%eth0" in addresses
    assert not [address for address in addresses if "bad" in address]


def test_ten_thousand_neighbours_are_256(room: Room) -> None:
    room.let_ping()
    room.lie("echo", "many")
    found = room.survey()
    assert len(found["heard"]) == 256 == len(set(found["heard"]))
    assert len(found["near"]) <= 256
    # Two interfaces with an echo each, one router, and as many datagrams as are allowed.
    assert room.taken <= 2 + 1 + 32


# Names


def test_a_name_by_mdns(room: Room) -> None:
    config = room.lab.work / "avahi.conf"
    config.write_text(
        "[server]\nhost-name=Codec\nuse-ipv4=no\nuse-ipv6=yes\nallow-interfaces=eth0\nenable-dbus=no\n"
        "[publish]\npublish-hinfo=no\npublish-workstation=no\n"
    )
    avahi = program("avahi-daemon", "avahi-daemon")
    options = ("-f", str(config), "--no-drop-root", "--no-chroot", "--no-rlimits")
    own_run = 'mount -t tmpfs tmpfs /run; exec "$@"'  # its pid file has a fixed place
    room.start("mdns", "sh", "-euc", own_run, "sh", avahi, *options, port=5353)
    for _ in range(10):  # it first asks the link, for a second or so, whether the name is free
        found = room.call("find", name="codec.local", interfaces=["eth1", "eth0"])
        if found["addresses"]:
            break
    assert found == {"addresses": [room.lab.address("codec", 6)], "untried": []}
    assert room.taken <= 4
    assert room.call("find", name="other.local", interfaces=["eth0"]) == {"addresses": [], "untried": []}
    assert room.call("find", name="codec", interfaces=["eth0"]) == {"addresses": [], "untried": []}


def test_a_name_by_llmnr(room: Room) -> None:
    llmnrd = program("llmnrd", "llmnrd")
    room.start("llmnr", llmnrd, "-6", "-H", "codec", "-i", "eth0", port=5355)
    found = room.call("find", name="CODEC", interfaces=["eth1", "eth0"])
    assert set(found["addresses"]) == {room.lab.address("codec", 6), room.address("codec")}
    assert room.call("find", name="other", interfaces=["eth0"])["addresses"] == []
    assert room.taken == 2


@pytest.mark.parametrize("name", ["codec.local", "codec"])
def test_a_lying_neighbour_is_waited_past(room: Room, name: str) -> None:
    room.lab.ip("codec", "addr replace 2001:db8:bad::5/64 dev eth0 nodad")
    room.lie("name", "junk")
    found = room.call("find", name=name, interfaces=["eth0"])
    assert found == {"addresses": ["fe80::900d%eth0"], "untried": []}


def test_ten_thousand_addresses_of_one_name_are_sixteen(room: Room) -> None:
    room.lab.ip("codec", "addr replace 2001:db8:bad::5/64 dev eth0 nodad")
    room.lie("name", "many")
    found = room.call("find", name="codec.local", interfaces=["eth0"])
    assert len(found["addresses"]) == 16


def test_an_interface_that_cannot_be_asked_is_named(room: Room) -> None:
    room.lab.ip("room", "link set eth1 down")
    try:
        found = room.call("find", name="codec.local", interfaces=["eth0", "eth1"])
    finally:
        room.lab.configure("room")
    assert found["untried"] == ["mDNS could not be asked at eth1 (ENETUNREACH)."]


# Who is there


def test_the_survey_knows_the_living_from_the_dead(room: Room) -> None:
    codec = room.address("codec")
    found = room.survey(poke=["fe80::dead%eth0", codec], wait_s=5.0)
    assert (room.near(found, codec) or {}) == {
        "address": codec,
        "mac": room.mac("codec"),
        "state": "reachable",
        "router": False,
    }
    assert (room.near(found, "fe80::dead%eth0") or {})["state"] == "failed"
    router = room.near(found, room.lab.address(room.lab.gateway, 6)) or {}
    assert (router["router"], router["mac"]) == (True, room.mac(room.lab.gateway, "lan0"))
    assert codec in found["answered"] and "fe80::dead%eth0" not in found["answered"]
    assert room.taken == 2 + 1
    own = {one["address"]: one for one in found["own"]}
    assert set(own) == {room.lab.link_local("room"), room.lab.address("room", 6)}
    assert all(one["usable"] and not one["failed"] and not one["dynamic"] for one in own.values())


def test_the_survey_learns_the_cards_of_those_that_it_hears(room: Room) -> None:
    room.let_ping()
    found = room.survey()
    heard = {room.address("codec"), f"{room.lab.link_local(room.lab.gateway, 'lan0')}%eth0"}
    assert heard <= set(found["heard"]) and found["untried"] is None
    assert {(room.near(found, one) or {}).get("mac") for one in heard} == {
        room.mac("codec"),
        room.mac(room.lab.gateway, "lan0"),
    }
    # The bridge itself answers too.
    routers = {one["mac"]: one["router"] for one in found["near"]}
    assert (routers[room.mac("codec")], routers[room.mac(room.lab.gateway, "lan0")]) == (False, True)


def test_addresses_of_our_own_that_are_no_good(room: Room) -> None:
    lab = room.lab
    lab.ip("codec", "addr replace fd00:50::77/64 dev eth0 nodad")
    lab.exec("room", "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=1")
    lab.ip(
        "room",
        "addr add fd00:50::77/64 dev eth0",
        "addr add fd00:50::78/64 dev eth0 nodad valid_lft 600 preferred_lft 500",
    )
    try:
        end = time.monotonic() + 5
        while "dadfailed" not in lab.exec("room", "ip", "-6", "addr", "show", "dev", "eth0") and time.monotonic() < end:
            time.sleep(0.05)
        own = {one["address"]: one for one in room.survey()["own"]}
        tables = {one["address"]: one for one in room.call("tables")["addresses"]}
    finally:
        lab.ip("room", "addr del fd00:50::77/64 dev eth0", "addr del fd00:50::78/64 dev eth0")
        lab.exec("room", "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
        lab.ip("codec", "addr del fd00:50::77/64 dev eth0")
    assert (own["fd00:50::77"]["usable"], own["fd00:50::77"]["failed"]) == (False, True)
    assert own["fd00:50::78"]["dynamic"] and own["fd00:50::78"]["usable"]
    assert tables[lab.link_local("room")]["scope"] == "link" and tables["fd00:50::78"]["scope"] == "global"


# Towards one address


def test_towards_a_codec_that_is_there(room: Room) -> None:
    room.let_ping()
    codec = room.address("codec")
    found = room.call("towards", address=codec)
    assert (found["interface"], found["gateway"], found["source"]) == ("eth0", None, room.lab.link_local("room"))
    # The codec's own solicitation may have made the entry; then the kernel waits before it asks in turn.
    assert (room.near(found, codec) or {})["state"] in ("reachable", "delay")
    assert found["echoed"] is True and codec in found["heard"] and codec in found["answered"]
    assert found["gateway4"] == "reachable" and found["elsewhere"] == []
    assert [(one["address"], one["interface"], one["advertised"]) for one in found["routers"]] == [
        (room.lab.address(room.lab.gateway, 6), "eth0", False)
    ]


def test_towards_an_address_with_the_wrong_scope_id(room: Room) -> None:
    wrong = f"{room.lab.link_local('codec')}%eth1"
    found = room.call("towards", address=wrong)
    assert (found["interface"], found["elsewhere"], found["echoed"]) == ("eth1", ["eth0"], None)
    assert (room.near(found, wrong) or {}).get("state") in ("incomplete", "failed")


def test_towards_an_address_behind_the_router(room: Room) -> None:
    room.let_ping()
    far = "2001:db8:113::10"
    found = room.call("towards", address=far)
    router = room.lab.address(room.lab.gateway, 6)
    assert (found["gateway"], found["source"], found["echoed"]) == (router, room.lab.address("room", 6), True)
    assert (room.near(found, router) or {})["router"] is True and room.near(found, far) is None
    room.lab.ip("room", f"route add 2001:db8:113::11 via {router} mtu 1280")
    try:
        way = room.call("route_to", address="2001:db8:113::11")
    finally:
        room.lab.ip("room", "route del 2001:db8:113::11")
    assert (way["gateway"], way["interface"], way["source"], way["mtu"]) == (
        router,
        "eth0",
        room.lab.address("room", 6),
        1280,
    )


@pytest.mark.parametrize("address", ["192.0.2.1", "codec", "fe80::1", "fe80::1%none", "", "2001:db8::1%eth9"])
def test_towards_what_is_no_address_of_a_link(room: Room, address: str) -> None:
    found = room.call("towards", address=address)
    assert (found["source"] is None or address == "192.0.2.1", found["near"]) == (True, [])


def test_a_refusal_by_this_box_itself_is_no_sign_of_life(room: Room) -> None:
    rule = "type filter hook output priority 0; udp dport 9 reject with icmpv6 port-unreachable"
    room.lab.nft("room", f"table ip6 own {{ chain o {{ {rule}; }}; }}")
    try:
        found = room.survey(poke=[room.address("codec")])
    finally:
        room.lab.exec("room", "nft", "delete", "table", "ip6", "own")
    assert found["answered"] == []


def test_an_old_entry_of_a_codec_that_is_gone_is_not_believed(room: Room) -> None:
    codec, entry = room.address("codec"), room.entry("codec")
    faults_link.codec_off(room.lab)
    room.lab.ip("room", f"neigh replace {entry} nud stale")
    found = room.call("towards", address=codec)
    assert (room.near(found, codec) or {})["state"] == "failed"


def test_an_old_entry_of_a_codec_that_is_silent_is_confirmed(room: Room) -> None:
    codec, entry = room.address("codec"), room.entry("codec")
    room.lab.ip("room", f"neigh replace {entry} nud stale")
    rule = "type filter hook input priority 0; meta l4proto { tcp, udp } drop;"
    room.lab.nft("codec", f"table ip6 mute {{ chain i {{ {rule} }}; }}")
    try:
        found = room.call("towards", address=codec)
    finally:
        room.lab.exec("codec", "nft", "delete", "table", "ip6", "mute")
    assert ((room.near(found, codec) or {})["state"], codec in found["answered"]) == ("reachable", False)


def test_arp_answers_while_neighbour_discovery_does_not(room: Room) -> None:
    faults_link.nd_filtered(room.lab)
    found = room.call("towards", address=room.address("codec"))
    assert found["gateway4"] == "reachable" and found["answered"] == []
    assert {one["state"] for one in found["near"]} <= {"incomplete", "failed"}


def test_isolated_ports_leave_the_router_alone(room: Room) -> None:
    room.let_ping()
    faults_link.client_isolation(room.lab)
    found = room.call("towards", address=room.address("codec"))
    router = f"{room.lab.link_local(room.lab.gateway, 'lan0')}%eth0"
    assert room.address("codec") not in found["heard"] and router in found["heard"]
    gateway = room.near(found, room.lab.address(room.lab.gateway, 6)) or {}
    assert (gateway["state"], gateway["router"]) == ("reachable", True)
    assert (room.near(found, room.address("codec")) or {})["state"] in ("incomplete", "failed")
    assert found["echoed"] is False


def test_a_router_that_advertised_itself_is_told_apart(room: Room) -> None:
    faults_link.stray_ra(room.lab)
    found = room.call("towards", address="2001:db8:113::10")
    advertised = [one for one in found["routers"] if one["advertised"]]
    assert len(advertised) == 1 and ipaddress.ip_address(advertised[0]["address"].partition("%")[0]).is_link_local
    assert [one["dynamic"] for one in found["own"]].count(True) == 1


def test_a_box_without_ipv6_says_what_it_could_not_ask(room: Room) -> None:
    room.let_ping()
    room.lab.exec("room", "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
    try:
        found = room.survey()
    finally:
        room.lab.exec("room", "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
        room.lab.configure("room")
    assert (found["own"], found["near"], found["heard"]) == ([], [], None)
    assert found["untried"] in {
        f"The all-nodes echo could not be sent at eth0 ({e})." for e in ("EADDRNOTAVAIL", "ENETUNREACH", "EACCES")
    }
