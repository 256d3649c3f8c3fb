"""NTP: the bytes of a request, replies good and bad, and the arithmetic over the end of an era."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.wire import ntp
from roomprobe.wire.reader import Malformed

NONCE = bytes.fromhex("0123456789abcdef")
REPLY = bytes.fromhex(
    "24 02 06 e9 00000a00 00000b00 c0000201 ec0f0000 800000000123456789abcdef ec0f0001 00000000 ec0f0001 40000000"
)


def reply(first: int = 0x24, stratum: int = 2, refid: bytes = b"\xc0\0\2\1", origin: bytes = NONCE) -> ntp.Reply:
    return ntp.decode(bytes((first, stratum)) + REPLY[2:12] + refid + REPLY[16:24] + origin + REPLY[32:])


def test_a_request_tells_nothing_but_its_nonce() -> None:
    assert ntp.request(NONCE) == b"\x23\0\0\x20" + bytes(36) + NONCE


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_nonce_has_eight_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        ntp.request(bytes(size))


def test_a_reply() -> None:
    assert ntp.decode(REPLY) == ntp.Reply(
        version=4,
        mode=ntp.SERVER,
        leap=0,
        stratum=2,
        refid=b"\xc0\0\2\1",
        root_delay=0xA00,
        root_dispersion=0xB00,
        reference=0xEC0F0000_80000000,
        origin=0x01234567_89ABCDEF,
        receive=0xEC0F0001_00000000,
        transmit=0xEC0F0001_40000000,
    )


@pytest.mark.parametrize("tail", [b"\0" * 4, b"\0" * 20, b"x"])
def test_what_follows_a_reply_is_not_read(tail: bytes) -> None:
    assert ntp.decode(REPLY + tail) == ntp.decode(REPLY)


@pytest.mark.parametrize("size", range(48))
def test_a_reply_cut_short_is_malformed(size: int) -> None:
    with pytest.raises(Malformed):
        ntp.decode(REPLY[:size])


@pytest.mark.parametrize(("version", "good"), [(0, False), (1, True), (3, True), (4, True), (5, False), (7, False)])
def test_versions(version: int, good: bool) -> None:
    if good:
        assert reply(first=version << 3 | 4).version == version
    else:
        with pytest.raises(Malformed):
            reply(first=version << 3 | 4)


def test_only_a_server_that_sends_the_nonce_back_matches() -> None:
    assert ntp.matches(reply(), NONCE)
    assert not ntp.matches(reply(origin=bytes(8)), NONCE)
    assert not ntp.matches(reply(origin=NONCE[:7] + b"\xee"), NONCE)
    assert not ntp.matches(ntp.decode(ntp.request(NONCE)), NONCE)
    assert not any(ntp.matches(reply(first=0x20 | mode), NONCE) for mode in range(8) if mode != ntp.SERVER)


WORDS = {
    "NTP stratum 2, refid 192.0.2.1": reply(),
    "NTP stratum 1, refid GPS": reply(stratum=1, refid=b"GPS\0"),
    "NTP stratum 1, refid \\x1b\\xff": reply(stratum=1, refid=b"\x1b\xff\0\0"),
    "NTP stratum 16, refid 0.0.0.0, its clock is not synchronised": reply(first=0xE4, stratum=16, refid=bytes(4)),
    "NTP refusal RATE, asked too often": reply(stratum=0, refid=b"RATE"),
    "NTP refusal XQQQ, no known meaning": reply(stratum=0, refid=b"XQQQ"),
}


@pytest.mark.parametrize("text", WORDS)
def test_a_reply_in_words(text: str) -> None:
    assert ntp.words(WORDS[text]) == text


def test_only_stratum_zero_is_a_kiss() -> None:
    assert ntp.kiss(reply(stratum=0, refid=b"DENY")) == "DENY"
    assert ntp.kiss(reply(stratum=1, refid=b"DENY")) is None


# --- time ----------------------------------------------------------------------------------------------------------


def stamp(unix: float) -> int:
    """The NTP time of a Unix time, as a server would write it: the era falls off the top."""
    return int((unix + ntp.UNIX_IN_NTP_S) * 2**32) % 2**64


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


ERAS = {
    "the last half second of era 0": ("2036-02-07T06:28:15.5+00:00", "2036-02-07T06:28:10+00:00"),
    "the first half second of era 1": ("2036-02-07T06:28:16.5+00:00", "2036-02-07T06:28:10+00:00"),
    "era 0 seen from era 1": ("2036-02-07T06:28:15.5+00:00", "2036-02-07T06:29:00+00:00"),
    "a clock without a battery": ("2026-11-21T05:00:00+00:00", "1970-01-01T00:00:10+00:00"),
    "a clock that lost its battery in era 1": ("2037-11-21T05:00:00+00:00", "1970-01-01T00:00:10+00:00"),
    "era 0, before Unix": ("1950-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"),
    "deep in era 1": ("2100-03-01T12:00:00+00:00", "2099-03-01T12:00:00+00:00"),
}


@pytest.mark.parametrize("name", ERAS)
def test_the_era_is_the_nearest(name: str) -> None:
    true, near = (at(text) for text in ERAS[name])
    assert ntp.unix_seconds(stamp(true), near) == pytest.approx(true, abs=1e-6)


def test_zero_means_unknown() -> None:
    assert ntp.unix_seconds(0, at("2026-11-21T05:00:00+00:00")) is None


def test_the_era_ends_where_the_rfc_says() -> None:
    assert ntp.unix_seconds(2**64 - 1, 2_085_978_495) == pytest.approx(at("2036-02-07T06:28:16+00:00"), abs=1e-6)
    assert ntp.unix_seconds(1, 2_085_978_495) == pytest.approx(at("2036-02-07T06:28:16+00:00"), abs=1e-6)


@given(st.integers(1, 2**64 - 1), st.floats(-1e10, 1e11))
def test_every_stamp_has_a_time_within_half_an_era(number: int, near: float) -> None:
    found = ntp.unix_seconds(number, near)
    assert found is not None
    assert abs(found - near) <= 2**31 + 1
    assert abs((stamp(found) - number + 2**63) % 2**64 - 2**63) < 2**32 * 1e-4


@given(st.floats(-1e6, 1e6), st.floats(0, 10), st.floats(0, 1))
def test_offset_and_delay_of_an_even_path(ahead: float, one_way: float, work: float) -> None:
    t1 = 1_800_000_000.0
    t2 = t1 + one_way + ahead
    found = ntp.clock(t1, t2, t2 + work, t1 + 2 * one_way + work)
    assert found.offset_s == pytest.approx(ahead, abs=1e-5)
    assert found.delay_s == pytest.approx(2 * one_way, abs=1e-5)
