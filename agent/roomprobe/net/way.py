"""The way that the kernel would send a packet: asked for one destination, while nothing is sent (RTM_GETROUTE)."""

from __future__ import annotations

import ipaddress
import socket
import struct

from roomprobe.model import Frozen
from roomprobe.net import rtnetlink
from roomprobe.net.rtnetlink import RTM_GETROUTE, RTM_NEWROUTE

_RTN_UNICAST, _RTN_LOCAL = 1, 2
_RTAX_MTU = 2


class Way(Frozen, frozen=True, kw_only=True):
    """How a destination is reached. `gateway` None: it is a neighbour (or this box itself, `interface` then is "lo").

    A link-local gateway carries its scope id. `source` is the address that the kernel would send from. `mtu` in bytes
    is set when the route or an earlier "packet too big" says it; None means that of the interface.
    """

    gateway: str | None
    interface: str
    index: int
    source: str | None
    mtu: int | None = None


def route_to(address: str) -> Way | None:
    """The kernel's way to an IPv4 or IPv6 address, a scope id ("%eth0", "%2") being the interface; nothing is sent.

    None: there is no route, the interface does not exist, this is no address, or it is link-local without a scope id.
    """
    plain, _, scope = address.partition("%")
    try:
        target = ipaddress.ip_address(plain)
        interface = _index(scope) if scope else None
    except (ValueError, OSError):
        return None
    if target.version == 6 and target.is_link_local and interface is None:
        return None
    return parse(ask(target, interface))


def way_out() -> int | None:
    """The interface that the kernel would send to the Internet by, policy rules and split default routes included.

    Asked for a documentation address (RFC 5737, RFC 3849): only the routing table is looked at.
    """
    for address in ("203.0.113.1", "2001:db8::1"):
        for header, found in rtnetlink.messages(ask(ipaddress.ip_address(address), None), RTM_NEWROUTE):
            if header[7] == _RTN_UNICAST and 4 in found:
                return rtnetlink.number(found[4], 0) or None
    return None


def ask(target: ipaddress.IPv4Address | ipaddress.IPv6Address, interface: int | None) -> bytes:
    """The kernel's answer for one destination, RTA_DST 1, and where wanted one interface, RTA_OIF 4."""
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    body = struct.pack("=BBBBBBBBI", family, target.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    body += rtnetlink.attribute(1, target.packed)
    if interface is not None:
        body += rtnetlink.attribute(4, struct.pack("=I", interface))
    return rtnetlink.ask(RTM_GETROUTE, body, dump=False)


def parse(data: bytes) -> Way | None:
    """The first usable route of an answer: unicast or local (RTA_OIF 4, RTA_PREFSRC 7, RTA_METRICS 8 with RTAX_MTU)."""
    for body, found in rtnetlink.messages(data, RTM_NEWROUTE):
        index = rtnetlink.number(found.get(4), 0)
        if body[7] not in (_RTN_UNICAST, _RTN_LOCAL) or not index:
            continue
        name = _name(index)
        gateway = rtnetlink.gateway(body[0], found)
        if gateway is not None and ipaddress.ip_address(gateway).version == 6 and gateway.startswith("fe80:"):
            gateway = f"{gateway}%{name}"
        metrics = dict(rtnetlink.attributes(found.get(8, b"")))
        return Way(
            gateway=gateway,
            interface=name,
            index=index,
            source=rtnetlink.address(body[0], found.get(7)),
            mtu=rtnetlink.number(metrics.get(_RTAX_MTU), 0) or None,
        )
    return None


def _index(scope: str) -> int:
    """The index of an interface given by name or number. ValueError or OSError when there is none."""
    return (
        int(scope) if scope.isascii() and scope.isdigit() and 0 < int(scope) < 1 << 31 else socket.if_nametoindex(scope)
    )


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except (OSError, OverflowError):
        return str(index)  # it went away in the meantime
