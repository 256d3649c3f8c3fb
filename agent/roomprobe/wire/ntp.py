"""NTP version 4, client side (RFC 5905): one 48-byte request that tells nothing, its answer, and the clock arithmetic.

The transmit field carries a random nonce instead of our time (draft-ietf-ntp-data-minimization), so the caller keeps t1.
"""

from __future__ import annotations

import dataclasses
import ipaddress

from roomprobe.text import escape
from roomprobe.wire.reader import Malformed, Reader

PACKET_BYTES = 48
VERSION = 4
CLIENT = 3
SERVER = 4
MOST_STRATUM = 16
UNSYNCHRONISED = 3
UNIX_IN_NTP_S = 2_208_988_800  # 1970-01-01 in seconds since 1900-01-01
_ERA_S = 2**32
_NO_PRECISION = 0x20  # the draft's value: nothing said about our clock

# Section 7.4: what a server of stratum 0 asks for, in its refid.
KISS = {
    "ACST": "unicast server",
    "AUTH": "authentication failed",
    "AUTO": "autokey failed",
    "BCST": "broadcast server",
    "CRYP": "authentication failed",
    "DENY": "access denied",
    "DROP": "lost peer",
    "INIT": "not synchronised yet",
    "MCST": "multicast server",
    "NKEY": "no key",
    "NTSN": "NTS failed",  # RFC 8915
    "RATE": "asked too often",
    "RMOT": "changed remotely",
    "RSTR": "access denied",
    "STEP": "clock was stepped",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """An NTP packet. The four times are 64-bit NTP times, in 2^-32 s; root delay and dispersion are in 2^-16 s."""

    version: int
    mode: int
    leap: int
    stratum: int
    refid: bytes
    root_delay: int
    root_dispersion: int
    reference: int
    origin: int
    receive: int
    transmit: int


@dataclasses.dataclass(frozen=True, slots=True)
class Clock:
    """`offset_s`: the server's clock minus ours; `delay_s`: the way there and back; both in seconds."""

    offset_s: float
    delay_s: float


def request(nonce: bytes) -> bytes:
    """A client request (LI 0, version 4, mode 3), all zero but precision and the 8-byte nonce."""
    if len(nonce) != 8:
        raise ValueError("a nonce has 8 bytes")
    return bytes((VERSION << 3 | CLIENT, 0, 0, _NO_PRECISION)) + bytes(36) + nonce


def decode(data: bytes) -> Reply:
    """The packet in `data`, of any mode; Malformed unless 48 bytes are there and the version is 1 to 4.

    Extension fields and authentication behind the 48 bytes (section 7.3) are not read.
    """
    reader = Reader(data)
    first, stratum = reader.u8(), reader.u8()
    reader.take(2)
    root_delay, root_dispersion, refid = reader.u32(), reader.u32(), reader.take(4)
    reference, origin, receive, transmit = reader.u64(), reader.u64(), reader.u64(), reader.u64()
    version = first >> 3 & 7
    if not 1 <= version <= VERSION:
        raise Malformed("no such NTP version")
    return Reply(
        version=version,
        mode=first & 7,
        leap=first >> 6,
        stratum=stratum,
        refid=refid,
        root_delay=root_delay,
        root_dispersion=root_dispersion,
        reference=reference,
        origin=origin,
        receive=receive,
        transmit=transmit,
    )


def matches(reply: Reply, nonce: bytes) -> bool:
    """Whether a server answered exactly this request: it sends our transmit field back as its origin (section 8)."""
    return reply.mode == SERVER and reply.origin == int.from_bytes(nonce, "big")


def kiss(reply: Reply) -> str | None:
    """The kiss-o'-death code of a stratum 0 packet, escaped; None for any other. KISS has words for the known ones."""
    return _ascii(reply.refid) if reply.stratum == 0 else None


def refid_text(reply: Reply) -> str:
    """Whom the server follows: a code for stratum 0 and 1, else an IPv4 address (for IPv6 only looks like one)."""
    return _ascii(reply.refid) if reply.stratum < 2 else str(ipaddress.IPv4Address(reply.refid))


def words(reply: Reply) -> str:
    """What a matching reply says, for people; bounded and printable."""
    code = kiss(reply)
    if code is not None:
        return f"NTP refusal {code}, {KISS.get(code, 'no known meaning')}"
    late = ", its clock is not synchronised" if reply.leap == UNSYNCHRONISED else ""
    return f"NTP stratum {reply.stratum}, refid {refid_text(reply)}{late}"


def unix_seconds(stamp: int, near: float) -> float | None:
    """A 64-bit NTP time as Unix seconds; None for 0, which means unknown (section 6).

    The stamp does not say its era (the next one begins on 2036-02-07): of all eras the one is taken whose time is
    nearest to `near`, Unix seconds that must be right within 68 years.
    """
    if stamp == 0:
        return None
    in_era = (stamp - UNIX_IN_NTP_S * _ERA_S) / _ERA_S  # whole numbers first: a float has only 53 bits
    return in_era + _ERA_S * round((near - in_era) / _ERA_S)


def clock(t1: float, t2: float, t3: float, t4: float) -> Clock:
    """Offset and delay (section 8): we sent at t1 and received at t4, the server received at t2 and sent at t3."""
    return Clock(offset_s=((t2 - t1) + (t3 - t4)) / 2, delay_s=(t4 - t1) - (t3 - t2))


def _ascii(refid: bytes) -> str:
    return escape(refid.rstrip(b"\0").decode("ascii", "backslashreplace"), 16)
