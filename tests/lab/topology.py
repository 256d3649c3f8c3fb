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


@dataclass(frozen=True, kw_only=True)
class Topology:
    """What a lab is built like; faults come and go, these stay.

    `families`: what the site has (the far side always has both). `lan`: its IPv4 range, a key of LANS.
    `inner_hop`: one more router, `hub`, inside the site, joined to fw by 100.64.8.0/30. `nat`: the routers that
    masquerade IPv4 (`fw`, `isp`). `default_icmp_limits`: leave the kernel's limits on ICMP errors as they are.
    """

    families: tuple[int, ...] = (4, 6)
    lan: str = "private"
    inner_hop: bool = False
    nat: tuple[str, ...] = ()
    default_icmp_limits: bool = False

    @property
    def routers(self) -> tuple[str, ...]:
        """In the order of the path; the first is the room's gateway."""
        return (("hub",) if self.inner_hop else ()) + ("fw", "isp", "core")

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace of the lab; `lan` holds the bridge."""
        return ("room", "codec", "lan", *self.routers, "net")

    def lan_address(self, host: int, family: int) -> str:
        """The LAN's address with that host number, without prefix length."""
        return bare((LANS[self.lan] if family == 4 else LAN6).format(host))


def bare(interface: str) -> str:
    """`192.168.50.10` of `192.168.50.10/24`."""
    return interface.partition("/")[0]


def network_of(interface: str) -> str:
    """`192.168.50.0/24` of `192.168.50.10/24`."""
    return str(ipaddress.ip_interface(interface).network)


def settings(topology: Topology) -> dict[str, list[str]]:
    """The `ip -batch` lines of every namespace: links up, addresses, routes."""
    lines: dict[str, list[str]] = {ns: ["link set lo up"] for ns in topology.namespaces}
    lines["lan"] += [f"link set {port} up" for port in ("br0", "p-room", "p-codec", "p-gateway")]
    own = {4: LANS[topology.lan], 6: LAN6}
    for ns, port, host in (("room", "eth0", 10), ("codec", "eth0", 20), (topology.routers[0], "lan0", 1)):
        lines[ns] += _port(port, [own[family].format(host) for family in topology.families])
        if ns in ("room", "codec"):
            lines[ns] += [_route("default", own[family].format(1)) for family in topology.families]

    inside = [network_of(own[family].format(0)) for family in topology.families]
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
