"""What stands where in the lab: addresses and routes of every namespace, worked out without touching anything.

The result is one list of `ip` commands per namespace that may be applied any number of times.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LANS = {"private": "192.168.50.{}/24", "shared": "100.64.50.{}/24", "public": "192.0.2.{}/24"}
LAN6 = "fd00:50::{}/64"
# Between two neighbours: IPv4 of the one nearer the far end, of the one nearer the room, IPv6 of the same two.
LINKS = {
    ("hub", "fw"): ("100.64.8.1/30", "100.64.8.2/30", "fd00:58::1/64", "fd00:58::2/64"),
    ("fw", "isp"): ("100.64.0.1/30", "100.64.0.2/30", "fd00:100::1/64", "fd00:100::2/64"),
    ("isp", "core"): ("198.51.100.2/30", "198.51.100.1/30", "2001:db8:51::2/64", "2001:db8:51::1/64"),
    ("core", "net"): ("203.0.113.10/24", "203.0.113.1/24", "2001:db8:113::10/64", "2001:db8:113::1/64"),
}
NET4, NET6 = "203.0.113.0/24", "2001:db8:113::/64"
NET_HOSTS = (10, 11, 12, 20, 53)
# The codec's own LAN behind fw, where it is routed; on the room's LAN: host numbers and bridge ports.
CODEC_LAN = {4: "192.168.60.{}/24", 6: "fd00:60::{}/64"}
HOSTS = {"room": 10, "codec": 20, "codec2": 21, "controller": 30}


@dataclass(frozen=True, kw_only=True)
class Topology:
    """What a lab is built like; faults come and go, these stay.

    `families`: what the site has (the far side always has both). `lan`: its IPv4 range, a key of LANS.
    `inner_hop`: one more router, `hub`, inside the site, joined to fw by 100.64.8.0/30. `nat`: the routers that
    masquerade IPv4 (`fw`, `isp`). `default_icmp_limits`: leave the kernel's limits on ICMP errors as they are.

    `codec`: on the `bridge` with the room, or `routed`: in a LAN of its own at fw's `lan1`, one router away from the
    room, with `inner_hop` two. `second_codec` adds host `codec2`, `controller` a host of that name, both on the bridge.
    `second_interface` gives the room an `eth1` on a bridge with nobody else. `no_ipv6`: hosts whose IPv6 is disabled.
    """

    families: tuple[int, ...] = (4, 6)
    lan: str = "private"
    inner_hop: bool = False
    nat: tuple[str, ...] = ()
    default_icmp_limits: bool = False
    codec: str = "bridge"
    second_codec: bool = False
    controller: bool = False
    second_interface: bool = False
    no_ipv6: tuple[str, ...] = ()

    @property
    def routers(self) -> tuple[str, ...]:
        """In the order of the path; the first is the room's gateway."""
        return (("hub",) if self.inner_hop else ()) + ("fw", "isp", "core")

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace of the lab; `lan` holds the bridge."""
        extra = [ns for ns, there in (("codec2", self.second_codec), ("controller", self.controller)) if there]
        return ("room", "codec", *extra, "lan", *self.routers, "net")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines that stand in LANs: room, codec and what was asked for beside them."""
        return tuple(ns for ns in self.namespaces if ns in HOSTS)

    @property
    def bridged(self) -> dict[str, str]:
        """The hosts on the room's LAN and their ports of the bridge."""
        return {ns: f"p-{ns}" for ns in self.hosts if ns != "codec" or self.codec == "bridge"}

    def lan_of(self, ns: str) -> dict[int, str]:
        """The pattern of a host's own addresses, per family that it has."""
        routed = ns == "codec" and self.codec == "routed"
        patterns = CODEC_LAN if routed else {4: LANS[self.lan], 6: LAN6}
        return {family: patterns[family] for family in self.families if family == 4 or ns not in self.no_ipv6}

    def host_address(self, ns: str, family: int) -> str:
        """The address of a host, or of the room's gateway, on its LAN, without prefix length; KeyError for none."""
        host = 1 if ns == self.routers[0] else HOSTS[ns]
        return bare(self.lan_of(ns)[family].format(host))


def bare(interface: str) -> str:
    """`192.168.50.10` of `192.168.50.10/24`."""
    return interface.partition("/")[0]


def network_of(interface: str) -> str:
    """`192.168.50.0/24` of `192.168.50.10/24`."""
    return str(ipaddress.ip_interface(interface).network)


def settings(topology: Topology) -> dict[str, list[str]]:
    """The `ip -batch` lines of every namespace: links up, addresses, routes."""
    lines: dict[str, list[str]] = {ns: ["link set lo up"] for ns in topology.namespaces}
    lines["lan"] += [f"link set {port} up" for port in ("br0", "p-gateway", *topology.bridged.values())]
    lines["lan"] += [f"link set {port} type bridge_slave isolated off" for port in topology.bridged.values()]
    for ns in topology.hosts:
        own = topology.lan_of(ns)
        lines[ns] += _port("eth0", [pattern.format(HOSTS[ns]) for pattern in own.values()])
        lines[ns] += [_route("default", pattern.format(1)) for pattern in own.values()]
    if topology.second_interface:
        lines["lan"] += ["link set br1 up", "link set p-second up"]
        lines["room"].append("link set eth1 up")
    own = topology.lan_of(topology.routers[0])
    lines[topology.routers[0]] += _port("lan0", [pattern.format(1) for pattern in own.values()])

    inside = [network_of(pattern.format(0)) for pattern in own.values()]
    chain = (*topology.routers, "net")
    for near, far in pairwise(chain):
        there, here, there6, here6 = LINKS[near, far]
        lines[near] += _port("wan0", [here, here6])
        if far == "net":
            more = [a.format(n) for n in NET_HOSTS[1:] for a in ("203.0.113.{}/24", "2001:db8:113::{}/64")]
            lines[far] += [*_port("eth0", [there, there6, *more]), _route("default", here), _route("default", here6)]
            break
        lines[far] += _port("lan0", [there, there6])
        lines[near] += [_route("default", there), _route("default", there6)]
        if near == "fw" and topology.codec == "routed":
            behind = [CODEC_LAN[family].format(1) for family in topology.families]
            lines[near] += _port("lan1", behind)
            inside += map(network_of, behind)
        if near in topology.nat:
            inside = [prefix for prefix in inside if ":" in prefix]  # nobody beyond may need a way back to these
        lines[far] += [_route(prefix, here6 if ":" in prefix else here) for prefix in inside]
        inside += [network_of(here), network_of(here6)]
    return lines


def _port(port: str, addresses: Sequence[str]) -> list[str]:
    nodad = {address: " nodad" if ":" in address else "" for address in addresses}
    return [f"link set {port} up", *(f"addr replace {a} dev {port}{nodad[a]}" for a in addresses)]


def _route(prefix: str, via: str) -> str:
    return f"route replace {prefix} via {bare(via)}"
