"""Inside or outside: which addresses belong to the site, and so where on the path a trouble sits. Pure.

design: outside = not in `[site] prefixes` where given; else, for a private IPv4 source, not in RFC 1918, 169.254/16 or
100.64/10; for IPv6, outside the source's /48 and not a ULA; a public IPv4 source without prefixes: cannot be told.
"""

from __future__ import annotations

import ipaddress

from roomprobe.facts import Facts
from roomprobe.icmp import is_v6, same_address
from roomprobe.model import Hop, Place
from roomprobe.outcome import Where

_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")))
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_ULA = ipaddress.ip_network("fc00::/7")


def usable(address: str, facts: Facts) -> bool:
    """Whether a far end can have this address at all: not unspecified, loopback, multicast, link-local, nor this box's own."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    nobody = ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local
    return (
        not nobody and str(ip) != "255.255.255.255" and not any(same_address(address, own) for own in facts.addresses)
    )


def on_link(address: str, facts: Facts) -> bool:
    """Whether the address is a neighbour: no router stands before it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return ip.is_loopback or ip.is_link_local or any(ip in ipaddress.ip_interface(n).network for n in facts.networks)


def outside(address: str | None, facts: Facts) -> bool | None:
    """Whether an address is surely outside the site (True), surely inside (False), or cannot be told (None)."""
    if address is None:
        return None
    ip = ipaddress.ip_address(address.partition("%")[0])
    networks = [ipaddress.ip_network(p, strict=False) for p in facts.prefixes]
    if any(n.version == ip.version for n in networks):
        return not any(ip in n for n in networks if n.version == ip.version)
    if ip.is_link_local:
        return False
    own = [ipaddress.ip_address(a.partition("%")[0]) for a in facts.addresses if is_v6(a) == is_v6(address)]
    own = [a for a in own if not a.is_link_local and not a.is_loopback]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _ULA:
            return False
        near = any(ip in ipaddress.IPv6Network((int(a), 48), strict=False) for a in own)
        return False if near else (True if own else None)
    if any(ip in n for n in _PRIVATE):
        return False
    if ip in _SHARED:
        return None
    private = [any(a in n for n in (*_PRIVATE, _SHARED)) for a in own]
    return True if private and all(private) else None


def where_between(last: Place | None, following: Place | None, facts: Facts) -> Where:
    """The place of an interval: `last` is None or distance 0 for this box itself."""
    if following is None or following.address is None:
        return Where.BEYOND if last and outside(last.address, facts) else Where.UNKNOWN
    near = False if last is None or not last.distance else outside(last.address, facts)
    far = outside(following.address, facts)
    if near is False and far is False:
        return Where.LAN
    if near is False and far is True:
        return Where.SITE_EDGE
    if near is True:
        return Where.BEYOND
    return Where.UNKNOWN


def where_sender(address: str | None, target: str | None, facts: Facts) -> Where:
    """The place of a device that answered with an address of its own."""
    if same_address(address, target):
        return Where.FAR_END
    match outside(address, facts):
        case True:
            return Where.BEYOND
        case False:
            return Where.LAN
    return Where.UNKNOWN


def named(place: Place | None, facts: Facts) -> str:
    """How a sentence names a device: "192.0.2.1, your gateway (hop 1)"."""
    if place is None or place.distance == 0:
        return "this box"
    hop = f"hop {place.distance}" if place.distance else None
    if place.address is None:
        return hop or "an unknown device"
    if any(same_address(place.address, one) for one in facts.gateways):
        return f"{place.address}, your gateway" + (f" ({hop})" if hop else "")
    return place.address + (f" ({hop})" if hop else "")


def between(hop: Hop, facts: Facts) -> str:
    """The interval in words."""
    return f"between {named(hop.last_answering, facts)} and {named(hop.next_on_control, facts)}"
