"""Who stands around this box on a link: our own addresses, the neighbour cache, who answers an all-nodes echo.

`survey` looks around, `towards` looks at one address and what lies between. Both send little, wait for the kernel and the
neighbours at most as long as told, and give plain values; what they mean is said elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Collection, Sequence

from roomprobe.link.evidence import Near, OwnAddress, Router
from roomprobe.model import RESOLVED, Frozen
from roomprobe.net import netlink
from roomprobe.net.netlink import Link, Tables
from roomprobe.net.pace import Bucket
from roomprobe.net.ping import ALL_NODES, PingResult, ping
from roomprobe.net.poke import Pokes
from roomprobe.net.way import route_to
from roomprobe.text import escape

MOST_LINKS = 8
MOST_NEAR = 256
MOST_POKED = 32
SETTLED = frozenset({"reachable", "failed", "permanent"})
UNDECIDED = frozenset({"stale", "delay", "probe"})
# linux/net/ipv6/ndisc.c: 5 s of "delay" and three probes, one a second, before a neighbour met earlier is given up.
UNDECIDED_S = 9.0
_ORDER = {"reachable": 0, "permanent": 1, "delay": 2, "probe": 3, "stale": 4, "incomplete": 8, "failed": 9}
_POLL_S = 0.02
_AFTER_S = 0.3


class Neighbourhood(Frozen, frozen=True, kw_only=True):
    """One interface and who stands there, IPv6 only. Link-local addresses carry their scope id.

    `own` are this box's addresses at it; `near` is the neighbour cache afterwards, the most alive first, `router` where the
    kernel has it from the neighbour itself or it has the hardware address of one. `heard` answered
    the all-nodes echo (None: `untried` says in a sentence why it could not be asked). `answered` refused a datagram in
    their own name, which proves them alive too. `gateway4` is the neighbour state of the IPv4 gateway, where there is one.
    """

    interface: str
    index: int
    carrier: bool | None
    own: tuple[OwnAddress, ...] = ()
    near: tuple[Near, ...] = ()
    heard: tuple[str, ...] | None = None
    answered: tuple[str, ...] = ()
    untried: str | None = None
    gateway4: str | None = None
    gateway4_confirmed_s: float | None = None


class Towards(Frozen, frozen=True, kw_only=True):
    """What lies between this box and one IPv6 address; the fields that Neighbourhood has too mean the same.

    `gateway` None: it is a neighbour. `source` is the kernel's choice of our address, None without a route. `interface` is
    None when there is neither route nor scope id. `echoed`: the address itself answered an echo (None: could not be
    asked). `elsewhere` are other interfaces on which the same link-local address is a neighbour. `routers` are all default
    routers of this box. `mtu` is the path's, where the kernel knows of one.
    """

    interface: str | None
    gateway: str | None
    source: str | None
    mtu: int | None = None
    carrier: bool | None = None
    own: tuple[OwnAddress, ...] = ()
    near: tuple[Near, ...] = ()
    heard: tuple[str, ...] | None = None
    answered: tuple[str, ...] = ()
    echoed: bool | None = None
    untried: str | None = None
    elsewhere: tuple[str, ...] = ()
    routers: tuple[Router, ...] = ()
    gateway4: str | None = None
    gateway4_confirmed_s: float | None = None


def usable(interfaces: Collection[str], only: str | None = None) -> list[Link]:
    """The Ethernet-like interfaces among those names that are up and plugged in; with `only` that one at most."""
    return [
        link
        for link in netlink.read_links()
        if link.name in interfaces and only in (None, link.name) and _plugged(link)
    ][:MOST_LINKS]


async def survey(
    interfaces: Sequence[Link], bucket: Bucket, wait_s: float = 1.0, poke: Sequence[str] = ()
) -> tuple[Neighbourhood, ...]:
    """One Neighbourhood for each interface, in their order, after at most `wait_s` seconds and a moment.

    Sends one all-nodes echo an interface, one datagram to each address in `poke` (IPv6, with its scope id where it needs
    one) and to each default router, and one to each neighbour that answered and that the kernel does not know yet.
    """
    links, tables = list(interfaces)[:MOST_LINKS], netlink.read()
    with Pokes() as pokes:
        wanted = [(link.index, _plain(address)) for address in poke for link in links if _belongs(address, link)]
        wanted += [gateway for link in links for gateway in _gateways(link, tables)]
        *pings, _ = await asyncio.gather(
            *(_all_nodes(link, bucket, wait_s) for link in links),
            _resolve(wanted[:MOST_POKED], pokes, bucket, wait_s),
        )
        answers: list[PingResult] = [one for one in pings if one is not None]
        known = {(n.index, n.address) for n in netlink.read_neighbours() if n.state in RESOLVED}
        heard = {(link.index, _plain(a)) for link, one in zip(links, answers, strict=True) for a, _ in one.answers}
        await _resolve(sorted(heard - known)[:MOST_POKED], pokes, bucket, min(wait_s, _AFTER_S))
    tables = netlink.read()
    return tuple(_neighbourhood(link, one, tables, pokes) for link, one in zip(links, answers, strict=True))


async def towards(address: str, bucket: Bucket, *, wait_s: float = 1.5) -> Towards:
    """Looks at one IPv6 address, a codec whose ports failed: the way to it, the link, who is alive there.

    Sends two echoes to it, one all-nodes echo, and one datagram each to the address itself where it is a neighbour, to
    the routers and neighbours known already, to the IPv4 gateway, and for a link-local address to the same on each other interface.
    Takes `wait_s` seconds; up to 9 in all when the kernel has an old entry for the address and nothing proves it alive,
    because only then "stale" becomes "failed".
    """
    started, tables, plain = time.monotonic(), netlink.read(), _plain(address)
    way, routers = route_to(address), _routers(tables)
    here = way.index if way is not None else _index(address.partition("%")[2])
    link = next((one for one in tables.links if one.index == here), None)
    if link is None or ":" not in plain:
        return Towards(interface=None, gateway=None, source=None, routers=routers)
    near = way is not None and way.gateway is None
    others = [o for o in tables.links if o.index != link.index and _plugged(o)] if _is_link_local(plain) else []
    wanted = [(link.index, plain)] if near else []
    wanted += _gateways(link, tables)
    wanted += [(other.index, plain) for other in others[:MOST_LINKS]]
    wanted += [(n.index, n.address) for n in _near(link, tables) if n.address != plain]
    if (gateway4 := _gateway4(link, tables)) is not None:
        await netlink.poke(gateway4, bucket)
    with Pokes() as pokes:
        everybody, itself, _ = await asyncio.gather(
            _all_nodes(link, bucket, wait_s),
            ping(address, interface_index=link.index, count=2, wait_s=wait_s, bucket=bucket),
            _resolve(wanted[:MOST_POKED], pokes, bucket, wait_s),
        )
        if near and link.carrier is not False and not itself.answers:
            await _decided(link.index, plain, pokes, started + UNDECIDED_S)
    tables = netlink.read()
    seen = _neighbourhood(link, everybody, tables, pokes)
    return Towards(
        interface=link.name,
        gateway=way.gateway if way else None,
        source=way.source if way else None,
        mtu=way.mtu if way else None,
        carrier=seen.carrier,
        own=seen.own,
        near=seen.near,
        heard=seen.heard,
        answered=seen.answered,
        echoed=bool(itself.answers) if itself.refused is None and itself.sent else None,
        untried=seen.untried,
        elsewhere=tuple(o.name for o in others if _state(o.index, plain, tables.neighbours) in RESOLVED),
        routers=routers,
        gateway4=seen.gateway4,
        gateway4_confirmed_s=seen.gateway4_confirmed_s,
    )


async def _all_nodes(link: Link, bucket: Bucket, wait_s: float) -> PingResult:
    return await ping(ALL_NODES, interface_index=link.index, count=1, wait_s=wait_s, bucket=bucket)


async def _resolve(wanted: Sequence[tuple[int, str]], pokes: Pokes, bucket: Bucket, wait_s: float) -> None:
    """Pokes each (interface, address) and waits until the kernel or the neighbour itself has said what is with it."""
    for index, address in wanted:
        await pokes.send(address, index, bucket)
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        pokes.drain()
        states = {(n.index, n.address): n.state for n in netlink.read_neighbours()}
        if all(one in pokes.answered or states.get(one) in SETTLED for one in wanted):
            return
        await asyncio.sleep(_POLL_S)


async def _decided(index: int, plain: str, pokes: Pokes, until: float) -> None:
    """Waits while the kernel still believes in an old entry that nothing has confirmed."""
    while time.monotonic() < until:
        pokes.drain()
        if _state(index, plain, netlink.read_neighbours()) not in UNDECIDED:
            return
        if (index, plain) in pokes.answered:
            return
        await asyncio.sleep(5 * _POLL_S)


def _neighbourhood(link: Link, everybody: PingResult, tables: Tables, pokes: Pokes) -> Neighbourhood:
    now = next((one for one in tables.links if one.index == link.index), link)
    untried = everybody.refused
    if untried is None and everybody.failure is not None:
        untried = f"The all-nodes echo could not be sent at {escape(link.name, 20)} ({everybody.failure.errno})."
    gateway4 = _gateway4(link, tables)
    near, gateways = _near(link, tables), _gateways(link, tables)
    # A router has several addresses; only those that were asked for themselves have said so to the kernel.
    routers = {n.mac for n in near if n.router or (n.index, n.address) in gateways} - {None}
    return Neighbourhood(
        interface=link.name,
        index=link.index,
        carrier=now.carrier,
        own=tuple(
            OwnAddress(address=a.address, prefix=a.prefix, usable=a.usable, failed=a.failed, dynamic=a.dynamic)
            for a in tables.addresses
            if a.index == link.index and ":" in a.address
        ),
        near=tuple(
            Near(
                address=_scoped(n.address, link),
                mac=n.mac,
                state=n.state,
                router=n.router or n.mac in routers or (n.index, n.address) in gateways,
                confirmed_s=n.confirmed_s,
            )
            for n in near
        ),
        heard=None if untried else tuple(address for address, _ in everybody.answers),
        answered=tuple(sorted(_scoped(a, link) for index, a in pokes.answered if index == link.index)),
        untried=untried,
        gateway4=_state(link.index, gateway4, tables.neighbours) if gateway4 else None,
        gateway4_confirmed_s=next(
            (n.confirmed_s for n in tables.neighbours if (n.index, n.address) == (link.index, gateway4)), None
        ),
    )


def _near(link: Link, tables: Tables) -> list[netlink.Neighbour]:
    """The IPv6 neighbours of a link, the most alive first."""
    mine = [n for n in tables.neighbours if n.index == link.index and ":" in n.address]
    return sorted(mine, key=lambda n: _ORDER.get(n.state, 5))[:MOST_NEAR]


def _routers(tables: Tables) -> tuple[Router, ...]:
    links = {link.index: link for link in tables.links}
    return tuple(
        Router(
            address=_scoped(route.gateway, links[route.index]),
            interface=links[route.index].name,
            advertised=route.protocol == "ra",
            metric=route.metric,
        )
        for route in tables.routes
        if route.family == 6 and route.gateway is not None and route.index in links
    )


def _gateways(link: Link, tables: Tables) -> list[tuple[int, str]]:
    """The IPv6 default routers of a link, with its index."""
    return [(r.index, r.gateway) for r in tables.routes if r.family == 6 and r.index == link.index and r.gateway]


def _gateway4(link: Link, tables: Tables) -> str | None:
    return next((r.gateway for r in tables.routes if r.family == 4 and r.index == link.index and r.gateway), None)


def _state(index: int, plain: str, neighbours: Sequence[netlink.Neighbour]) -> str | None:
    return next((n.state for n in neighbours if n.index == index and n.address == plain), None)


def _scoped(address: str, link: Link) -> str:
    return f"{address}%{link.name}" if _is_link_local(address) else address


def _plain(address: str) -> str:
    """Without scope id, in the one way to write it; "" for what is no address."""
    try:
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return ""


def _index(scope: str) -> int:
    try:
        return int(scope) if scope.isascii() and scope.isdigit() else socket.if_nametoindex(scope)
    except (OSError, ValueError):
        return 0


def _is_link_local(plain: str) -> bool:
    return ipaddress.ip_address(plain).is_link_local


def _belongs(address: str, link: Link) -> bool:
    """Whether an address is a neighbour on that link, as the kernel would send to it."""
    way = route_to(address)
    return way is not None and way.gateway is None and way.index == link.index


def _plugged(link: Link) -> bool:
    return link.up and not link.loopback and link.mac is not None and link.carrier is not False
