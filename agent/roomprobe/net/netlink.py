"""What the kernel says of links, addresses, routes and neighbours: rtnetlink dumps, read-only and unprivileged.

Parsing takes bytes and is bounded; nothing here sends a packet to the network except `poke`, one datagram to a
neighbour. Numbers are those of linux/rtnetlink.h, linux/if_link.h and linux/neighbour.h.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

from roomprobe.model import Frozen
from roomprobe.net.pace import Bucket

MAX_BYTES = 4 << 20
MAX_ATTRIBUTES = 256

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30

_LENGTH = {socket.AF_INET: 4, socket.AF_INET6: 16}
_HEADER = struct.Struct("=IHHII")
_BODY = {RTM_NEWLINK: 16, RTM_NEWADDR: 8, RTM_NEWROUTE: 12, RTM_NEWNEIGH: 12}
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40
_RTN_UNICAST, _RT_TABLE_MAIN = 1, 254
_RTNH_F_DEAD, _RTNH_F_LINKDOWN = 0x1, 0x10
NEIGHBOUR_STATES = {
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}


class Link(Frozen, frozen=True):
    """A network interface. `carrier` None: the kernel did not say. `kind` is the virtual kind ("veth", "wireguard")."""

    index: int
    name: str
    up: bool
    loopback: bool
    carrier: bool | None
    kind: str | None = None


class LocalAddress(Frozen, frozen=True):
    """An address of this box; `usable` is False while it is tentative and after duplicate detection failed."""

    index: int
    address: str
    prefix: int
    usable: bool = True


class Route(Frozen, frozen=True):
    """A default route of the main table, one for each next hop. `gateway` None: straight onto the link (a tunnel).

    Lower `metric` wins, then higher `weight`; `alive` is False when the kernel knows the link to be down.
    """

    family: int
    index: int
    gateway: str | None
    metric: int = 0
    weight: int = 1
    alive: bool = True


class Neighbour(Frozen, frozen=True):
    """An entry of the neighbour table; `state` is one of NEIGHBOUR_STATES."""

    index: int
    address: str
    state: str


class Tables(Frozen, frozen=True):
    """All four tables at one moment. `way_out` is the interface that traffic to the Internet would take, if any."""

    links: tuple[Link, ...] = ()
    addresses: tuple[LocalAddress, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    way_out: int | None = None


def read() -> Tables:
    """The kernel's tables now. A table that cannot be read is empty; never raises for what the kernel answers."""
    return Tables(
        links=parse_links(_ask(RTM_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0))),
        addresses=parse_addresses(_ask(RTM_GETADDR, bytes(8))),
        routes=parse_routes(_ask(RTM_GETROUTE, bytes(12))),
        neighbours=read_neighbours(),
        way_out=_way_out(),
    )


def read_neighbours() -> tuple[Neighbour, ...]:
    """The neighbour table alone."""
    return parse_neighbours(_ask(RTM_GETNEIGH, bytes(12)))


def parse_links(data: bytes) -> tuple[Link, ...]:
    """The links of a dump (IFLA_IFNAME 3, IFLA_LINKINFO 18 with IFLA_INFO_KIND 1, IFLA_CARRIER 33)."""
    links = []
    for body, found in _messages(data, RTM_NEWLINK):
        index, flags = struct.unpack_from("=iI", body, 4)
        name = _text(found.get(3))
        if not name:
            continue
        carrier = found.get(33)
        links.append(
            Link(
                index=index,
                name=name,
                up=bool(flags & _IFF_UP),
                loopback=bool(flags & _IFF_LOOPBACK),
                carrier=bool(carrier[0]) if carrier and flags & _IFF_UP else None,
                kind=_text(dict(_attributes(found.get(18, b""))).get(1)) or None,
            )
        )
    return tuple(links)


def parse_addresses(data: bytes) -> tuple[LocalAddress, ...]:
    """The addresses of a dump. IFA_LOCAL 2 is our end on a point-to-point link, IFA_ADDRESS 1 otherwise."""
    addresses = []
    for body, found in _messages(data, RTM_NEWADDR):
        family, prefix, flags = body[0], body[1], body[2]
        address = _address(family, found.get(2) or found.get(1))
        if address is None or prefix > 8 * _LENGTH[socket.AddressFamily(family)]:
            continue
        usable = not flags & (_IFA_F_DADFAILED | _IFA_F_TENTATIVE)
        (index,) = struct.unpack_from("=I", body, 4)
        addresses.append(LocalAddress(index=index, address=address, prefix=prefix, usable=usable))
    return tuple(addresses)


