"""A neighbour that lies: answers all-nodes echoes and questions by name with what nobody should believe. A program of its own.

hostile_neighbour.py KIND MODE, at eth0. KIND `echo`, MODE `junk` (eight wrong replies, then a right one from fe80::900d) or
`many` (10,000 right replies from as many addresses). KIND `name`, MODE `junk` (wrong answers with fd00:50::bad, then a
right one with fe80::900d) or `many` (10,000 addresses); eth0 must have 2001:db8:bad::5 too. UDP port 9999 is bound when
it is ready.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import sys
from collections.abc import Iterator

PORT = "eth0"
MANY = 10_000
RIGHT = "fe80::900d"
OFF_LINK = "2001:db8:bad::5"


def packet(ethernet: bytes, source: str, target: bytes, body: bytes, *, spoil: bool = False) -> bytes:
    """A whole frame with an ICMPv6 message, checksum and all (RFC 4443 2.3)."""
    whole = ipaddress.IPv6Address(source).packed + target
    pseudo = whole + struct.pack("!II", len(body), 58) + body + bytes(len(body) % 2)
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    checksum = (~total & 0xFFFF) ^ (0x5555 if spoil else 0)
    body = body[:2] + struct.pack("!H", checksum) + body[4:]
    return ethernet + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + whole + body


def lies(request: bytes, ethernet: bytes, asker: bytes) -> Iterator[bytes]:
    """Replies to an echo request, each wrong in one thing and from an address of its own; the last is right."""
    number, sequence, data = request[4:6], request[6:8], request[8:]
    other, next_one = bytes((number[0] ^ 1, number[1])), bytes((sequence[0], sequence[1] ^ 8))
    wrong = (
        b"\x81\0\0\0" + other + sequence + data,
        b"\x81\0\0\0" + number + next_one + data,
        b"\x81\0\0\0" + number + sequence + bytes(len(data)),
        (b"\x81\0\0\0" + number + sequence)[:7],
        b"\x81\1\0\0" + number + sequence + data,
        b"\x81\0\0\0" + number + sequence + data + bytes(1200),
        b"\x80\0\0\0" + number + sequence + data,
    )
    for at, body in enumerate(wrong):
        yield packet(ethernet, f"fe80::bad:{at}", asker, body)
    right = b"\x81\0\0\0" + number + sequence + data
    yield packet(ethernet, "fe80::bad:99", asker, right, spoil=True)
    yield packet(ethernet, RIGHT, asker, right)


def crowd(request: bytes, ethernet: bytes, asker: bytes) -> Iterator[bytes]:
    """Right replies from more neighbours than any link has."""
    for at in range(MANY):
        yield packet(ethernet, f"fe80::cd:{at:x}", asker, b"\x81\0\0\0" + request[4:])


def echo(mode: str) -> None:
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
    line.bind((PORT, 0x86DD))
    mac = line.getsockname()[4]
    mark = ready()
    while mark:
        frame, sender = line.recvfrom(4096)
        # Ethernet 14, IPv6 40 with the next header at its byte 6; ff02::1 only.
        if sender[2] == socket.PACKET_OUTGOING or frame[20] != 58 or frame[54] != 128 or frame[38:40] != b"\xff\x02":
            continue
        make = lies if mode == "junk" else crowd
        for answer in make(frame[54:], frame[6:12] + mac, frame[22:38]):
            line.send(answer)


def record(name: bytes, address: str) -> bytes:
    return name + struct.pack("!HHIH", 28, 1, 10, 16) + ipaddress.IPv6Address(address).packed


def message(query: bytes, *records: bytes, flags: int = 0x8400, count: int | None = None) -> bytes:
    """An answer that repeats the question of `query`."""
    header = query[:2] + struct.pack("!HHHHH", flags, 1, len(records) if count is None else count, 0, 0)
    return header + query[12:] + b"".join(records)


def tales(query: bytes) -> Iterator[bytes]:
    """Wrong answers to a question, all with addresses that must not be believed."""
    back, bad = b"\xc0\x0c", "fd00:50::bad"
    yield b""
    yield bytes(range(256))
    yield query
    yield query[:2] + b"\x84\0" + b"\xff" * 8
    yield bytes((query[0] ^ 1,)) + message(query, record(back, bad))[1:]
    yield message(query, record(back, bad))[:-3]
    yield message(query, record(b"\x03bad\x05local\0", bad))
    yield message(query, record(back, bad), flags=0x8403)
    yield message(query, record(back, bad), flags=0x0400)
    yield message(query, b"\xc0\x30" * 40)
    yield message(query, record(back, bad), count=65535)
    yield message(query[:12] + b"\x03bad\x05local\0" + query[-4:], record(back, bad))
    yield message(query, *(record(back, poison) for poison in ("::1", "::", "ff02::1", "::ffff:192.0.2.1")))
    yield message(query, *(record(back, bad) for _ in range(1000)))  # longer than any message may be


def listener(port: int, group: str) -> socket.socket:
    """A socket that hears a group on our port."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    joined = socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", socket.if_nametoindex(PORT))
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined)
    sock.bind(("::", port))
    return sock


def stranger(port: int) -> socket.socket:
    """The same port at an address that is in no network of the link."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((OFF_LINK, port))
    return sock


def name(mode: str) -> None:
    sockets = {listener(port, group): stranger(port) for port, group in ((5353, "ff02::fb"), (5355, "ff02::1:3"))}
    elsewhere = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    mark = ready()
    back = b"\xc0\x0c"
    while mark:
        for sock in select.select(sockets, [], [])[0]:
            query, asker = sock.recvfrom(9000)
            if mode == "many":
                for start in range(0, MANY, 250):
                    addresses = (f"fd00:50::cd:{at:x}" for at in range(start, start + 250))
                    sock.sendto(message(query, *(record(back, one) for one in addresses)), asker)
                continue
            elsewhere.sendto(message(query, record(back, "fd00:50::bad")), asker)
            sockets[sock].sendto(message(query, record(back, "fd00:50::bad")), asker)
            for tale in tales(query):
                sock.sendto(tale, asker)
            sock.sendto(message(query, record(back, RIGHT)), asker)


def ready() -> socket.socket:
    """A bound port for the lab to wait for; to be kept."""
    mark = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    mark.bind(("::", 9999))
    return mark


if __name__ == "__main__":
    {"echo": echo, "name": name}[sys.argv[1]](sys.argv[2])
