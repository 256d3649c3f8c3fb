"""The socket error queue of Linux: ICMP errors with type, code and sender, for an unprivileged socket.

`enable` before connect or send; `drain` empties the queue. Layout: linux/errqueue.h, struct sock_extended_err with the
offender's sockaddr behind it (ip(7), IP_RECVERR). Python 3.11 has no names for the options.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Any

from roomprobe.evidence import Icmp

IP_RECVERR = 11
IPV6_RECVERR = 25
ORIGIN_LOCAL = 1
ORIGIN_ICMP = 2
ORIGIN_ICMP6 = 3
MAX_ENTRIES = 64

_LEVELS = frozenset({(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)})
_ERROR = struct.Struct("=IBBBBII")  # ee_errno, ee_origin, ee_type, ee_code, ee_pad, ee_info, ee_data
_IN = struct.Struct("=HH4s")
_IN6 = struct.Struct("=HHI16sI")

Entry = tuple[Icmp, bytes, tuple[str, int] | None]


def enable(sock: socket.socket) -> None:
    """Asks the kernel to queue ICMP errors for this socket; OSError as the kernel gives it."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def parse(data: bytes) -> Icmp | None:
    """One control message of the queue as an Icmp; None when it is no network error (a timestamp) or too short.

    An error that this kernel made without any ICMP packet has `local` True and type and code 0.
    """
    if len(data) < _ERROR.size:
        return None
    _, origin, kind, code, _, _, _ = _ERROR.unpack_from(data)
    if origin == ORIGIN_LOCAL:
        return Icmp(type=0, code=0, offender=None, local=True)
    if origin not in (ORIGIN_ICMP, ORIGIN_ICMP6):
        return None
    return Icmp(type=kind, code=code, offender=_offender(data[_ERROR.size :]))


def _offender(data: bytes) -> str | None:
    if len(data) < 2:
        return None
    (family,) = struct.unpack_from("=H", data)
    if family == socket.AF_INET and len(data) >= _IN.size:
        return str(ipaddress.IPv4Address(_IN.unpack_from(data)[2]))
    if family == socket.AF_INET6 and len(data) >= _IN6.size:
        _, _, _, raw, scope = _IN6.unpack_from(data)
        address = ipaddress.IPv6Address(raw)
        if not address.is_link_local or not scope:
            return str(address)
        return f"{address}%{_interface(scope)}"
    return None


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)  # the interface went away in the meantime


def drain(sock: socket.socket) -> list[Entry]:
    """Empties the error queue of a non-blocking socket, at most MAX_ENTRIES at once.

    Each entry: the error, the start of our own payload as it came back, and the (address, port) that it was sent to.
    """
    entries: list[Entry] = []
    for _ in range(MAX_ENTRIES):
        try:
            payload, control, _, name = sock.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
        except OSError:
            break  # EAGAIN: empty
        for level, kind, data in control:
            icmp = parse(data) if (level, kind) in _LEVELS else None
            if icmp is not None:
                entries.append((icmp, payload, _destination(name)))
    return entries


def _destination(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
