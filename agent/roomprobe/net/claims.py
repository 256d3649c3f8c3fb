"""Who says in neighbour discovery to have an IPv6 address: the hardware addresses that the kernel learns for it, one after the other.

The neighbour table keeps the last one only; the kernel's notices (rtnetlink(7), RTMGRP_NEIGH, for anybody) have them all.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import Self

from roomprobe.net.netlink import parse_neighbours
from roomprobe.net.way import route_to

RTMGRP_NEIGH = 0x4
MOST_NOTICES, MOST_CLAIMS = 1024, 4


class Claims:
    """`with Claims(address) as claims:` listens from then on; nothing is sent, and for what is no neighbour nothing is heard."""

    def __init__(self, address: str) -> None:
        way = route_to(address)
        self._wanted: tuple[int, str] | None = None
        if way is not None and way.gateway is None:
            self._wanted = (way.index, str(ipaddress.ip_address(address.partition("%")[0])))
        self._kernel: socket.socket | None = None
        self._macs: dict[str, None] = {}

    def __enter__(self) -> Self:
        if self._wanted is not None:
            with contextlib.suppress(OSError):
                kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
                self._kernel = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
                self._kernel.bind((0, RTMGRP_NEIGH))
        return self

    def __exit__(self, *_: object) -> None:
        if self._kernel is not None:
            self._kernel.close()

    def macs(self) -> tuple[str, ...]:
        """The hardware addresses heard so far, in their order; more than one: more than one device has the address."""
        for _ in range(MOST_NOTICES if self._kernel is not None else 0):
            try:
                data, sender = self._kernel.recvfrom(1 << 16) if self._kernel is not None else (b"", (0, 0))
            except BlockingIOError:
                break
            except OSError:
                continue  # some were lost
            if sender[0] == 0:  # the kernel, and not somebody else on this box
                for one in parse_neighbours(data):
                    if one.mac is not None and (one.index, one.address) == self._wanted:
                        self._macs[one.mac] = None
        return tuple(self._macs)[:MOST_CLAIMS]
