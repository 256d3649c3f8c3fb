"""One name asked of a link: the question's bytes, and answers that are right, wrong, hostile and broken."""

from __future__ import annotations

import ipaddress
import struct

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.wire import multicast_dns

IDENTIFIER = 0x1234
NAME = b"\x05codec\x05local\0"


def asked(name: str = "codec.local") -> dns.message.QueryMessage:
    made = multicast_dns.question(name, IDENTIFIER)
    assert made is not None
    return made


def record(address: str, *, name: bytes = b"\xc0\x0c", kind: int = 28, group: int = 1) -> bytes:
    packed = ipaddress.ip_address(address).packed
    return name + struct.pack("!HHIH", kind, group, 10, len(packed)) + packed


def answer(*records: bytes, number: int = IDENTIFIER, flags: int = 0x8400, question: bytes = NAME) -> bytes:
    header = struct.pack("!HHHHHH", number, flags, 1, len(records), 0, 0)
    return header + question + struct.pack("!HH", 28, 1) + b"".join(records)


def test_the_question_as_it_goes_out() -> None:
    assert asked().to_wire() == struct.pack("!HHHHHH", IDENTIFIER, 0, 1, 0, 0, 0) + NAME + struct.pack("!HH", 28, 1)


def test_a_name_is_utf8_and_composed() -> None:
    assert "Küche".encode() in asked("Ku\u0308che.local").to_wire()


@pytest.mark.parametrize("name", ["", ".", "a..local", ".local", "x" * 64, ".".join(["x" * 60] * 5), "\ud800.local"])
def test_a_name_that_fits_into_no_packet(name: str) -> None:
    assert multicast_dns.question(name, 1) is None


@pytest.mark.parametrize(
    "found, addresses",
    [
        (answer(record("fe80::1"), record("fd00::2")), ("fd00::2", "fe80::1")),
        (answer(record("fe80::1", name=b"\x05CODEC\x05Local\0")), ("fe80::1",)),
        (answer(record("fe80::1", group=0x8001)), ("fe80::1",)),
        (answer(record("fe80::1"), record("fe80::1")), ("fe80::1",)),
        (answer(record("fe80::1")) + b"more", ("fe80::1",)),
        (answer(record("192.0.2.1", kind=1)), ()),
        (answer(record("fe80::1", group=3)), ()),
        (answer(record("fe80::1", name=b"\x03bad\x05local\0")), ()),
        (answer(*map(record, ("::1", "::", "ff02::1", "::ffff:192.0.2.1"))), ()),
        (answer(), ()),
    ],
)
def test_answers(found: bytes, addresses: tuple[str, ...]) -> None:
    assert multicast_dns.read(asked(), found) == addresses


@pytest.mark.parametrize(
    "found",
    [
        b"",
        asked().to_wire(),
        answer(record("fe80::1"), number=IDENTIFIER + 1),
        answer(record("fe80::1"), question=b"\x03bad\x05local\0"),
        answer(record("fe80::1"), flags=0x8403),
        answer(record("fe80::1"), flags=0x8405),
        answer(record("fe80::1"), flags=0xA800),
        answer(record("fe80::1"))[:-1],
        answer(b"\xc0\x29" + bytes(20)),
        answer(record("192.0.2.1", kind=28)),
        answer(*[record("fe80::1")] * 400),
    ],
)
def test_no_answers(found: bytes) -> None:
    assert multicast_dns.read(asked(), found) is None


def test_at_most_sixteen() -> None:
    many = answer(*(record(f"fd00::{n:x}") for n in range(1, 300)))
    assert len(many) < multicast_dns.MAX_MESSAGE
    assert multicast_dns.read(asked(), many) == tuple(f"fd00::{n:x}" for n in range(1, 17))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    multicast_dns.read(asked(), data)
    multicast_dns.read(asked(), answer()[:12] + data)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes(changes: list[tuple[int, int]]) -> None:
    broken = bytearray(answer(record("fe80::1"), record("fd00::2"), record("fd00::3")))
    for at, byte in changes:
        broken[at % len(broken)] = byte
    assert len(multicast_dns.read(asked(), bytes(broken)) or ()) <= 3
