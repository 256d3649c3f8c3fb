"""Who made a network card, as far as its hardware address tells: a small table of prefixes that are beyond doubt. Pure.

A hint for people who look for a device, never evidence: an address can be set by anybody.
"""

from __future__ import annotations

import re

_SHAPE = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_LOCAL = 0x02  # RFC 7042 2.1: the address is not from the maker's own range

MAKERS = {
    "00:00:0c": "Cisco",
    "00:00:5e": "IANA, a virtual router",
    "00:04:f2": "Polycom",
    "00:05:69": "VMware",
    "00:0c:29": "VMware",
    "00:15:5d": "Microsoft, a virtual machine",
    "00:16:3e": "Xen, a virtual machine",
    "00:50:56": "VMware",
    "00:e0:4c": "Realtek",
    "08:00:27": "VirtualBox",
    "28:cd:c1": "Raspberry Pi",
    "2c:cf:67": "Raspberry Pi",
    "64:16:7f": "Polycom",
    "b8:27:eb": "Raspberry Pi",
    "d8:3a:dd": "Raspberry Pi",
    "dc:a6:32": "Raspberry Pi",
    "e4:5f:01": "Raspberry Pi",
}


def mac_prefix(mac: str) -> str:
    """What stands for a device's maker: "d8:3a:dd (Raspberry Pi)", or the bare prefix where the maker is not known.

    An address that software made up has no maker: "02:12:34 (made up, no maker)". What is no Ethernet address gives "".
    """
    plain = mac.lower()
    if not _SHAPE.fullmatch(plain):
        return ""
    prefix = plain[:8]
    if int(plain[:2], 16) & _LOCAL:
        return f"{prefix} (made up, no maker)"
    maker = MAKERS.get(prefix)
    return f"{prefix} ({maker})" if maker else prefix
