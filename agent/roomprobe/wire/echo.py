"""ICMPv6 echo request and reply (RFC 4443 4.1, 4.2), as a ping socket or a raw ICMPv6 socket carries them.

The checksum is the kernel's own work in both directions: it fills it in, and drops what does not match.
"""

from __future__ import annotations

from roomprobe.model import Frozen
from roomprobe.wire.reader import Malformed, Reader

REQUEST, REPLY = 128, 129
MAX_PAYLOAD = 1024


class Echo(Frozen, frozen=True, kw_only=True):
    """A reply: identifier and sequence number of the request, and the data that came back with it."""

    identifier: int
    sequence: int
    payload: bytes


def build(identifier: int, sequence: int, payload: bytes) -> bytes:
    """A request, checksum 0. `identifier` and `sequence` are taken modulo 65536; a ping socket puts its own identifier."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"at most {MAX_PAYLOAD} bytes")
    numbers = (identifier & 0xFFFF).to_bytes(2, "big") + (sequence & 0xFFFF).to_bytes(2, "big")
    return bytes((REQUEST, 0, 0, 0)) + numbers + payload


def parse(data: bytes) -> Echo:
    """The reply in `data`. Malformed: another type or code, cut short, or longer than anything we send."""
    reader = Reader(data)
    if reader.u8() != REPLY or reader.u8() != 0:
        raise Malformed("no echo reply")
    reader.u16()
    identifier, sequence = reader.u16(), reader.u16()
    if reader.remaining > MAX_PAYLOAD:
        raise Malformed("more data than was sent")
    return Echo(identifier=identifier, sequence=sequence, payload=reader.rest())
