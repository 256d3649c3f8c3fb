"""The payloads of a UDP probe in one table, SHAPES: what to send, and what the datagram that came back says.

The opaque payload, OpenVPN and IKE are small enough to stand here; docs/probes/wire.md tells why each byte is harmless.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

from roomprobe.text import escape
from roomprobe.wire import ntp, stun
from roomprobe.wire.reader import Malformed, Reader

LEAST_RANDOM = 32
MOST_TEXT = 120

# --- opaque --------------------------------------------------------------------------------------------------------

# Too short for NTP (48 bytes) and QUIC (1200), and no multiple of 4 as STUN must be.
OPAQUE_BYTES = 45
# (place, bits kept of the random byte, bits set)
_OPAQUE_FIXED = (
    (0, 0x00, 0x04),  # in no range of RFC 7983; NTP version 0 from a server; OpenVPN opcode 0; not QUIC
    (2, 0x7F, 0x80),  # DNS: a response, which is never answered; STUN: a length over 32767; not WireGuard
    (4, 0x7F, 0x80),  # never the first byte of STUN's magic cookie
    (17, 0x0F, 0x20),  # IKE: major version 2; to an unknown version strongSwan would prepare a refusal
    (18, 0x00, 0x00),  # IKE: exchange type 0, reserved: strongSwan's header check drops it there
    (19, 0xDF, 0x20),  # IKE: a response, which must not be answered
    (24, 0x7F, 0x80),  # IKE: a length over 2 GiB
)


def opaque(random: bytes) -> bytes:
    """45 bytes that look like a tunnel's and are valid in none of the protocols that the five ports are known for."""
    data = bytearray(random[:OPAQUE_BYTES])
    if len(data) < OPAQUE_BYTES:
        raise ValueError(f"the opaque payload wants {OPAQUE_BYTES} random bytes")
    for place, kept, fixed in _OPAQUE_FIXED:
        data[place] = data[place] & kept | fixed
    return bytes(data)


# --- OpenVPN -------------------------------------------------------------------------------------------------------

_HARD_RESET_CLIENT_V2 = 7
_HARD_RESET_SERVER_V2 = 8


@dataclasses.dataclass(frozen=True, slots=True)
class OpenvpnReset:
    """A server's P_CONTROL_HARD_RESET_SERVER_V2; `remote` is the session id it acknowledges, None without one."""

    session: bytes
    acknowledged: tuple[int, ...]
    remote: bytes | None
    packet: int


def openvpn(session: bytes) -> bytes:
    """P_CONTROL_HARD_RESET_CLIENT_V2, key 0, nothing acknowledged, packet id 0, without tls-auth (row F5): 14 bytes."""
    if len(session) != 8:
        raise ValueError("a session id has 8 bytes")
    return bytes((_HARD_RESET_CLIENT_V2 << 3,)) + session + bytes(5)


def decode_openvpn(data: bytes) -> OpenvpnReset:
    """The server's hard reset in `data`, or Malformed; what follows the packet id is not read."""
    reader = Reader(data)
    if reader.u8() >> 3 != _HARD_RESET_SERVER_V2:
        raise Malformed("not an OpenVPN server reset")
    session = reader.take(8)
    acknowledged = tuple(reader.u32() for _ in range(reader.u8()))
    remote = reader.take(8) if acknowledged else None
    return OpenvpnReset(session=session, acknowledged=acknowledged, remote=remote, packet=reader.u32())


# --- IKE -----------------------------------------------------------------------------------------------------------

