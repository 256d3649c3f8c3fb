"""What the kernel says of links, addresses, default routes and neighbours: its tables as values, read unprivileged.

Parsing takes bytes and is bounded; nothing here sends a packet to the network except `poke`, one datagram to a
neighbour. Numbers are those of linux/rtnetlink.h, linux/if_link.h and linux/neighbour.h.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

from roomprobe.model import Frozen
from roomprobe.net import rtnetlink
from roomprobe.net.pace import Bucket
from roomprobe.net.rtnetlink import (
    LENGTH,
    MAX_ATTRIBUTES,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
)
from roomprobe.net.way import way_out

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_IFA_F_DADFAILED, _IFA_F_DEPRECATED, _IFA_F_TENTATIVE, _IFA_F_PERMANENT = 0x08, 0x20, 0x40, 0x80
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_RTN_UNICAST, _RT_TABLE_MAIN = 1, 254
_RTNH_F_DEAD, _RTNH_F_LINKDOWN = 0x1, 0x10
_PROTOCOLS = {0: "unspecified", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp"}
_NTF_ROUTER = 0x80
_USER_HZ = 100  # what the kernel counts in towards programs, on every architecture that we run on
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


class Link(Frozen, frozen=True, kw_only=True):
    """A network interface. `carrier` None: the kernel did not say. `kind` is the virtual kind ("veth", "wireguard")."""

    index: int
    name: str
    up: bool
    loopback: bool
    carrier: bool | None
    kind: str | None = None
    mac: str | None = None
    mtu: int | None = None


class LocalAddress(Frozen, frozen=True, kw_only=True):
    """An address of this box; `usable` is False while it is tentative and after duplicate detection `failed`.

    `scope` is the kernel's: "global" (ULA too), "link", "host". `dynamic`: it has a lifetime, as one from a router
    advertisement or DHCP has. `deprecated`: that lifetime is over for new connections (RFC 4862 5.5.4).
    """

    index: int
    address: str
    prefix: int
    usable: bool = True
    scope: str = "global"
    dynamic: bool = False
    deprecated: bool = False
    failed: bool = False


class Route(Frozen, frozen=True, kw_only=True):
    """A default route of the main table, one for each next hop. `gateway` None: straight onto the link (a tunnel).

    Lower `metric` wins, then higher `weight`; `alive` is False when the kernel knows the link to be down. `protocol`
    is who set it: "ra" (a router advertisement), "static", "boot", "dhcp", "kernel", or the number as text.
    """

    family: int
    index: int
    gateway: str | None
    metric: int = 0
    weight: int = 1
    alive: bool = True
    protocol: str = "unspecified"


class Neighbour(Frozen, frozen=True, kw_only=True):
    """An entry of the neighbour table; `state` is one of NEIGHBOUR_STATES, `mac` an Ethernet address where one is known.

    `router`: it said in neighbour discovery that it is one (RFC 4861 4.4); never set for IPv4. `confirmed_s`: seconds since the kernel
    last had proof that it is there.
    """

    index: int
    address: str
    state: str
    mac: str | None = None
    router: bool = False
    confirmed_s: float | None = None


class Tables(Frozen, frozen=True, kw_only=True):
    """All four tables at one moment. `way_out` is the interface that traffic to the Internet would take, if any."""

    links: tuple[Link, ...] = ()
    addresses: tuple[LocalAddress, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    way_out: int | None = None


def read() -> Tables:
    """The kernel's tables now. A table that cannot be read is empty; never raises for what the kernel answers."""
    return Tables(
        links=read_links(),
        addresses=read_addresses(),
        routes=parse_routes(rtnetlink.ask(RTM_GETROUTE, bytes(12))),
        neighbours=read_neighbours(),
        way_out=way_out(),
    )


def read_links() -> tuple[Link, ...]:
    """The interfaces alone."""
    return parse_links(rtnetlink.ask(RTM_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0)))


def read_addresses() -> tuple[LocalAddress, ...]:
    """The addresses alone."""
    return parse_addresses(rtnetlink.ask(RTM_GETADDR, bytes(8)))


def read_neighbours() -> tuple[Neighbour, ...]:
    """The neighbour table alone."""
    return parse_neighbours(rtnetlink.ask(RTM_GETNEIGH, bytes(12)))


