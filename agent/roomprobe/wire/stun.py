"""STUN messages (RFC 8489): a Binding request to send, any message to read, and what an answer to our request says.

Numbers stand in tables. Text that a server chose comes out escaped and bounded.
"""

from __future__ import annotations

import dataclasses
import enum
import hmac
import ipaddress
import zlib
from collections.abc import Callable, Sequence

from roomprobe.text import escape
from roomprobe.wire.reader import Malformed, Reader

MAGIC_COOKIE = 0x2112A442
HEADER_BYTES = 20
BINDING = 0x001
MOST_TEXT = 60

MAPPED_ADDRESS = 0x0001
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
REALM = 0x0014
NONCE = 0x0015
XOR_MAPPED_ADDRESS = 0x0020
MS_XOR_MAPPED_ADDRESS = 0x8020
SOFTWARE = 0x8022
FINGERPRINT = 0x8028

ATTRIBUTE_NAMES = {
    MAPPED_ADDRESS: "MAPPED-ADDRESS",
    0x0006: "USERNAME",
    MESSAGE_INTEGRITY: "MESSAGE-INTEGRITY",
    ERROR_CODE: "ERROR-CODE",
    0x000A: "UNKNOWN-ATTRIBUTES",
    REALM: "REALM",
    NONCE: "NONCE",
    XOR_MAPPED_ADDRESS: "XOR-MAPPED-ADDRESS",
    MS_XOR_MAPPED_ADDRESS: "MS-XOR-MAPPED-ADDRESS",  # [MS-TURN]; row S5
    SOFTWARE: "SOFTWARE",
    0x8023: "ALTERNATE-SERVER",
    FINGERPRINT: "FINGERPRINT",
}
ERROR_WORDS = {
    300: "try another server",
    400: "bad request",
    401: "wants credentials",
    403: "forbidden",
    420: "unknown attribute",
    437: "allocation mismatch",
    438: "stale nonce",
    486: "allocation quota reached",
    500: "server error",
    508: "no capacity",
}
_FAMILY_BYTES = {1: 4, 2: 16}
_FINGERPRINT_XOR = 0x5354554E  # section 14.7


class Class(enum.IntEnum):
    """The two class bits of a message type (section 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute, undecoded; `offset` is where its type stands in the message."""

    type: int
    value: bytes
    offset: int


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A well-formed message. `fingerprint_ok` is None without a FINGERPRINT, False when it is wrong or not the last."""

    method: int
    message_class: Class
    transaction: bytes
    attributes: tuple[Attribute, ...]
    fingerprint_ok: bool | None

    def first(self, attribute_type: int) -> bytes | None:
        """The value of the first attribute of this type: later ones do not count (section 14)."""
        return next((a.value for a in self.attributes if a.type == attribute_type), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and port as a server wrote it down."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True)
class BindingAnswer:
    """What the answer to our Binding request said: success with the mapped address, or error with its code."""

    success: bool
    mapped: Endpoint | None
    error: int | None
    software: str | None


def encode(
    method: int,
    message_class: Class,
    transaction: bytes,
    attributes: Sequence[tuple[int, bytes]] = (),
    *,
    fingerprint: bool = True,
) -> bytes:
    """A message with these (type, value) attributes in this order, zero padding, and FINGERPRINT as the last."""
    if len(transaction) != 12:
        raise ValueError("a transaction id has 12 bytes")
    # Section 5: the two class bits stand at bit 4 and bit 8, among the twelve of the method.
    kind = (
        (method & 0xF80) << 2
        | (method & 0x70) << 1
        | method & 0xF
        | (message_class & 2) << 7
        | (message_class & 1) << 4
    )
    body = b"".join(_u16(t) + _u16(len(v)) + v + bytes(-len(v) % 4) for t, v in attributes)
    # The length that the CRC covers already counts the FINGERPRINT itself.
    length = len(body) + (8 if fingerprint else 0)
    data = _u16(kind) + _u16(length) + MAGIC_COOKIE.to_bytes(4, "big") + transaction + body
    return data + _u16(FINGERPRINT) + _u16(4) + _checksum(data) if fingerprint else data


def binding_request(transaction: bytes, software: str | None = None) -> bytes:
    """A Binding request with FINGERPRINT; `transaction` is 12 random bytes, `software` at most 127 characters."""
    named = () if software is None else ((SOFTWARE, software[:127].encode()),)
    return encode(BINDING, Class.REQUEST, transaction, named)


def decode(data: bytes) -> Message:
    """The message that fills `data` exactly, or Malformed. Attributes are not decoded, FINGERPRINT is checked."""
    reader = Reader(data)
    kind, length, cookie = reader.u16(), reader.u16(), reader.u32()
    transaction = reader.take(12)
    if kind & 0xC000 or cookie != MAGIC_COOKIE:
        raise Malformed("not STUN: no magic cookie")
    if length != reader.remaining:
        raise Malformed("STUN length is wrong")
    attributes = []
    while reader.remaining:
        offset = len(data) - reader.remaining
        attribute_type, size = reader.u16(), reader.u16()
        attributes.append(Attribute(attribute_type, reader.take(size), offset))
        reader.take(-size % 4)
    return Message(
        method=(kind & 0x3E00) >> 2 | (kind & 0xE0) >> 1 | kind & 0xF,
        message_class=Class((kind & 0x100) >> 7 | (kind & 0x10) >> 4),
        transaction=transaction,
        attributes=tuple(attributes),
        fingerprint_ok=_fingerprint_ok(data, attributes),
    )


def integrity_ok(data: bytes, key: bytes) -> bool | None:
    """Whether MESSAGE-INTEGRITY (HMAC-SHA1) fits `key`; None when there is none, Malformed when `data` is no message.

    The key of a short-term credential is the password, of a long-term one MD5(user:realm:password) (section 9).
    """
    found = next((a for a in decode(data).attributes if a.type == MESSAGE_INTEGRITY), None)
    if found is None:
        return None
    # Section 14.5: as if the message ended with this attribute, which is 24 bytes long.
    covered = data[:2] + _u16(found.offset + 24 - HEADER_BYTES) + data[4 : found.offset]
    return hmac.compare_digest(hmac.digest(key, covered, "sha1"), found.value)


def mapped_address(value: bytes, _transaction: bytes = b"") -> Endpoint:
    """MAPPED-ADDRESS (section 14.1)."""
    return _endpoint(value, bytes(16))


def xor_mapped_address(value: bytes, transaction: bytes) -> Endpoint:
    """XOR-MAPPED-ADDRESS (section 14.2), and Microsoft's, whose longer transaction id begins with the same cookie."""
    return _endpoint(value, MAGIC_COOKIE.to_bytes(4, "big") + transaction)


