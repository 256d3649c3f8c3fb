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

from roomprobe.net import netlink
from roomprobe.net.netlink import Link, Neighbour, Route
from roomprobe.net.pace import Bucket

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


def route(family: int, *attributes: bytes, length: int = 0, kind: int = 1, table: int = 254, flags: int = 0) -> bytes:
    return message(24, struct.pack("=BBBBBBBBI", family, length, 0, 0, table, 3, 0, kind, flags), *attributes)


DONE = message(3, bytes(4))


def test_links() -> None:
    wire = attribute(18 | 0x8000, attribute(1, b"wireguard"))
    data = link(1, "lo", 0x49) + link(2, "eth0", 0x1003, attribute(33, b"\0")) + link(3, "wg0", 0x1, wire) + DONE
    assert netlink.parse_links(data) == (
        Link(index=1, name="lo", up=True, loopback=True, carrier=None),
        Link(index=2, name="eth0", up=True, loopback=False, carrier=False),
        Link(index=3, name="wg0", up=True, loopback=False, carrier=None, kind="wireguard"),
    )


def test_an_attribute_that_claims_more_than_there_is_is_left_out() -> None:
    claims = struct.pack("=HH", 60, 3) + b"eth0"
    assert netlink.parse_links(message(16, struct.pack("=BxHiII", 0, 1, 2, 1, 0), claims)) == ()


def test_addresses_take_our_end_and_know_the_unusable() -> None:
    def entry(family: int, prefix: int, flags: int, *attributes: bytes) -> bytes:
        return message(20, struct.pack("=BBBBI", family, prefix, flags, 0, 2), *attributes)

    data = (
        entry(V4, 32, 0x80, attribute(1, ip("10.8.0.1")), attribute(2, ip("10.8.0.2")))
        + entry(V6, 64, 0x80, attribute(1, ip("fd00::5")))
        + entry(V6, 64, 0x40, attribute(1, ip("fd00::6")))
        + entry(V6, 64, 0x08, attribute(1, ip("fd00::7")))
        + entry(V4, 33, 0, attribute(2, ip("10.0.0.1")))
        + entry(V4, 24, 0, attribute(2, b"\x0a"))
        + entry(17, 24, 0, attribute(2, ip("10.0.0.1")))
    )
    assert [(a.address, a.prefix, a.usable) for a in netlink.parse_addresses(data)] == [
        ("10.8.0.2", 32, True),
        ("fd00::5", 64, True),
        ("fd00::6", 64, False),
        ("fd00::7", 64, False),
    ]


def test_only_default_routes_of_the_main_table() -> None:
    way = (attribute(5, ip("192.0.2.1")), attribute(4, u32(2)))
    data = (
        route(V4, *way, attribute(6, u32(100)), attribute(15, u32(254)))
        + route(V4, *way, length=24)
        + route(V4, *way, table=255)
        + route(V4, *way, attribute(15, u32(51820)), table=252)
        + route(V6, attribute(4, u32(1)), kind=7)
        + route(V6, attribute(4, u32(3)), flags=0x10)
    )
    assert netlink.parse_routes(data) == (
        Route(family=4, index=2, gateway="192.0.2.1", metric=100),
        Route(family=6, index=3, gateway=None, alive=False),
    )


def test_multipath_and_a_gateway_of_the_other_family() -> None:
    def hop(index: int, hops: int, gateway: bytes) -> bytes:
        return struct.pack("=HBBi", 8 + len(gateway), 0, hops, index) + gateway

    via = attribute(18, struct.pack("=H", V6) + ip("fe80::1"))
    data = route(V4, attribute(9, hop(2, 0, attribute(5, ip("192.0.2.1"))) + hop(3, 4, via)))
    assert netlink.parse_routes(data) == (
        Route(family=4, index=2, gateway="192.0.2.1", weight=1),
        Route(family=4, index=3, gateway="fe80::1", weight=5),
    )


def test_neighbours() -> None:
    def entry(address: str, state: int) -> bytes:
        return message(
            28, struct.pack("=BBHiHBB", V4, 0, 0, 2, state, 0, 1), attribute(1, ip(address)), attribute(2, bytes(6))
        )

    data = entry("192.0.2.1", 2) + entry("192.0.2.7", 0x20) + entry("224.0.0.1", 0x40) + entry("192.0.2.9", 0)
    assert netlink.parse_neighbours(data) == (
        Neighbour(index=2, address="192.0.2.1", state="reachable"),
        Neighbour(index=2, address="192.0.2.7", state="failed"),
    )


PARSERS: list[Callable[[bytes], Any]] = [
    netlink.parse_links,
    netlink.parse_addresses,
    netlink.parse_routes,
    netlink.parse_neighbours,
]
WHOLE = (
    link(2, "eth0", 0x1043, attribute(33, b"\1"), attribute(18, attribute(1, b"veth\0")))
    + message(20, struct.pack("=BBBBI", V6, 64, 0x80, 0, 2), attribute(1, ip("fd00::5")))
    + route(V4, attribute(9, struct.pack("=HBBi", 16, 0, 0, 2) + attribute(5, ip("192.0.2.1"))))
    + message(28, struct.pack("=BBHiHBB", V4, 0, 0, 2, 2, 0, 1), attribute(1, ip("192.0.2.1")))
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