def parse_links(data: bytes) -> tuple[Link, ...]:
    """The links of a dump (IFLA_ADDRESS 1, IFNAME 3, MTU 4, LINKINFO 18 with INFO_KIND 1, CARRIER 33)."""
    links = []
    for body, found in rtnetlink.messages(data, RTM_NEWLINK):
        index, flags = struct.unpack_from("=iI", body, 4)
        name = rtnetlink.text(found.get(3))
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
                kind=rtnetlink.text(dict(rtnetlink.attributes(found.get(18, b""))).get(1)) or None,
                mac=rtnetlink.mac(found.get(1)),
                mtu=rtnetlink.number(found.get(4), 0) or None,
            )
        )
    return tuple(links)


def parse_addresses(data: bytes) -> tuple[LocalAddress, ...]:
    """The addresses of a dump. IFA_LOCAL 2 is our end on a point-to-point link, IFA_ADDRESS 1 otherwise; IFA_FLAGS 8."""
    addresses = []
    for body, found in rtnetlink.messages(data, RTM_NEWADDR):
        family, prefix, scope = body[0], body[1], body[3]
        address = rtnetlink.address(family, found.get(2) or found.get(1))
        if address is None or prefix > 8 * LENGTH[socket.AddressFamily(family)]:
            continue
        flags = rtnetlink.number(found.get(8), body[2])
        (index,) = struct.unpack_from("=I", body, 4)
        addresses.append(
            LocalAddress(
                index=index,
                address=address,
                prefix=prefix,
                usable=not flags & (_IFA_F_DADFAILED | _IFA_F_TENTATIVE),
                scope=_SCOPES.get(scope, str(scope)),
                dynamic=not flags & _IFA_F_PERMANENT,
                deprecated=bool(flags & _IFA_F_DEPRECATED),
                failed=bool(flags & _IFA_F_DADFAILED),
            )
        )
    return tuple(addresses)


def parse_routes(data: bytes) -> tuple[Route, ...]:
    """The default routes of a dump: unicast, main table, no destination; one for each next hop (RTA_MULTIPATH 9)."""
    routes: list[Route] = []
    for body, found in rtnetlink.messages(data, RTM_NEWROUTE):
        family, length, table, protocol, kind = body[0], body[1], body[4], body[5], body[7]
        if family not in LENGTH or length or kind != _RTN_UNICAST:
            continue
        if rtnetlink.number(found.get(15), table) != _RT_TABLE_MAIN:
            continue
        (flags,) = struct.unpack_from("=I", body, 8)
        metric = rtnetlink.number(found.get(6), 0)
        hops = list(_next_hops(found[9])) if 9 in found else [(rtnetlink.number(found.get(4), 0), 1, flags, found)]
        routes += [
            Route(
                family=4 if family == socket.AF_INET else 6,
                index=index,
                gateway=rtnetlink.gateway(family, way),
                metric=metric,
                weight=weight,
                alive=not hop_flags & (_RTNH_F_DEAD | _RTNH_F_LINKDOWN),
                protocol=_PROTOCOLS.get(protocol, str(protocol)),
            )
            for index, weight, hop_flags, way in hops
        ]
    return tuple(routes)


def parse_neighbours(data: bytes) -> tuple[Neighbour, ...]:
    """The neighbours of a dump (NDA_DST 1, NDA_LLADDR 2); entries that need no resolution (broadcast, multicast) are left out."""
    neighbours = []
    for body, found in rtnetlink.messages(data, RTM_NEWNEIGH):
        index, number = struct.unpack_from("=iH", body, 4)
        address, state = rtnetlink.address(body[0], found.get(1)), NEIGHBOUR_STATES.get(number)
        if address is not None and state is not None and state != "noarp":
            mac, router = rtnetlink.mac(found.get(2)), bool(body[10] & _NTF_ROUTER)
            ticks = rtnetlink.number(found.get(3, b"")[:4], 0xFFFFFFFF)  # NDA_CACHEINFO: ndm_confirmed comes first
            confirmed = None if ticks == 0xFFFFFFFF else ticks / _USER_HZ
            neighbours.append(
                Neighbour(index=index, address=address, state=state, mac=mac, router=router, confirmed_s=confirmed)
            )
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


def _next_hops(data: bytes) -> Iterator[tuple[int, int, int, dict[int, bytes]]]:
    """(interface, weight, flags, attributes) of each struct rtnexthop."""
    at = 0
    for _ in range(MAX_ATTRIBUTES):
        if at + 8 > len(data):
            return
        length, flags, hops, index = struct.unpack_from("=HBBi", data, at)
        if length < 8 or at + length > len(data):
            return
        yield index, hops + 1, flags, dict(rtnetlink.attributes(data[at + 8 : at + length]))
        at += (length + 3) & ~3