def error_code(value: bytes) -> tuple[int, str]:
    """ERROR-CODE (section 14.8): the number, 300 to 699, and the server's own reason, escaped and bounded."""
    reader = Reader(value)
    reader.take(2)
    hundreds, number = reader.u8() & 7, reader.u8()
    if not 3 <= hundreds <= 6 or number > 99:
        raise Malformed("no such error code")
    return hundreds * 100 + number, text(reader.rest())


def text(value: bytes) -> str:
    """SOFTWARE, REALM or NONCE to show to people: escaped and bounded. To answer with a nonce, use the bytes."""
    return escape(value.decode("utf-8", "backslashreplace"), MOST_TEXT)


# Where our address may stand in a success answer; the first one present counts.
MAPPED: dict[int, Callable[[bytes, bytes], Endpoint]] = {
    XOR_MAPPED_ADDRESS: xor_mapped_address,
    MS_XOR_MAPPED_ADDRESS: xor_mapped_address,
    MAPPED_ADDRESS: mapped_address,
}


def binding_answer(transaction: bytes, data: bytes) -> BindingAnswer:
    """What `data` answers to the Binding request with this transaction id; Malformed when it does not answer it."""
    message = decode(data)
    if message.method != BINDING or message.message_class not in (Class.SUCCESS, Class.ERROR):
        raise Malformed("not a Binding answer")
    if message.transaction != transaction:
        raise Malformed("answers another request")
    if message.fingerprint_ok is False:
        raise Malformed("wrong fingerprint")
    software = message.first(SOFTWARE)
    shown = None if software is None else text(software)
    if message.message_class is Class.SUCCESS:
        found = ((decoder, message.first(kind)) for kind, decoder in MAPPED.items())
        mapped = next((decoder(value, transaction) for decoder, value in found if value is not None), None)
        return BindingAnswer(success=True, mapped=mapped, error=None, software=shown)
    code = message.first(ERROR_CODE)
    if code is None:
        raise Malformed("error without a code")
    return BindingAnswer(success=False, mapped=None, error=error_code(code)[0], software=shown)


def words(answer: BindingAnswer) -> str:
    """What an answer says, for people; bounded and printable."""
    by = f" ({answer.software})" if answer.software else ""
    if answer.error is not None:
        return f"STUN error {answer.error}, {ERROR_WORDS.get(answer.error, 'no known meaning')}{by}"
    return f"STUN success, {'no address' if answer.mapped is None else f'mapped {answer.mapped}'}{by}"


def _endpoint(value: bytes, mask: bytes) -> Endpoint:
    reader = Reader(value)
    reader.take(1)
    family, port = reader.u8(), reader.u16()
    address = reader.rest()
    if _FAMILY_BYTES.get(family) != len(address):
        raise Malformed("no such address")
    plain = bytes(a ^ b for a, b in zip(address, mask, strict=False))
    return Endpoint(str(ipaddress.ip_address(plain)), port ^ int.from_bytes(mask[:2], "big"))


def _fingerprint_ok(data: bytes, attributes: Sequence[Attribute]) -> bool | None:
    found = next((a for a in attributes if a.type == FINGERPRINT), None)
    if found is None:
        return None
    return found is attributes[-1] and found.value == _checksum(data[: found.offset])


def _checksum(data: bytes) -> bytes:
    return (zlib.crc32(data) ^ _FINGERPRINT_XOR).to_bytes(4, "big")


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "big")