def parse_routes(data: bytes) -> tuple[Route, ...]:
    """The default routes of a dump: unicast, main table, no destination; one for each next hop (RTA_MULTIPATH 9)."""
    routes: list[Route] = []
    for body, found in _messages(data, RTM_NEWROUTE):
        family, length, table, kind = body[0], body[1], body[4], body[7]
        if family not in _LENGTH or length or kind != _RTN_UNICAST:
            continue
        if _number(found.get(15), table) != _RT_TABLE_MAIN:
            continue
        (flags,) = struct.unpack_from("=I", body, 8)
        metric = _number(found.get(6), 0)
        hops = list(_next_hops(found[9])) if 9 in found else [(_number(found.get(4), 0), 1, flags, found)]
        routes += [
            Route(
                family=4 if family == socket.AF_INET else 6,
                index=index,
                gateway=_gateway(family, way),
                metric=metric,
                weight=weight,
                alive=not hop_flags & (_RTNH_F_DEAD | _RTNH_F_LINKDOWN),
            )
            for index, weight, hop_flags, way in hops
        ]
    return tuple(routes)


def parse_neighbours(data: bytes) -> tuple[Neighbour, ...]:
    """The neighbours of a dump (NDA_DST 1); entries that need no resolution (broadcast, multicast) are left out."""
    neighbours = []
    for body, found in _messages(data, RTM_NEWNEIGH):
        index, number = struct.unpack_from("=iH", body, 4)
        address, state = _address(body[0], found.get(1)), NEIGHBOUR_STATES.get(number)
        if address is not None and state is not None and state != "noarp":
            neighbours.append(Neighbour(index=index, address=address, state=state))
    return tuple(neighbours)


async def poke(address: str, bucket: Bucket) -> None:
    """Sends one empty datagram to UDP port 9 (discard) of a neighbour: the kernel then looks for its hardware address.

    Hop limit 1: even a wrong caller's packet dies at the first router. A refusal of the kernel is not an error: the
    neighbour table then simply stays as it was.
    """
    await bucket.take()
    six = ":" in address
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        out.setsockopt(level, option, 1)
        try:
            out.sendto(b"", (address, 9))
        except OSError:
            return
    await asyncio.sleep(0)


def _way_out() -> int | None:
    """The interface that the kernel would send to the Internet by, policy rules and split default routes included.

    Asked for a documentation address (RFC 5737, RFC 3849): only the routing table is looked at, nothing is sent.
    """
    for family, address in ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1")):
        packed = socket.inet_pton(family, address)
        body = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
        answer = _ask(RTM_GETROUTE, body + struct.pack("=HH", 4 + len(packed), 1) + packed, dump=False)
        for header, found in _messages(answer, RTM_NEWROUTE):
            if header[7] == _RTN_UNICAST and 4 in found:
                return _number(found[4], 0) or None
    return None


def _ask(kind: int, body: bytes, *, dump: bool = True) -> bytes:
    """Every message that the kernel answers with, one after the other; empty when it refuses."""
    flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else 0)
    answer = bytearray()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(1.0)
            kernel.bind((0, 0))
            kernel.sendto(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body, (0, 0))
            while len(answer) < MAX_BYTES:
                data, sender = kernel.recvfrom(1 << 18)
                # Anybody on this box may write to a netlink socket; the kernel is port 0.
                if sender[0] != 0:
                    continue
                answer += data
                if not dump or any(found in (NLMSG_ERROR, NLMSG_DONE) for found, _ in _split(data)):
                    break
    except OSError:
        return b""
    return bytes(answer)


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message; stops at the first that does not fit."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _messages(data: bytes, wanted: int) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """Fixed part and attributes of each message of one type; a message too short for its type is left out."""
    size = _BODY[wanted]
    for kind, payload in _split(data):
        if kind == wanted and len(payload) >= size:
            yield payload[:size], dict(_attributes(payload[size:]))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute; the two flag bits of the type (nested, byte order) are taken off."""
    at = 0
    for _ in range(MAX_ATTRIBUTES):
        if at + 4 > len(data):
            return
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _next_hops(data: bytes) -> Iterator[tuple[int, int, int, dict[int, bytes]]]:
    """(interface, weight, flags, attributes) of each struct rtnexthop."""
    at = 0
    for _ in range(MAX_ATTRIBUTES):
        if at + 8 > len(data):
            return
        length, flags, hops, index = struct.unpack_from("=HBBi", data, at)
        if length < 8 or at + length > len(data):
            return
        yield index, hops + 1, flags, dict(_attributes(data[at + 8 : at + length]))
        at += (length + 3) & ~3


def _gateway(family: int, found: dict[int, bytes]) -> str | None:
    """RTA_GATEWAY 5, or RTA_VIA 18: a gateway of the other family (RFC 5549), with its family in front."""
    via = found.get(18)
    if via is not None and len(via) > 2:
        return _address(struct.unpack_from("=H", via)[0], via[2:])
    return _address(family, found.get(5))


def _address(family: int, value: bytes | None) -> str | None:
    if value is None or family not in _LENGTH or len(value) != _LENGTH[socket.AddressFamily(family)]:
        return None
    return str(ipaddress.ip_address(value))


def _number(value: bytes | None, otherwise: int) -> int:
    return int(struct.unpack("=I", value)[0]) if value is not None and len(value) == 4 else otherwise


def _text(value: bytes | None) -> str:
    return os.fsdecode((value or b"")[:64].split(b"\0")[0])
