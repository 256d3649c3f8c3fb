"""Echo and names asked of the neighbours by nobody without rights: real responders, and neighbours that lie."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import product
from .looking import Room, as_it_was, built
from .procs import program

FORBIDDEN = "ICMPv6 echo could not be asked: net.ipv4.ping_group_range does not include this user's group, and roomprobe has no CAP_NET_RAW."


@pytest.fixture(scope="module")
def whole() -> Iterator[Room]:
    with built() as made:
        yield made


@pytest.fixture
def room(whole: Room) -> Iterator[Room]:
    yield from as_it_was(whole)


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
    other = room.call("ping", address="ff02::1%eth1", count=1)
    assert other["sent"] == 1 and all(address.endswith("%eth1") for address, _ in other["answers"])


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
