"""The error queue: the kernel's own answers on loopback, and hostile control data."""

from __future__ import annotations

import select
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.evidence import Icmp
from roomprobe.net import errqueue


@pytest.mark.parametrize(("address", "kind", "code"), [("127.0.0.1", 3, 3), ("::1", 1, 4)])
def test_port_unreachable_from_loopback(address: str, kind: int, code: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as unused, socket.socket(family, socket.SOCK_DGRAM) as sock:
        unused.bind((address, 0))
        port = unused.getsockname()[1]
        unused.close()
        sock.setblocking(False)
        errqueue.enable(sock)
        sock.connect((address, port))
        sock.send(b"are you there")
        poll = select.poll()
        poll.register(sock, 0)
        assert poll.poll(2000)
        assert errqueue.drain(sock) == [
            (Icmp(type=kind, code=code, offender=address), b"are you there", (address, port))
        ]
        assert errqueue.drain(sock) == []


def extended(origin: int, kind: int = 3, code: int = 1) -> bytes:
    return struct.pack("=IBBBBII", 113, origin, kind, code, 0, 0, 0)


V4 = struct.pack("=HH4s8x", socket.AF_INET, 0, bytes([192, 0, 2, 1]))
LINK_LOCAL = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, "fe80::1"), 1)


def test_origins() -> None:
    assert errqueue.parse(extended(2) + V4) == Icmp(type=3, code=1, offender="192.0.2.1")
    assert errqueue.parse(extended(3) + LINK_LOCAL) == Icmp(type=3, code=1, offender="fe80::1%lo")
    assert errqueue.parse(extended(1) + V4) == Icmp(type=0, code=0, offender=None, local=True)
    assert errqueue.parse(extended(4) + V4) is None  # a transmit timestamp
    assert errqueue.parse(extended(2) + V4[:5]) == Icmp(type=3, code=1, offender=None)


@given(st.binary(max_size=64))
def test_any_bytes_are_taken(data: bytes) -> None:
    found = errqueue.parse(data)
    assert found is None or isinstance(found, Icmp)
