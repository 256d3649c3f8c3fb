"""A small prober for the tests of the lab itself, deliberately independent of roomprobe: a program of its own.

rawtest.py CASE... prints one word per case, all asked at once. Cases: `udp:ADDRESS:PORT[:TTL]`, `tcp:ADDRESS:PORT[:TTL]` (IPv6 in
brackets). Words: `echo`, `open`, `eof` (accepted, then closed), `reset`, `silent`, an errno name of the send itself, or
`TYPE/CODE@OFFENDER` of the ICMP error.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
HOPS = {socket.AF_INET: (socket.IPPROTO_IP, 2), socket.AF_INET6: (socket.IPPROTO_IPV6, 16)}
WAIT_S = 0.35


def icmp_error(sock: socket.socket) -> str | None:
    """The first ICMP error that waits in the socket's error queue."""
    try:
        _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    for _, _, data in ancillary:
        _, _, kind, code, _, _, _ = struct.unpack_from("=IBBBBII", data)
        (family,) = struct.unpack_from("=H", data, 16)
        start, end = (20, 24) if family == socket.AF_INET else (24, 40)
        return f"{kind}/{code}@{socket.inet_ntop(family, data[start:end])}"
    return None


def probe(case: str) -> str:
    """What came of one case."""
    protocol, rest = case.split(":", 1)
    if rest.startswith("["):
        address, _, rest = rest[1:].partition("]")
        words = rest[1:].split(":")
    else:
        address, *words = rest.split(":")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp = protocol == "udp"
    with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(*RECVERR[family], 1)
        if len(words) > 1:
            sock.setsockopt(*HOPS[family], int(words[1]))
        try:
            sock.connect((address, int(words[0])))
            if udp:
                sock.send(b"lab")
        except BlockingIOError:
            pass
        except OSError as refused:
            return errno.errorcode[refused.errno or 0]
        return outcome(sock, udp)


def outcome(sock: socket.socket, udp: bool) -> str:
    """Wait for an answer, an error or nothing."""
    poll = select.poll()
    poll.register(sock, select.POLLIN if udp else select.POLLOUT)
    end = time.monotonic() + WAIT_S
    while (left := end - time.monotonic()) > 0 and not poll.poll(left * 1000):
        pass
    if (said := icmp_error(sock)) is not None:
        return said
    failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        return "reset" if failed == errno.ECONNREFUSED else errno.errorcode[failed]
    try:
        if udp:
            return "echo" if sock.recv(100) == b"lab" else "other"
        sock.getpeername()
    except OSError:
        return "silent"
    poll.modify(sock, select.POLLIN)
    return "eof" if poll.poll(WAIT_S * 1000) and sock.recv(1) == b"" else "open"


if __name__ == "__main__":
    with ThreadPoolExecutor(20) as pool:
        print(*pool.map(probe, sys.argv[1:]), sep="\n")
