"""The shapes: what each payload must and must not look like, what answers it, and what never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.text import escape
from roomprobe.wire import ntp, shapes, stun
from roomprobe.wire.reader import Malformed
from roomprobe.wire.shapes import SHAPES, Answer

SEED = bytes(range(64))
SEEDS = st.binary(min_size=32, max_size=80)
RANDOM = st.binary(min_size=64, max_size=64)
HERE = bytes.fromhex("0001 a147 e112a643")


def sent(name: str) -> bytes:
    return SHAPES[name].build(SEED)


def says(name: str, data: bytes) -> Answer:
    return SHAPES[name].recognise(SEED, data)


def stun_answer(transaction: bytes | None = None) -> bytes:
    return stun.encode(
        stun.BINDING, stun.Class.SUCCESS, transaction or sent("stun")[8:20], [(stun.XOR_MAPPED_ADDRESS, HERE)]
    )


def ntp_answer(origin: bytes | None = None, first: int = 0x24, stratum: int = 2) -> bytes:
    return bytes((first, stratum)) + bytes(10) + b"\xc0\0\2\1" + bytes(8) + (origin or sent("ntp")[40:]) + bytes(16)


def openvpn_answer(remote: bytes | None = None) -> bytes:
    return b"\x40" + b"servsess" + b"\1" + bytes(4) + (remote or sent("openvpn")[1:9]) + bytes(4)


def ike_answer(
    *payloads: tuple[int, bytes], spi: bytes | None = None, version: int = 0x20, exchange: int = 34, flags: int = 0x20
) -> bytes:
    kinds = [kind for kind, _ in payloads] + [0]
    body = b"".join(
        bytes((after, 0)) + (4 + len(content)).to_bytes(2, "big") + content
        for after, (_, content) in zip(kinds[1:], payloads, strict=True)
    )
    head = (spi or sent("ike")[:8]) + b"respspi!" + bytes((kinds[0], version, exchange, flags)) + bytes(4)
    return head + (28 + len(body)).to_bytes(4, "big") + body


def notify(number: int) -> tuple[int, bytes]:
    return 41, b"\0\0" + number.to_bytes(2, "big")


# --- what is sent --------------------------------------------------------------------------------------------------

SIZES = {"opaque": 45, "stun": 28, "ntp": 48, "openvpn": 14, "ike": 164}


def test_the_table() -> None:
    assert {name: len(shape.build(SEED)) for name, shape in SHAPES.items()} == SIZES
    assert all(name == shape.name for name, shape in SHAPES.items())


@pytest.mark.parametrize("name", SHAPES)
def test_a_payload_follows_from_its_random_bytes(name: str) -> None:
    shape = SHAPES[name]
    assert shape.build(SEED) == shape.build(bytes(SEED))
    assert shape.build(SEED) != shape.build(SEED[:-1] + b"x")
    shape.build(bytes(32))
    with pytest.raises(ValueError, match="32 random bytes"):
        shape.build(bytes(31))


def test_no_two_payloads_of_one_seed_share_their_random_bytes() -> None:
    ids = [sent("opaque")[5:13], sent("stun")[8:16], sent("ntp")[40:], sent("openvpn")[1:9], sent("ike")[:8]]
    assert len(set(ids)) == 5


@given(RANDOM)
def test_the_opaque_payload_is_nothing_else(random: bytes) -> None:
    data = shapes.opaque(random)
    assert len(data) == 45
    assert 4 <= data[0] <= 15, "RFC 7983: not STUN, ZRTP, DTLS, TURN, RTP"
    assert not data[0] & 0x40, "RFC 9000 section 17: without the fixed bit it is no QUIC packet"
    assert data[0] >> 3 not in range(1, 12), "an OpenVPN opcode"
    assert data[0] & 7 == ntp.SERVER, "an NTP mode that servers answer"
    assert data[0] >> 3 & 7 == 0, "an NTP version that servers speak"
    assert len(data) < ntp.PACKET_BYTES
    assert data[2] & 0x80, "DNS: a query"
    assert int.from_bytes(data[2:4], "big") != len(data) - 20, "STUN without a cookie (RFC 3489)"
    assert data[1:4] != bytes(3), "WireGuard"
    assert data[4] & 0x80, "the magic cookie of STUN begins with 21"
    assert data[17] >> 4 == 2 and data[18] == 0 and data[19] & 0x20, "an IKE version to refuse, or a request"
    assert int.from_bytes(data[24:28], "big") >= 2**31, "an IKE length"
    for decoder in (stun.decode, ntp.decode, shapes.decode_openvpn, shapes.decode_ike):
        with pytest.raises(Malformed):
            decoder(data)


@given(RANDOM, RANDOM)
def test_the_rest_of_the_opaque_payload_is_random(one: bytes, two: bytes) -> None:
    fixed = {place: kept for place, kept, _ in shapes._OPAQUE_FIXED}
    masks = [fixed.get(place, 0xFF) for place in range(45)]
    differs = any((a ^ b) & mask for a, b, mask in zip(one, two, masks, strict=False))
    assert (shapes.opaque(one) != shapes.opaque(two)) is differs


def test_the_opaque_payload_wants_enough_random_bytes() -> None:
    shapes.opaque(bytes(45))
    with pytest.raises(ValueError, match="45 random bytes"):
        shapes.opaque(bytes(44))


def test_openvpn() -> None:
    assert shapes.openvpn(b"12345678") == b"\x38" + b"12345678" + b"\0" + bytes(4)
    with pytest.raises(ValueError, match="8 bytes"):
        shapes.openvpn(b"1234567")


def test_ike() -> None:
    data = shapes.ike(b"12345678", bytes(16), b"k" * 32)
    expected = (
        "3132333435363738 0000000000000000 21 20 22 08 00000000 000000a4"
        "22 00 004c 00 00 0048 01 01 00 07"
        "03 00 000c 01 00 000c 800e0100  03 00 000c 01 00 000c 800e0080"
        "03 00 0008 02 00 0005  03 00 0008 03 00 000c"
        "03 00 0008 04 00 001f  03 00 0008 04 00 0013  00 00 0008 04 00 000e"
        "28 00 0028 001f 0000" + "6b" * 32 + "00 00 0014" + "00" * 16
    )
    assert data == bytes.fromhex(expected)
    assert shapes.decode_ike(data).payloads == (33, 34, 40)


@pytest.mark.parametrize(
    ("spi", "nonce", "public"),
    [
        (bytes(8), bytes(16), bytes(32)),
        (b"1234567", bytes(16), bytes(32)),
        (b"12345678", bytes(15), bytes(32)),
        (b"12345678", bytes(257), bytes(32)),
        (b"12345678", bytes(16), bytes(31)),
    ],
)
def test_ike_refuses_what_the_rfc_forbids(spi: bytes, nonce: bytes, public: bytes) -> None:
    with pytest.raises(ValueError, match="SPI has 8 bytes"):
        shapes.ike(spi, nonce, public)


# --- what answers --------------------------------------------------------------------------------------------------

GOOD = {
    "STUN success, mapped 192.0.2.1:32853": ("stun", stun_answer()),
    "NTP stratum 2, refid 192.0.2.1": ("ntp", ntp_answer()),
    "OpenVPN server, hard reset": ("openvpn", openvpn_answer()),
    "IKE answered: accepted": ("ike", ike_answer((33, b""), (34, bytes(36)), (40, bytes(16)))),
    "IKE answered: accepted, 16388": ("ike", ike_answer((33, b""), notify(16388))),
    "IKE answered: NO_PROPOSAL_CHOSEN": ("ike", ike_answer(notify(14))),
    "IKE answered: INVALID_KE_PAYLOAD": ("ike", ike_answer((41, b"\0\0\0\x11\0\x0e"))),
    "IKE answered: nothing": ("ike", ike_answer()),
    "IKE version 1 only, refused ours": ("ike", ike_answer((11, b""), version=0x10, exchange=5, flags=0)),
    "the same 45 bytes came back": ("opaque", sent("opaque")),
    "unrecognised, 0 bytes": ("opaque", b""),
    "unrecognised, 17 bytes": ("opaque", bytes(17)),
    "looks like STUN, 40 bytes": ("opaque", stun_answer()),
    "looks like NTP, 48 bytes": ("opaque", ntp_answer()),
    "looks like OpenVPN, 26 bytes": ("opaque", openvpn_answer()),
    "looks like IKE, 36 bytes": ("opaque", ike_answer(notify(14))),
}


@pytest.mark.parametrize("text", GOOD)
def test_an_answer(text: str) -> None:
    name, data = GOOD[text]
    assert says(name, data) == Answer(valid=True, text=text)


OTHER = bytes(range(200, 220))
NOT = {
    "stun, another transaction": ("stun", stun_answer(OTHER[:12]), "looks like STUN, 40 bytes"),
    "stun, wrong fingerprint": ("stun", stun_answer()[:-1] + b"\0", "unrecognised, 40 bytes"),
    "stun asked, ntp answered": ("stun", ntp_answer(), "looks like NTP, 48 bytes"),
    "ntp, another nonce": ("ntp", ntp_answer(OTHER[:8]), "looks like NTP, 48 bytes"),
    "ntp, not a server": ("ntp", ntp_answer(first=0x25), "unrecognised, 48 bytes"),
    "ntp, no such stratum, another nonce": ("ntp", ntp_answer(OTHER[:8], stratum=17), "unrecognised, 48 bytes"),
    "ntp, cut": ("ntp", ntp_answer()[:47], "unrecognised, 47 bytes"),
    "openvpn, another session": ("openvpn", openvpn_answer(OTHER[:8]), "looks like OpenVPN, 26 bytes"),
    "openvpn, nothing acknowledged": ("openvpn", b"\x40" + bytes(13), "unrecognised, 14 bytes"),
    "openvpn, cut": ("openvpn", openvpn_answer()[:-1], "unrecognised, 25 bytes"),
    "ike, another initiator": ("ike", ike_answer(notify(14), spi=OTHER[:8]), "looks like IKE, 36 bytes"),
    "ike, a request": ("ike", ike_answer(notify(14), flags=8), "looks like IKE, 36 bytes"),
    "ike, another exchange": ("ike", ike_answer(exchange=37), "looks like IKE, 28 bytes"),
    "ike, version 1 main mode": ("ike", ike_answer(version=0x10, exchange=2), "looks like IKE, 28 bytes"),
    "ike, version 3": ("ike", ike_answer(version=0x30), "unrecognised, 28 bytes"),
    "ike, length": ("ike", ike_answer() + b"\0", "unrecognised, 29 bytes"),
    "ike, payload past the end": ("ike", ike_answer((33, b""))[:-1] + b"\5", "unrecognised, 32 bytes"),
    "ike, payload without a header": ("ike", ike_answer((33, b""))[:-1] + b"\3", "unrecognised, 32 bytes"),
    "ike, cut notification": ("ike", ike_answer((41, b"\0\0\0")), "unrecognised, 35 bytes"),
}


@pytest.mark.parametrize("name", NOT)
def test_no_answer(name: str) -> None:
    shape, data, text = NOT[name]
    assert says(shape, data) == Answer(valid=False, text=text)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "opaque"])
def test_an_echo_is_not_an_answer(name: str) -> None:
    assert says(name, sent(name)) == Answer(valid=False, text="our own packet came back")


def test_a_version_1_message_is_read_no_further_than_its_header() -> None:
    assert shapes.decode_ike(ike_answer((11, b"x"), version=0x10, exchange=5)).payloads == ()


# --- whatever comes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
@given(seed=SEEDS, data=st.binary(max_size=300))
def test_recognising_never_raises(name: str, seed: bytes, data: bytes) -> None:
    answer = SHAPES[name].recognise(seed, data)
    assert answer.valid is (name == "opaque")
    assert 0 < len(answer.text) <= shapes.MOST_TEXT
    assert escape(answer.text, 1000) == answer.text


@given(name=st.text(max_size=300), code=st.integers(0, 0xFFFF))
def test_what_a_server_says_of_itself_is_bounded_and_printable(name: str, code: int) -> None:
    software = (stun.SOFTWARE, name.encode("utf-8", "surrogatepass"))
    error = (stun.ERROR_CODE, b"\0\0" + code.to_bytes(2, "big"))
    for kind, more in ((stun.Class.SUCCESS, ()), (stun.Class.ERROR, (error,))):
        answer = says("stun", stun.encode(1, kind, sent("stun")[8:20], [software, *more]))
        assert len(answer.text) <= shapes.MOST_TEXT
        assert escape(answer.text, 1000) == answer.text


@given(
    SEEDS, st.binary(min_size=8, max_size=8), st.lists(st.integers(0, 2**32 - 1), max_size=9), st.integers(0, 2**32 - 1)
)
def test_an_openvpn_reset_is_read_back(seed: bytes, session: bytes, acknowledged: list[int], packet: int) -> None:
    remote = SHAPES["openvpn"].build(seed)[1:9]
    list_ = bytes((len(acknowledged),)) + b"".join(n.to_bytes(4, "big") for n in acknowledged)
    data = b"\x40" + session + list_ + (remote if acknowledged else b"") + packet.to_bytes(4, "big")
    found = shapes.decode_openvpn(data)
    assert (found.session, found.acknowledged, found.packet) == (session, tuple(acknowledged), packet)
    assert SHAPES["openvpn"].recognise(seed, data).valid is bool(acknowledged)
