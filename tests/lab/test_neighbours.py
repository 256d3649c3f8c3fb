"""Who stands around the room, seen by nobody without rights: the living, the dead, the isolated, and our own addresses."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator

import pytest

from . import faults_link
from .looking import Room, as_it_was, built


@pytest.fixture(scope="module")
def whole() -> Iterator[Room]:
    with built() as made:
        yield made


@pytest.fixture
def room(whole: Room) -> Iterator[Room]:
    yield from as_it_was(whole)


# Who is there


def test_the_survey_knows_the_living_from_the_dead(room: Room) -> None:
    codec = room.address("codec")
    found = room.survey(poke=["fe80::dead%eth0", codec], wait_s=5.0)
    living = room.near(found, codec) or {}
    assert 0 <= living.pop("confirmed_s") < 60
    assert living == {
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
