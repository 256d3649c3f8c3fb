"""What routers, firewalls and the room's own machine can break, one small function each.

Every function breaks at once and gives a `Fault`: `with faults.udp_drop(lab, "fw"):` mends at the end of the block,
`fault.remove()` by hand, `lab.mend()` takes all away. Those of the link to the codec stand in faults_link.py and are
to be had here as well; `NAMED` is the list of all for `scripts/lab break`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .fault import Fault
from .fault import ports_of as _ports
from .faults_link import (
    address_twice,
    bridge_port_drop,
    client_isolation,
    codec_off,
    codec_prohibited,
    codec_rebooted,
    idle_timeout,
    mtu_hole,
    nd_filtered,
    stray_ra,
)
from .network import Lab
from .topology import NET4, NET6

TUNNEL_PORTS = (24704, 3478, 1194, 500, 123)
TIME_EXCEEDED = ("icmp type time-exceeded", "icmpv6 type time-exceeded")
# Neighbour discovery and packet-too-big stay: without them IPv6 does not work at all.
ICMP_ERRORS = (
    "icmp type { echo-reply, destination-unreachable, time-exceeded, parameter-problem }",
    "icmpv6 type { echo-reply, destination-unreachable, time-exceeded, parameter-problem }",
)
BEYOND = (f"ip daddr {NET4}", f"ip6 daddr {NET6}")
HANDSHAKE = 150  # bytes of an IP packet: the three of TCP's handshake are shorter, a TLS greeting is longer


def _match(protocol: str, ports: Iterable[int] | None) -> str:
    return f"meta l4proto {protocol}" if ports is None else f"{protocol} dport {_ports(ports)}"


# UDP


def udp_drop(lab: Lab, router: str = "fw", ports: Iterable[int] | None = None) -> Fault:
    """Drop UDP (all, or those ports) that the router should forward."""
    return Fault(lab).rules(router, "forward", [f"{_match('udp', ports)} drop"])


def udp_drop_early(lab: Lab, router: str = "fw", ports: Iterable[int] | None = None) -> Fault:
    """The same before the TTL check: this router does not answer the ladder either."""
    return Fault(lab).rules(router, "early", [f"{beyond} {_match('udp', ports)} drop" for beyond in BEYOND])


def only_udp(lab: Lab, router: str = "fw", ports: Iterable[int] = (123,)) -> Fault:
    """Drop all UDP but those ports."""
    allowed = _ports(ports)
    rules = [f"udp dport {allowed} accept", f"udp sport {allowed} accept", "meta l4proto udp drop"]
    return Fault(lab).rules(router, "forward", rules)


def udp_prohibited(lab: Lab, router: str = "fw", ports: Iterable[int] | None = None) -> Fault:
    """Refuse UDP with admin-prohibited (ICMP 3/13, ICMPv6 1/1)."""
    return Fault(lab).rules(router, "forward", [f"{_match('udp', ports)} reject with icmpx admin-prohibited"])


def udp_unreachable(lab: Lab, router: str = "fw", ports: Iterable[int] | None = None) -> Fault:
    """Refuse UDP with port-unreachable in the router's own name."""
    return Fault(lab).rules(router, "forward", [f"{_match('udp', ports)} reject with icmpx port-unreachable"])


def udp_forged(lab: Lab, router: str = "fw", ports: Iterable[int] = TUNNEL_PORTS) -> Fault:
    """Redirect UDP to a closed port of the router: its port-unreachable leaves in the target's name."""
    rules = [f"{beyond} udp dport {_ports(ports)} redirect to :9" for beyond in BEYOND]
    return Fault(lab).rules(router, "redirect", rules)


def ntp_redirect(lab: Lab, router: str = "fw") -> Fault:
    """Redirect UDP 123 to the router's own NTP server (start `peers.ntp(lab, router)` as well)."""
    return Fault(lab).rules(router, "redirect", [f"{beyond} udp dport 123 redirect" for beyond in BEYOND])


# TCP


