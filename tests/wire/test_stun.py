"""STUN against the vectors of RFC 5769, tables of bad messages, and whatever Hypothesis thinks of."""

from __future__ import annotations

import ipaddress
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.text import escape
from roomprobe.wire import stun
from roomprobe.wire.reader import Malformed

from . import vectors
from .vectors import TRANSACTION

SUCCESS, ERROR = stun.Class.SUCCESS, stun.Class.ERROR
HERE = bytes.fromhex("0001 a147 e112a643")  # 192.0.2.1:32853 under the XOR


def answer(*attributes: tuple[int, bytes], kind: stun.Class = SUCCESS, method: int = stun.BINDING) -> bytes:
    return stun.encode(method, kind, TRANSACTION, attributes)


# --- RFC 5769 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", vectors.VECTORS)
def test_the_integrity_of_each_vector(name: str) -> None:
    data, key = vectors.VECTORS[name]
    assert stun.integrity_ok(data, key) is True
    assert stun.integrity_ok(data, key + b"x") is False
    assert stun.integrity_ok(data[:21] + bytes((data[21] ^ 1,)) + data[22:], key) is False


@pytest.mark.parametrize(("name", "expected"), [("request", True), ("ipv4", True), ("ipv6", True), ("long-term", None)])
def test_the_fingerprint_of_each_vector(name: str, expected: bool | None) -> None:
    assert stun.decode(vectors.VECTORS[name][0]).fingerprint_ok is expected


def test_the_request_vector() -> None:
    message = stun.decode(vectors.REQUEST)
    assert (message.method, message.message_class, message.transaction) == (1, stun.Class.REQUEST, TRANSACTION)
    assert [a.type for a in message.attributes] == [0x8022, 0x24, 0x8029, 0x6, 0x8, 0x8028]
    assert stun.text(message.first(stun.SOFTWARE) or b"") == "STUN test client"
    assert message.first(0x0006) == b"evtj:h6vY"
    assert message.first(stun.REALM) is None


