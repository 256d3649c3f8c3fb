"""DNS questions and answers of the two address kinds: dnspython does the parsing, the bounds are ours (RFC 1035, 6891).

dnspython is imported on first use.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Literal

from roomprobe.evidence import DnsAnswer

if TYPE_CHECKING:
    import dns.message

MOST_ADDRESSES = 32
MOST_ALIASES = 16

Kind = Literal["A", "AAAA"]


def question(name: str, kind: Kind) -> dns.message.QueryMessage | None:
    """The query with EDNS0 and 1232 octets (RFC 6891); None when the name cannot stand in a packet."""
    import dns.exception
    import dns.message

    if not name:
        return None
    try:
        made = dns.message.make_query(name, kind, use_edns=0, payload=1232)
        made.to_wire()
    except (dns.exception.DNSException, UnicodeError):
        return None
    return made


def read(asked: dns.message.QueryMessage, kind: Kind, wire: bytes, seconds: float) -> DnsAnswer | None:
    """The answer in `wire`, or None when it answers another question or is no DNS message at all."""
    import dns.exception
    import dns.message
    import dns.rcode

    try:
        got = dns.message.from_wire(wire, ignore_trailing=True)
        if not asked.is_response(got):
            return None
        rcode = dns.rcode.to_text(got.rcode())
        addresses = _addresses(got, asked, kind)
    except (dns.exception.DNSException, ValueError, AttributeError, IndexError):
        return None
    return DnsAnswer(
        qname=asked.question[0].name.to_text(omit_final_dot=True),
        qtype=kind,
        rcode=rcode,
        addresses=addresses if rcode == "NOERROR" else (),
        truncated=_truncated(got),
        seconds=round(seconds, 6),
    )


def _truncated(message: dns.message.Message) -> bool:
    import dns.flags

    return bool(message.flags & dns.flags.TC)


def _addresses(message: dns.message.Message, asked: dns.message.QueryMessage, kind: Kind) -> tuple[str, ...]:
    """The addresses at the end of the alias chain, sorted (RFC 1034 3.6.2); an alias loop ends empty."""
    import dns.rdatatype

    name, wanted = asked.question[0].name, dns.rdatatype.from_text(kind)
    for _ in range(MOST_ALIASES):
        aliases = []
        for rrset in message.answer:
            if rrset.name == name and rrset.rdtype == wanted:
                found = sorted(ipaddress.ip_address(record.address) for record in rrset)
                return tuple(str(one) for one in found[:MOST_ADDRESSES])
            if rrset.name == name and rrset.rdtype == dns.rdatatype.CNAME:
                aliases.append(rrset[0].target)
        if not aliases:
            break
        name = aliases[0]
    return ()
