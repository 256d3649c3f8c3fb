"""Hearing from the kernel that links, addresses or routes changed (rtnetlink(7)): when, not what. Unprivileged, sends nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

# linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE
GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
MOST_AT_ONCE = 64


class Watch:
    """Calls `changed` from the running loop after each bunch of the kernel's messages, until closed.

    Without such a socket nothing is ever called: the next sweep sees what changed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
            )
            self._socket.bind((0, GROUPS))
        except OSError:
            self.close()
            return
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Listens no more."""
        if self._socket is not None:
            if self._socket.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        told = False
        for _ in range(MOST_AT_ONCE):
            try:
                _, sender = self._socket.recvfrom(1 << 16) if self._socket is not None else (b"", (1, 0))
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: so much changed that some of it was lost
                told = True
                break
            told = told or sender[0] == 0  # anybody on this box may write to a netlink socket; the kernel is port 0
        if told:
            self._changed()