def tcp_drop(lab: Lab, router: str = "fw", ports: Iterable[int] | None = (443,)) -> Fault:
    """Drop TCP to those ports."""
    return Fault(lab).rules(router, "forward", [f"{_match('tcp', ports)} drop"])


def tcp_reset(lab: Lab, router: str = "fw", ports: Iterable[int] | None = (443,)) -> Fault:
    """Answer TCP to those ports with a reset made by the router."""
    return Fault(lab).rules(router, "forward", [f"{_match('tcp', ports)} reject with tcp reset"])


def tcp_prohibited(lab: Lab, router: str = "fw", ports: Iterable[int] | None = (443,)) -> Fault:
    """Refuse TCP to those ports with admin-prohibited."""
    return Fault(lab).rules(router, "forward", [f"{_match('tcp', ports)} reject with icmpx admin-prohibited"])


def tcp_answered(lab: Lab, router: str = "fw", then: str = "mute") -> Fault:
    """Complete every TCP handshake at the router, and then say nothing (`mute`) or `close`."""
    fault = Fault(lab).helper(router, then, "9999", ready=("tcp", 9999, 2))
    return fault.rules(router, "redirect", [f"{beyond} meta l4proto tcp redirect to :9999" for beyond in BEYOND])


def tls_intercepted(lab: Lab, router: str = "fw") -> Fault:
    """Redirect TCP 443 to the router's port 3130, where `peers.proxy(lab, intercept=True)` opens the TLS."""
    rules = [f"{beyond} tcp dport 443 redirect to :3130" for beyond in BEYOND]
    return Fault(lab).rules(router, "redirect", rules)


def tls_data_drop(lab: Lab, router: str = "fw", how: str = "drop") -> Fault:
    """Let TCP 443 connect, and drop what the room then sends in it, as a filter that reads names does; or `reset`."""
    what = {"drop": "drop", "reset": "reject with tcp reset"}[how]
    return Fault(lab).rules(router, "forward", [f"tcp dport 443 meta length > {HANDSHAKE} {what}"])


def tls_data_reset(lab: Lab, router: str = "fw") -> Fault:
    """The same, answered with a reset made by the router."""
    return tls_data_drop(lab, router, "reset")


def mtu_blackhole(lab: Lab, router: str = "isp") -> Fault:
    """Drop long packets (over 600 bytes) from TCP 443 in silence: connecting works, certificates do not arrive."""
    return Fault(lab).rules(router, "forward", ["tcp sport 443 meta length > 600 drop"])


# Everything


def deny_any(lab: Lab, router: str = "fw") -> Fault:
    """Forward nothing."""
    return Fault(lab).rules(router, "forward", ["drop"])


def host_drop(lab: Lab, router: str = "fw", addresses: Iterable[str] = ("203.0.113.12", "2001:db8:113::12")) -> Fault:
    """Drop everything to some addresses, the classic allow-list with a stale entry."""
    rules = [f"{'ip6' if ':' in address else 'ip'} daddr {address} drop" for address in addresses]
    return Fault(lab).rules(router, "forward", rules)


def loss(lab: Lab, router: str = "isp", percent: int = 20) -> Fault:
    """Lose packets at random on the router's cable towards the room, each way, its own ICMP errors too."""
    lose = f"numgen random mod 100 < {percent} drop"
    fault = Fault(lab).rules(router, "early", [f'iifname "lan0" {lose}'])
    return fault.rules(router, "late", [f'oifname "lan0" {lose}'])


def v6_drop(lab: Lab, router: str = "isp") -> Fault:
    """IPv6 is there but broken: the router forwards none."""
    return Fault(lab).rules(router, "forward", ["meta nfproto ipv6 drop"])


def uplink_down(lab: Lab, router: str = "fw") -> Fault:
    """Pull the router's cable towards the far end."""
    return Fault(lab).ip(router, ["link set wan0 down"])


