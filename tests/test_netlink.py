"""The kernel's tables: parsed from bytes made by hand, cut and broken ones included."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.net import netlink, way
from roomprobe.net.netlink import Link, LocalAddress, Neighbour, Route
from roomprobe.net.pace import Bucket
from roomprobe.net.way import Way

V4, V6 = socket.AF_INET, socket.AF_INET6


def attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(padding)


def message(kind: int, body: bytes, *attributes: bytes) -> bytes:
    payload = body + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(payload), kind, 2, 1, 4711) + payload


def ip(text: str) -> bytes:
    return socket.inet_pton(V6 if ":" in text else V4, text)


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


def link(index: int, name: str, flags: int = 0x1043, *more: bytes) -> bytes:
    return message(16, struct.pack("=BxHiII", 0, 1, index, flags, 0), attribute(3, name.encode() + b"\0"), *more)


def route(family: int, *attributes: bytes, protocol: int = 3, **header: int) -> bytes:
    length, table, kind, flags = (header.get(key, default) for key, default in HEADER.items())
    return message(24, struct.pack("=BBBBBBBBI", family, length, 0, 0, table, protocol, 0, kind, flags), *attributes)


def address(family: int, prefix: int, flags: int, *attributes: bytes, scope: int = 0) -> bytes:
    return message(20, struct.pack("=BBBBI", family, prefix, flags, scope, 2), *attributes)


def neighbour(address: str, state: int, mac: bytes = bytes(6), flags: int = 0) -> bytes:
    family = V6 if ":" in address else V4
    body = struct.pack("=BBHiHBB", family, 0, 0, 2, state, flags, 1)
    return message(28, body, attribute(1, ip(address)), attribute(2, mac))


HEADER = {"length": 0, "table": 254, "kind": 1, "flags": 0}
DONE = message(3, bytes(4))


def test_links() -> None:
    wire = attribute(18 | 0x8000, attribute(1, b"wireguard"))
    ethernet = (attribute(1, bytes.fromhex("d83add00aa01")), attribute(4, u32(1500)))
    data = link(1, "lo", 0x49, attribute(1, bytes(6)), attribute(4, u32(65536)))
    data += link(2, "eth0", 0x1003, attribute(33, b"\0"), *ethernet) + link(3, "wg0", 0x1, wire) + DONE
    assert netlink.parse_links(data) == (
        Link(index=1, name="lo", up=True, loopback=True, carrier=None, mtu=65536),
        Link(index=2, name="eth0", up=True, loopback=False, carrier=False, mac="d8:3a:dd:00:aa:01", mtu=1500),
        Link(index=3, name="wg0", up=True, loopback=False, carrier=None, kind="wireguard"),
    )


def test_an_attribute_that_claims_more_than_there_is_is_left_out() -> None:
    claims = struct.pack("=HH", 60, 3) + b"eth0"
    assert netlink.parse_links(message(16, struct.pack("=BxHiII", 0, 1, 2, 1, 0), claims)) == ()


def test_addresses_take_our_end_and_know_the_unusable() -> None:
    data = (
        address(V4, 32, 0x80, attribute(1, ip("10.8.0.1")), attribute(2, ip("10.8.0.2")))
        + address(V6, 64, 0x80, attribute(1, ip("fd00::5")))
        + address(V6, 64, 0x40, attribute(1, ip("fd00::6")))
        + address(V6, 64, 0x08, attribute(1, ip("fd00::7")))
        + address(V4, 33, 0, attribute(2, ip("10.0.0.1")))
        + address(V4, 24, 0, attribute(2, b"\x0a"))
        + address(17, 24, 0, attribute(2, ip("10.0.0.1")))
    )
    assert [(a.address, a.prefix, a.usable) for a in netlink.parse_addresses(data)] == [
        ("10.8.0.2", 32, True),
        ("fd00::5", 64, True),
        ("fd00::6", 64, False),
        ("fd00::7", 64, False),
    ]


def test_what_an_address_is_good_for() -> None:
    ula, wide = attribute(1, ip("fd00::5")), u32(0x180 | 0x20)
    data = (
        address(V6, 64, 0x80, attribute(1, ip("fe80::5")), scope=253)
        + address(V6, 64, 0x80, ula, attribute(8, wide))
        + address(V6, 64, 0x80, ula, attribute(8, u32(0x100)))
        + address(V6, 64, 0xC8, ula, scope=77)
    )
    assert netlink.parse_addresses(data) == (
        LocalAddress(index=2, address="fe80::5", prefix=64, scope="link"),
        LocalAddress(index=2, address="fd00::5", prefix=64, deprecated=True),
        LocalAddress(index=2, address="fd00::5", prefix=64, dynamic=True),
        LocalAddress(index=2, address="fd00::5", prefix=64, usable=False, failed=True, scope="77"),
    )


def test_only_default_routes_of_the_main_table() -> None:
    way = (attribute(5, ip("192.0.2.1")), attribute(4, u32(2)))
    data = (
        route(V4, *way, attribute(6, u32(100)), attribute(15, u32(254)))
        + route(V4, *way, length=24)
        + route(V4, *way, table=255)
        + route(V4, *way, attribute(15, u32(51820)), table=252)
        + route(V6, attribute(4, u32(1)), kind=7)
        + route(V6, attribute(4, u32(3)), flags=0x10, protocol=9)
        + route(V6, attribute(4, u32(4)), protocol=189)
    )
    assert netlink.parse_routes(data) == (
        Route(family=4, index=2, gateway="192.0.2.1", metric=100, protocol="boot"),
        Route(family=6, index=3, gateway=None, alive=False, protocol="ra"),
        Route(family=6, index=4, gateway=None, protocol="189"),
    )


def test_multipath_and_a_gateway_of_the_other_family() -> None:
    def hop(index: int, hops: int, gateway: bytes) -> bytes:
        return struct.pack("=HBBi", 8 + len(gateway), 0, hops, index) + gateway

    via = attribute(18, struct.pack("=H", V6) + ip("fe80::1"))
    data = route(V4, attribute(9, hop(2, 0, attribute(5, ip("192.0.2.1"))) + hop(3, 4, via)))
    assert netlink.parse_routes(data) == (
        Route(family=4, index=2, gateway="192.0.2.1", weight=1, protocol="boot"),
        Route(family=4, index=3, gateway="fe80::1", weight=5, protocol="boot"),
    )


def test_neighbours() -> None:
    mac = bytes.fromhex("d83add00aa01")
    data = neighbour("192.0.2.1", 2, mac) + neighbour("192.0.2.7", 0x20) + neighbour("224.0.0.1", 0x40)
    data += neighbour("192.0.2.9", 0) + neighbour("fe80::1", 4, mac, flags=0x81) + neighbour("fe80::2", 4, bytes(20))
    assert netlink.parse_neighbours(data) == (
        Neighbour(index=2, address="192.0.2.1", state="reachable", mac="d8:3a:dd:00:aa:01"),
        Neighbour(index=2, address="192.0.2.7", state="failed"),
        Neighbour(index=2, address="fe80::1", state="stale", mac="d8:3a:dd:00:aa:01", router=True),
        Neighbour(index=2, address="fe80::2", state="stale"),
    )


def test_a_way_has_gateway_source_and_mtu() -> None:
    one = (attribute(4, u32(1)), attribute(7, ip("fd00::5")))
    metrics = attribute(8, attribute(2, u32(1280)) + attribute(10, u32(64)))
    assert way.parse(route(V6, *one, attribute(5, ip("fe80::1")), metrics)) == Way(
        gateway="fe80::1%lo", interface="lo", index=1, source="fd00::5", mtu=1280
    )
    assert way.parse(route(V6, *one, kind=7)) is None
    assert way.parse(route(V6, attribute(7, ip("fd00::5")))) is None
    gone = way.parse(route(V4, attribute(4, u32(0xFFFFFFF0)), attribute(5, ip("192.0.2.1"))))
    assert gone == Way(gateway="192.0.2.1", interface="4294967280", index=4294967280, source=None)


@pytest.mark.parametrize(
    "address", ["", "codec", "10.0.0.256", "fe80::1", "fe80::1%", "fe80::1%no-such", "::1%0", "::1%" + "9" * 30]
)
def test_no_way_to_what_is_no_address(address: str) -> None:
    assert way.route_to(address) is None


def test_the_way_to_this_box_is_its_loopback() -> None:
    found = way.route_to("127.0.0.1")
    assert found is not None
    assert (found.interface, found.gateway, found.source) == ("lo", None, "127.0.0.1")


PARSERS: list[Callable[[bytes], Any]] = [
    netlink.parse_links,
    netlink.parse_addresses,
    netlink.parse_routes,
    netlink.parse_neighbours,
    lambda data: tuple(filter(None, [way.parse(data)])),
]
WHOLE = (
    link(2, "eth0", 0x1043, attribute(33, b"\1"), attribute(18, attribute(1, b"veth\0")))
    + address(V6, 64, 0x80, attribute(1, ip("fd00::5")), attribute(8, u32(0x80)))
    + route(V4, attribute(9, struct.pack("=HBBi", 16, 0, 0, 2) + attribute(5, ip("192.0.2.1"))))
    + route(V6, attribute(4, u32(2)), attribute(5, ip("fe80::1")), attribute(8, attribute(2, u32(1280))))
    + neighbour("192.0.2.1", 2)
    + DONE
)


@pytest.mark.parametrize("parse", PARSERS)
def test_cut_anywhere_is_only_less(parse: Callable[[bytes], Any]) -> None:
    assert parse(WHOLE)
    for end in range(len(WHOLE)):
        assert len(parse(WHOLE[:end])) <= len(parse(WHOLE))


@given(st.data())
def test_garbage_never_raises(data: st.DataObject) -> None:
    broken = bytearray(WHOLE)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=12)):
        broken[at] = byte
    for parse in PARSERS:
        parse(bytes(broken))
        parse(data.draw(st.binary(max_size=200)))


async def test_poke_takes_a_token_and_never_raises() -> None:
    bucket = Bucket()
    await asyncio.wait_for(netlink.poke("127.0.0.1", bucket), 5)
    await asyncio.wait_for(netlink.poke("255.255.255.255", bucket), 5)
    assert bucket.taken == 2
