"""ICMPv6 echo: the bytes of RFC 4443 4.1 and 4.2, and whatever else comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.wire import echo
from roomprobe.wire.echo import Echo
from roomprobe.wire.reader import Malformed

REPLY = bytes.fromhex("8100beef 1234 0007") + b"token"


def test_a_request() -> None:
    assert echo.build(0x1234, 7, b"token") == bytes.fromhex("80000000 1234 0007") + b"token"
    assert echo.build(0x1FFFF, 65536 + 1, b"") == bytes.fromhex("80000000 ffff 0001")
    with pytest.raises(ValueError, match="at most 1024 bytes"):
        echo.build(1, 1, bytes(1025))


def test_a_reply() -> None:
    assert echo.parse(REPLY) == Echo(identifier=0x1234, sequence=7, payload=b"token")
    assert echo.parse(REPLY[:8]).payload == b""
    assert len(echo.parse(REPLY[:8] + bytes(echo.MAX_PAYLOAD)).payload) == echo.MAX_PAYLOAD


@pytest.mark.parametrize(
    "data",
    [
        *(REPLY[:size] for size in range(8)),
        b"\x80" + REPLY[1:],
        REPLY[:1] + b"\1" + REPLY[2:],
        REPLY[:8] + bytes(echo.MAX_PAYLOAD + 1),
    ],
)
def test_no_reply(data: bytes) -> None:
    with pytest.raises(Malformed):
        echo.parse(data)


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    try:
        found = echo.parse(data)
    except Malformed:
        return
    assert data[:2] == b"\x81\0" and data[8:] == found.payload


@given(st.integers(), st.integers(), st.binary(max_size=64))
def test_what_was_asked_comes_back(identifier: int, sequence: int, payload: bytes) -> None:
    answer = b"\x81" + echo.build(identifier, sequence, payload)[1:]
    assert echo.parse(answer) == Echo(identifier=identifier % 65536, sequence=sequence % 65536, payload=payload)
