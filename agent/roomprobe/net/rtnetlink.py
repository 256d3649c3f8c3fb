"""The language of the kernel's tables: one question, its answer cut into messages and attributes (rtnetlink(7)).

Read-only and unprivileged. Everything that reads takes bytes and is bounded; what does not fit is left out, never raised.
Numbers are those of linux/netlink.h and linux/rtnetlink.h.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

MAX_BYTES = 4 << 20
MAX_ATTRIBUTES = 256

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30

LENGTH = {socket.AF_INET: 4, socket.AF_INET6: 16}
_HEADER = struct.Struct("=IHHII")
_BODY = {RTM_NEWLINK: 16, RTM_NEWADDR: 8, RTM_NEWROUTE: 12, RTM_NEWNEIGH: 12}


def ask(kind: int, body: bytes, *, dump: bool = True) -> bytes:
    """Every message that the kernel answers with, one after the other; empty when it refuses."""
    flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else 0)
    answer = bytearray()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(1.0)
            kernel.bind((0, 0))
            kernel.sendto(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body, (0, 0))
            while len(answer) < MAX_BYTES:
                data, sender = kernel.recvfrom(1 << 18)
                # Anybody on this box may write to a netlink socket; the kernel is port 0.
                if sender[0] != 0:
                    continue
                answer += data
                if not dump or any(found in (NLMSG_ERROR, NLMSG_DONE) for found, _ in _split(data)):
                    break
    except OSError:
        return b""
    return bytes(answer)


def messages(data: bytes, wanted: int) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """Fixed part and attributes of each message of one type; a message too short for its type is left out."""
    size = _BODY[wanted]
    for kind, payload in _split(data):
        if kind == wanted and len(payload) >= size:
            yield payload[:size], dict(attributes(payload[size:]))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute; the two flag bits of the type (nested, byte order) are taken off."""
    at = 0
    for _ in range(MAX_ATTRIBUTES):
        if at + 4 > len(data):
            return
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute as it stands in a question."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def gateway(family: int, found: dict[int, bytes]) -> str | None:
    """RTA_GATEWAY 5, or RTA_VIA 18: a gateway of the other family (RFC 5549), with its family in front."""
    via = found.get(18)
    if via is not None and len(via) > 2:
        return address(struct.unpack_from("=H", via)[0], via[2:])
    return address(family, found.get(5))


def address(family: int, value: bytes | None) -> str | None:
    """An IP address as text; None when the length is not the family's."""
    if value is None or family not in LENGTH or len(value) != LENGTH[socket.AddressFamily(family)]:
        return None
    return str(ipaddress.ip_address(value))


def mac(value: bytes | None) -> str | None:
    """An Ethernet address as "aa:bb:cc:dd:ee:ff"; None for another kind of link and for all zeros (loopback)."""
    if value is None or len(value) != 6 or not any(value):
        return None
    return value.hex(":")


def number(value: bytes | None, otherwise: int) -> int:
    """A 32-bit number, or `otherwise`."""
    return int(struct.unpack("=I", value)[0]) if value is not None and len(value) == 4 else otherwise


def text(value: bytes | None) -> str:
    """A name of at most 64 bytes, up to its end mark."""
    return os.fsdecode((value or b"")[:64].split(b"\0")[0])


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message; stops at the first that does not fit."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3