@pytest.mark.parametrize(
    ("data", "mapped"),
    [(vectors.RESPONSE_4, "192.0.2.1:32853"), (vectors.RESPONSE_6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")],
)
def test_the_response_vectors(data: bytes, mapped: str) -> None:
    found = stun.binding_answer(TRANSACTION, data)
    assert (found.success, str(found.mapped), found.error, found.software) == (True, mapped, None, "test vector")
    assert stun.words(found) == f"STUN success, mapped {mapped} (test vector)"


def test_the_long_term_vector() -> None:
    message = stun.decode(vectors.LONG_TERM)
    assert stun.text(message.first(stun.REALM) or b"") == "example.org"
    assert stun.text(message.first(stun.NONCE) or b"") == "f//499k954d6OL34oL9FSTvy64sA"
    assert (message.first(0x0006) or b"").decode() == vectors.USER


# --- encoding ------------------------------------------------------------------------------------------------------


def test_a_binding_request() -> None:
    data = stun.binding_request(TRANSACTION, "rp")
    assert data[:-4] == bytes.fromhex("00010010 2112a442 b7e7a701bc34d686fa87dfae 80220002 7270 0000 80280004")
    assert stun.decode(data).fingerprint_ok is True
    assert len(stun.binding_request(TRANSACTION)) == 28
    assert len(stun.decode(stun.binding_request(TRANSACTION, "x" * 500)).attributes[0].value) == 127


@pytest.mark.parametrize("size", [0, 11, 13, 16])
def test_a_transaction_id_has_twelve_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        stun.binding_request(bytes(size))


@given(
    st.integers(0, 0xFFF),
    st.sampled_from(stun.Class),
    st.binary(min_size=12, max_size=12),
    st.lists(
        st.tuples(st.integers(0, 0xFFFF).filter(lambda t: t != stun.FINGERPRINT), st.binary(max_size=40)), max_size=5
    ),
    st.booleans(),
)
def test_what_is_encoded_is_decoded(
    method: int, kind: stun.Class, transaction: bytes, attributes: list[tuple[int, bytes]], fingerprint: bool
) -> None:
    data = stun.encode(method, kind, transaction, attributes, fingerprint=fingerprint)
    message = stun.decode(data)
    assert (message.method, message.message_class, message.transaction) == (method, kind, transaction)
    assert [(a.type, a.value) for a in message.attributes][: len(attributes)] == attributes
    assert message.fingerprint_ok is (True if fingerprint else None)


@pytest.mark.parametrize(
    ("method", "kind", "number"),
    [
        (1, stun.Class.REQUEST, 0x0001),
        (1, SUCCESS, 0x0101),
        (1, ERROR, 0x0111),
        (3, ERROR, 0x0113),
        (0xFFF, ERROR, 0x3FFF),
    ],
)
def test_message_types_are_those_of_the_registry(method: int, kind: stun.Class, number: int) -> None:
    assert stun.encode(method, kind, TRANSACTION)[:2] == number.to_bytes(2, "big")


# --- bad messages --------------------------------------------------------------------------------------------------

BAD = {
    "empty": b"",
    "header cut": vectors.REQUEST[:19],
    "first bits": b"\x80" + vectors.REQUEST[1:],
    "no cookie": vectors.REQUEST[:4] + b"\0\0\0\0" + vectors.REQUEST[8:],
    "byte too many": vectors.REQUEST + b"\0",
    "cut by an attribute": vectors.REQUEST[:-8],
    "length not of fours": bytes.fromhex("00010002 2112a442") + TRANSACTION + b"\0\0",
    "attribute longer than the message": bytes.fromhex("00010004 2112a442") + TRANSACTION + bytes.fromhex("80220001"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_malformed(name: str) -> None:
    with pytest.raises(Malformed):
        stun.decode(BAD[name])
    with pytest.raises(Malformed):
        stun.integrity_ok(BAD[name], b"")


def test_a_message_without_integrity() -> None:
    assert stun.integrity_ok(stun.binding_request(TRANSACTION), b"key") is None


def test_a_fingerprint_counts_only_as_the_last_attribute() -> None:
    data = stun.encode(1, SUCCESS, TRANSACTION, [(stun.FINGERPRINT, bytes(4)), (stun.SOFTWARE, b"")], fingerprint=False)
    right = (zlib.crc32(data[:20]) ^ 0x5354554E).to_bytes(4, "big")
    assert stun.decode(data[:24] + right + data[28:]).fingerprint_ok is False


# --- attributes ----------------------------------------------------------------------------------------------------

MAPPED = {
    "xor": ([(0x0020, HERE)], "192.0.2.1:32853"),
    "microsoft": ([(0x8020, HERE)], "192.0.2.1:32853"),
    "plain": ([(0x0001, bytes.fromhex("0001 8055 c0000201"))], "192.0.2.1:32853"),
    "xor before plain": ([(0x0001, bytes.fromhex("0001 0001 7f000001")), (0x0020, HERE)], "192.0.2.1:32853"),
    "first of two": ([(0x0020, HERE), (0x0020, bytes(8))], "192.0.2.1:32853"),
    "plain, IPv6": ([(0x0001, bytes.fromhex("0002 0001") + bytes(15) + b"\1")], "[::1]:1"),
    "none": ([], "None"),
}


@pytest.mark.parametrize("name", MAPPED)
def test_where_the_mapped_address_stands(name: str) -> None:
    attributes, expected = MAPPED[name]
    assert str(stun.binding_answer(TRANSACTION, answer(*attributes)).mapped) == expected


@given(st.ip_addresses(), st.integers(0, 0xFFFF), st.binary(min_size=12, max_size=12))
def test_any_address_comes_back_from_under_the_xor(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, transaction: bytes
) -> None:
    plain = bytes((0, 1 if address.version == 4 else 2)) + port.to_bytes(2, "big") + address.packed
    mask = bytes(2) + b"\x21\x12" + b"\x21\x12\xa4\x42" + transaction
    assert stun.mapped_address(plain) == stun.Endpoint(str(address), port)
    hidden = bytes(a ^ b for a, b in zip(plain, mask, strict=False))
    assert stun.xor_mapped_address(hidden, transaction) == stun.Endpoint(str(address), port)


@pytest.mark.parametrize(
    "value", ["", "0001", "0001 8055", "0001 8055 c00002", "0002 8055 c0000201", "0003 8055 c0000201"]
)
def test_no_such_address(value: str) -> None:
    for decoder in (stun.mapped_address, stun.xor_mapped_address):
        with pytest.raises(Malformed):
            decoder(bytes.fromhex(value), TRANSACTION)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\0\0\4\1Unauthorized", (401, "Unauthorized")),
        (b"\xff\xff\xfb\0", (300, "")),
        (b"\0\0\6\x63\x1b[2J\xff", (699, "\\x1b[2J\\xff")),
    ],
)
def test_error_codes(value: bytes, expected: tuple[int, str]) -> None:
    assert stun.error_code(value) == expected


@pytest.mark.parametrize("value", [b"", b"\0\0\4", b"\0\0\2\0", b"\0\0\7\0", b"\0\0\4\x64"])
def test_no_such_error_code(value: bytes) -> None:
    with pytest.raises(Malformed):
        stun.error_code(value)


@given(st.binary(max_size=2000))
def test_text_is_bounded_and_printable(value: bytes) -> None:
    shown = stun.text(value)
    assert len(shown) <= stun.MOST_TEXT
    assert escape(shown, 1000) == shown


# --- answers -------------------------------------------------------------------------------------------------------

WORDS = {
    "STUN error 401, wants credentials": answer((0x0009, b"\0\0\4\1"), kind=ERROR),
    "STUN error 499, no known meaning (it)": answer((0x0009, b"\0\0\4\x63"), (0x8022, b"it"), kind=ERROR),
    "STUN success, no address": answer((0x8022, b"")),
    "STUN success, mapped 192.0.2.1:32853": answer((0x0020, HERE)),
}


@pytest.mark.parametrize("text", WORDS)
def test_an_answer_in_words(text: str) -> None:
    assert stun.words(stun.binding_answer(TRANSACTION, WORDS[text])) == text


NO_ANSWERS = {
    "our own request": stun.binding_request(TRANSACTION),
    "an indication": answer(kind=stun.Class.INDICATION),
    "another method": answer(method=3),
    "another transaction": stun.encode(1, SUCCESS, bytes(12)),
    "a wrong fingerprint": answer()[:-1] + bytes((answer()[-1] ^ 1,)),
    "an error without a code": answer(kind=ERROR),
    "a bad address": answer((0x0020, b"")),
    "a bad code": answer((0x0009, b""), kind=ERROR),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_no_answer_to_our_request(name: str) -> None:
    with pytest.raises(Malformed):
        stun.binding_answer(TRANSACTION, NO_ANSWERS[name])


def test_every_attribute_used_here_has_a_name() -> None:
    assert {*stun.MAPPED, stun.REALM, stun.NONCE, stun.FINGERPRINT, stun.SOFTWARE} <= stun.ATTRIBUTE_NAMES.keys()
