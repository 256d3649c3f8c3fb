"""The one question that is asked of a link by name, for IPv6 addresses: mDNS (RFC 6762) and LLMNR (RFC 4795).

Both use DNS messages; dnspython does the parsing, the bounds are ours. It is imported on first use.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dns.message

MAX_MESSAGE = 9000  # RFC 6762 17
MOST_ADDRESSES = 16
_INTERNET, _CACHE_FLUSH = 1, 0x8000  # RFC 6762 10.2: some responders leave the bit in answers to one-shot questions


def question(name: str, identifier: int) -> dns.message.QueryMessage | None:
    """The AAAA query for a name in UTF-8 (RFC 6762 16, RFC 4795 3.1), no recursion wanted, no EDNS0.

    None when the name cannot stand in a packet. `identifier` is taken modulo 65536.
    """
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name

    labels = unicodedata.normalize("NFC", name).removesuffix(".").split(".")
    try:
        wanted = dns.name.Name([*(label.encode() for label in labels), b""])
        made = dns.message.make_query(wanted, "AAAA", use_edns=False, flags=dns.flags.Flag(0), id=identifier & 0xFFFF)
        made.to_wire()
    except (dns.exception.DNSException, UnicodeError):
        return None
    return made


def read(asked: dns.message.QueryMessage, wire: bytes) -> tuple[str, ...] | None:
    """The IPv6 addresses of the answer in `wire`, sorted, at most 16; None for no DNS message or another question's.

    Only addresses that a neighbour can have: not multicast, loopback, unspecified or IPv4 in IPv6's clothes.
    """
    import dns.exception
    import dns.message
    import dns.rcode
    import dns.rdatatype

    if len(wire) > MAX_MESSAGE:
        return None
    try:
        got = dns.message.from_wire(wire, ignore_trailing=True)
        # A refusal may come without the question; here it is worth nothing either way.
        if got.rcode() != dns.rcode.NOERROR or not asked.is_response(got):
            return None
        records = [
            record.to_wire()
            for rrset in got.answer
            if rrset.name == asked.question[0].name
            and rrset.rdtype == dns.rdatatype.AAAA
            and rrset.rdclass & ~_CACHE_FLUSH == _INTERNET
            for record in rrset
        ]
    except (dns.exception.DNSException, ValueError, AttributeError, IndexError):
        return None
    found = sorted({ipaddress.IPv6Address(raw) for raw in records if raw is not None and len(raw) == 16})
    return tuple(str(one) for one in found if _possible(one))[:MOST_ADDRESSES]


def _possible(address: ipaddress.IPv6Address) -> bool:
    unreal = address.is_multicast or address.is_loopback or address.is_unspecified or address.ipv4_mapped is not None
    return not unreal