IKE_HEADER_BYTES = 28
_SA, _KE, _NONCE, _NOTIFY = 33, 34, 40, 41
_IKE_SA_INIT = 34
_V1_INFORMATIONAL = 5
_INITIATOR, _RESPONSE = 0x08, 0x20
_CURVE25519 = 31
# RFC 7296 section 3.3.2: (type, id, attributes). Ordinary choices, so that many gateways find one of theirs; KE is
# for the first group, and a gateway that prefers another answers INVALID_KE_PAYLOAD without keeping state.
_TRANSFORMS = (
    (1, 12, b"\x80\x0e\x01\x00"),  # AES-CBC, key length 256
    (1, 12, b"\x80\x0e\x00\x80"),  # AES-CBC, key length 128
    (2, 5, b""),  # PRF HMAC-SHA2-256
    (3, 12, b""),  # HMAC-SHA2-256-128
    (4, _CURVE25519, b""),
    (4, 19, b""),  # 256-bit random ECP
    (4, 14, b""),  # 2048-bit MODP
)
NOTIFY_WORDS = {
    5: "INVALID_MAJOR_VERSION",
    7: "INVALID_SYNTAX",
    14: "NO_PROPOSAL_CHOSEN",
    17: "INVALID_KE_PAYLOAD",
    16390: "COOKIE",
    16407: "REDIRECT",
}


@dataclasses.dataclass(frozen=True, slots=True)
class IkeReply:
    """An IKE header and the clear payloads behind it (version 2 only): their types, and the types of notifications."""

    initiator: bytes
    responder: bytes
    major: int
    exchange: int
    flags: int
    message: int
    payloads: tuple[int, ...]
    notifications: tuple[int, ...]


def ike(spi: bytes, nonce: bytes, public: bytes) -> bytes:
    """An IKE_SA_INIT request (RFC 7296 section 1.2; row F6) with one proposal, 164 bytes with a 16-byte nonce.

    `spi` is 8 bytes, not all zero; `nonce` 16 to 256; `public` 32 bytes that stand for a curve25519 public key.
    """
    if len(spi) != 8 or not any(spi) or not 16 <= len(nonce) <= 256 or len(public) != 32:
        raise ValueError("an SPI has 8 bytes, a nonce 16 to 256, a curve25519 key 32")
    last = len(_TRANSFORMS) - 1
    transforms = b"".join(
        bytes((0 if at == last else 3, 0)) + _u16(8 + len(more)) + bytes((kind, 0)) + _u16(number) + more
        for at, (kind, number, more) in enumerate(_TRANSFORMS)
    )
    proposal = b"\0\0" + _u16(8 + len(transforms)) + bytes((1, 1, 0, len(_TRANSFORMS))) + transforms
    body = _payload(_KE, proposal) + _payload(_NONCE, _u16(_CURVE25519) + b"\0\0" + public) + _payload(0, nonce)
    fixed = bytes((_SA, 0x20, _IKE_SA_INIT, _INITIATOR)) + bytes(4)
    return spi + bytes(8) + fixed + (IKE_HEADER_BYTES + len(body)).to_bytes(4, "big") + body


def decode_ike(data: bytes) -> IkeReply:
    """The IKE message that fills `data` exactly, or Malformed. Of version 1 only the header is read."""
    reader = Reader(data)
    initiator, responder, following, version = reader.take(8), reader.take(8), reader.u8(), reader.u8()
    exchange, flags, message, length = reader.u8(), reader.u8(), reader.u32(), reader.u32()
    if version >> 4 not in (1, 2) or length != len(data):
        raise Malformed("not IKE")
    payloads, notifications = [], []
    while version >> 4 == 2 and following:
        payloads.append(following)
        after, _, size = reader.u8(), reader.u8(), reader.u16()
        body = Reader(reader.take(size - 4))
        if following == _NOTIFY:
            body.take(2)
            notifications.append(body.u16())
        following = after
    return IkeReply(
        initiator=initiator,
        responder=responder,
        major=version >> 4,
        exchange=exchange,
        flags=flags,
        message=message,
        payloads=tuple(payloads),
        notifications=tuple(notifications),
    )


def _payload(following: int, body: bytes) -> bytes:
    return bytes((following, 0)) + _u16(4 + len(body)) + body


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