def no_route(lab: Lab, router: str = "isp") -> Fault:
    """Take the router's default routes: it answers net-unreachable."""
    return Fault(lab).ip(router, ["-4 route del default", "-6 route del default"])


def blackhole(lab: Lab, router: str = "isp") -> Fault:
    """Send the router's default routes nowhere, in silence."""
    routes = ["-4 route replace blackhole default metric 1", "-6 route replace blackhole default metric 1"]
    undo = [f"{family} route del blackhole default metric 1" for family in ("-4", "-6")]
    gone = ["-4 route del default", "-6 route del default"]
    return Fault(lab).ip(router, [*gone, *routes], undo)


# ICMP


def no_time_exceeded(lab: Lab, *routers: str) -> Fault:
    """Routers (all, unless named) do not say time-exceeded; other ICMP errors still come."""
    fault = Fault(lab)
    for router in routers or lab.routers:
        fault.rules(router, "output", [f"{match} drop" for match in TIME_EXCEEDED])
    return fault


def icmp_filtered(lab: Lab, *routers: str) -> Fault:
    """No ICMP error gets out of or through the routers (all, unless named)."""
    fault = Fault(lab)
    for router in routers or lab.routers:
        for hook in ("output", "forward"):
            fault.rules(router, hook, [f"{match} drop" for match in ICMP_ERRORS])
    return fault


# The room


def no_carrier(lab: Lab) -> Fault:
    """Pull the room's cable out of the wall."""
    return Fault(lab).ip("lan", ["link set p-room down"])


def no_address(lab: Lab) -> Fault:
    """The room has a cable but no address (link-local IPv6 stays, as on any machine)."""
    gone = ["-6 route del default"] if 6 in lab.topology.families else []
    return Fault(lab).ip("room", ["-4 addr flush dev eth0", "-6 addr flush dev eth0 scope global", *gone])


def no_gateway(lab: Lab) -> Fault:
    """The room has addresses but no default route."""
    families = lab.topology.families
    return Fault(lab).ip("room", [f"-{family} route del default" for family in families])


def local_drop(lab: Lab, ports: Iterable[int] | None = TUNNEL_PORTS, protocol: str = "udp") -> Fault:
    """A firewall on the room's own machine drops what leaves; the kernel says EPERM for UDP and nothing for TCP."""
    return Fault(lab).rules("room", "output", [f"{_match(protocol, ports)} drop"])


def local_prohibit(lab: Lab) -> Fault:
    """The room's own routing table forbids the far side: every send ends with EACCES."""
    add = [f"route add prohibit {prefix}" for prefix in (NET4, NET6)]
    return Fault(lab).ip("room", add, [f"route del prohibit {prefix}" for prefix in (NET4, NET6)])


def deaf(lab: Lab, ns: str = "fw", ports: Iterable[int] = (53,)) -> Fault:
    """A namespace hears nothing on those ports: a resolver or proxy that is dead in silence."""
    return Fault(lab).rules(ns, "input", [f"{protocol} dport {_ports(ports)} drop" for protocol in ("udp", "tcp")])


# For `scripts/lab break NAME [ROUTER]`: those of the room take no router.
NAMED: dict[str, Callable[..., Fault]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        udp_drop,
        udp_drop_early,
        only_udp,
        udp_prohibited,
        udp_unreachable,
        udp_forged,
        ntp_redirect,
        tcp_drop,
        tcp_reset,
        tcp_prohibited,
        tcp_answered,
        tls_intercepted,
        tls_data_drop,
        tls_data_reset,
        mtu_blackhole,
        deny_any,
        host_drop,
        loss,
        v6_drop,
        uplink_down,
        no_route,
        blackhole,
        no_time_exceeded,
        icmp_filtered,
        no_carrier,
        no_address,
        no_gateway,
        local_drop,
        local_prohibit,
        deaf,
        bridge_port_drop,
        nd_filtered,
        client_isolation,
        mtu_hole,
        stray_ra,
        codec_prohibited,
        idle_timeout,
        address_twice,
        codec_off,
        codec_rebooted,
    )
}
