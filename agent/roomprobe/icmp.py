"""What an ICMP or ICMPv6 error means, by type and code and never by errno (which differs between the families).

Pure tables: RFC 792, RFC 1812 5.2.7, RFC 4443, RFC 4884; used by every judge.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

from roomprobe.evidence import Icmp
from roomprobe.outcome import Reason

Meaning = Literal["time-exceeded", "port-unreachable", "admin-prohibited", "unreachable", "other"]

_V4_UNREACHABLE: dict[int, Meaning] = {
    2: "other",  # protocol unreachable: not about this port
    3: "port-unreachable",
    4: "other",  # fragmentation needed
    9: "admin-prohibited",
    10: "admin-prohibited",
    13: "admin-prohibited",
}
_V6_UNREACHABLE: dict[int, Meaning] = {
    1: "admin-prohibited",
    4: "port-unreachable",
    5: "admin-prohibited",
    6: "admin-prohibited",
}
REASONS: dict[Meaning, Reason] = {
    "port-unreachable": Reason.PORT_UNREACHABLE,
    "admin-prohibited": Reason.ADMIN_PROHIBITED,
    "unreachable": Reason.UNREACHABLE,
}
WORDS: dict[Meaning, str] = {
    "port-unreachable": "says that nothing listens there",
    "admin-prohibited": "says that its rules forbid it",
    "unreachable": "says that it has no way to that address",
}


ADDRESS_UNREACHABLE = (1, 3)  # RFC 4443 3.1: what a router sends after neighbour discovery got no answer


def is_v6(address: str) -> bool:
    """Whether an address written as text is IPv6."""
    return ":" in address


def meaning(kind: int, code: int, v6: bool) -> Meaning:
    """The class of an error: `kind` and `code` are the ICMP type and code of that family."""
    if v6:
        if kind == 3:
            return "time-exceeded" if code == 0 else "other"
        return _V6_UNREACHABLE.get(code, "unreachable") if kind == 1 else "other"
    if kind == 11:
        return "time-exceeded" if code == 0 else "other"
    return _V4_UNREACHABLE.get(code, "unreachable") if kind == 3 else "other"


def decisive(error: Icmp, v6: bool) -> bool:
    """Whether the error ends a check: a refusal of any kind, not a time-exceeded nor a hint about packet size."""
    return meaning(error.type, error.code, v6) in REASONS


def same_address(one: str | None, other: str | None) -> bool:
    """Whether two texts are the same address; scope ids are ignored."""
    if one is None or other is None:
        return False
    return ipaddress.ip_address(one.partition("%")[0]) == ipaddress.ip_address(other.partition("%")[0])