# --- the seam ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """`valid`: it answers what was sent, in that protocol. `text`: what it is, printable, at most MOST_TEXT long."""

    valid: bool
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """One payload. `name` is its key in SHAPES; `make` and `read` get bytes derived from the caller's random bytes.

    `read` says in words what an answer is, or raises Malformed when `data` is no answer to what `make` made of them.
    """

    name: str
    make: Callable[[bytes], bytes]
    read: Callable[[bytes, bytes], str]

    def build(self, random: bytes) -> bytes:
        """The payload; `random` is at least 32 bytes, and the same bytes always give the same payload."""
        if len(random) < LEAST_RANDOM:
            raise ValueError(f"a payload wants {LEAST_RANDOM} random bytes")
        return self.make(self._derive(random))

    def recognise(self, random: bytes, data: bytes) -> Answer:
        """What `data` says to the payload that `build` made of the same `random`. Never raises, whatever `data` is."""
        derived = self._derive(random)
        try:
            return Answer(valid=True, text=escape(self.read(derived, data), MOST_TEXT))
        except Malformed:
            own = data == self.make(derived)
            return Answer(valid=False, text="our own packet came back" if own else _looks_like(data))

    def _derive(self, random: bytes) -> bytes:
        # One seed may serve several shapes: hashed with the name, no two of them share a byte on the wire.
        return hashlib.shake_256(self.name.encode() + b"\0" + random).digest(64)


def _read_opaque(derived: bytes, data: bytes) -> str:
    """Whatever answers the opaque payload is an answer; the words say when it speaks a protocol that was not asked."""
    return f"the same {len(data)} bytes came back" if data == opaque(derived) else _looks_like(data)


def _read_stun(derived: bytes, data: bytes) -> str:
    return stun.words(stun.binding_answer(derived[:12], data))


def _read_ntp(derived: bytes, data: bytes) -> str:
    reply = ntp.decode(data)
    if not ntp.matches(reply, derived[:8]):
        raise Malformed("answers another request")
    return ntp.words(reply)


def _read_openvpn(derived: bytes, data: bytes) -> str:
    if decode_openvpn(data).remote != derived[:8]:
        raise Malformed("answers another session")
    return "OpenVPN server, hard reset"


def _make_ike(derived: bytes) -> bytes:
    return ike(derived[:8], derived[8:24], derived[24:56])


def _read_ike(derived: bytes, data: bytes) -> str:
    reply = decode_ike(data)
    if reply.initiator != derived[:8]:
        raise Malformed("answers another exchange")
    if reply.major == 1 and reply.exchange == _V1_INFORMATIONAL:
        return "IKE version 1 only, refused ours"
    if (reply.major, reply.exchange, reply.message) != (2, _IKE_SA_INIT, 0) or not reply.flags & _RESPONSE:
        raise Malformed("not an answer to IKE_SA_INIT")
    named = ("accepted" if _SA in reply.payloads else "", *(NOTIFY_WORDS.get(n, str(n)) for n in reply.notifications))
    return f"IKE answered: {', '.join(filter(None, named)) or 'nothing'}"


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("opaque", opaque, _read_opaque),
        Shape("stun", lambda derived: stun.binding_request(derived[:12]), _read_stun),
        Shape("ntp", lambda derived: ntp.request(derived[:8]), _read_ntp),
        Shape("openvpn", lambda derived: openvpn(derived[:8]), _read_openvpn),
        Shape("ike", _make_ike, _read_ike),
    )
}

# --- answers in another protocol -----------------------------------------------------------------------------------


def _is_stun(data: bytes) -> bool:
    return stun.decode(data).fingerprint_ok is not False


def _is_ntp(data: bytes) -> bool:
    reply = ntp.decode(data)
    return len(data) == ntp.PACKET_BYTES and reply.mode == ntp.SERVER and reply.stratum <= ntp.MOST_STRATUM


def _is_openvpn(data: bytes) -> bool:
    return decode_openvpn(data).acknowledged == (0,)


def _is_ike(data: bytes) -> bool:
    return bool(decode_ike(data).major)


_PROTOCOLS = (("STUN", _is_stun), ("NTP", _is_ntp), ("OpenVPN", _is_openvpn), ("IKE", _is_ike))


def _looks_like(data: bytes) -> str:
    for name, fits in _PROTOCOLS:
        try:
            if fits(data):
                return f"looks like {name}, {len(data)} bytes"
        except Malformed:
            continue
    return f"unrecognised, {len(data)} bytes"
