"""One empty datagram to a neighbour, so that the kernel looks for it, and what the neighbour itself says to that.

The kernel's own entry for a neighbour met earlier stays "stale" or "delay" for seconds, whether it is still there or not;
its "port unreachable" (RFC 4443 3.1) proves at once that it is, and needs no privilege.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import Self

from roomprobe.net import errqueue
from roomprobe.net.pace import Bucket
from roomprobe.net.ports import bind_ephemeral

DISCARD = 9
_UNREACHABLE = 1
_AT_ONCE = 64


class Pokes:
    """A socket for UDP port 9 (discard) of IPv6 neighbours, hop limit 1: `with Pokes() as pokes: await pokes.send(...)`.

    `answered` has (interface index, address without scope id) of those that have refused the datagram in their own name.
    A socket that the kernel does not give makes `send` do nothing.
    """

    def __init__(self) -> None:
        self.answered: set[tuple[int, str]] = set()
        self._sent: set[tuple[int, str]] = set()
        self._sock: socket.socket | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            errqueue.enable(self._sock)
            self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
            bind_ephemeral(self._sock)
        return self

    def __exit__(self, *_: object) -> None:
        if self._sock is not None:
            self._sock.close()

    async def send(self, address: str, index: int, bucket: Bucket) -> None:
        """To a unicast address without scope id at an interface; anything else is left alone. Never raises."""
        if self._sock is None or not _is_neighbourly(address):
            return
        await bucket.take()
        self._sent.add((index, address))
        scope = index if ipaddress.IPv6Address(address).is_link_local else 0
        for _ in range(2):
            try:
                self._sock.sendto(b"", (address, DISCARD, 0, scope))
            except OSError:
                self.drain()  # an answer to an earlier one is told by the next call, whatever that call is
            else:
                return

    def drain(self) -> None:
        """Takes in what the neighbours have said so far."""
        if self._sock is None:
            return
        for icmp, _, _ in errqueue.drain(self._sock):
            if icmp.type == _UNREACHABLE and icmp.offender is not None:
                plain, _, scope = icmp.offender.partition("%")
                self.answered |= {(i, a) for i, a in self._sent if a == plain and scope in ("", _name(i), str(i))}
        for _ in range(_AT_ONCE):
            try:
                self._sock.recv(1)
            except BlockingIOError:
                return
            except OSError:
                continue


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except (OSError, OverflowError):
        return ""


def _is_neighbourly(plain: str) -> bool:
    try:
        address = ipaddress.IPv6Address(plain)
    except ValueError:
        return False
    return not (address.scope_id or address.is_multicast or address.is_unspecified or address.is_loopback)
