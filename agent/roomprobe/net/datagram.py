"""A connected UDP socket with its error queue drained into callbacks; unprivileged, one 5-tuple a socket.

The queue must be emptied at every wake-up: asyncio would otherwise spin on the error condition.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable

from roomprobe.evidence import Failure, Icmp
from roomprobe.net import errqueue
from roomprobe.net.ports import bind_ephemeral

MAX_REPLY = 2048
OnReply = Callable[[bytes, float], None]
OnError = Callable[[Icmp, bytes, float], None]


def failure(operation: str, error: OSError) -> Failure:
    """A socket error of this box as evidence."""
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    return Failure(operation=operation, errno=name, detail=(error.strerror or "")[:120])


class Datagram:
    """`on_reply(data, at)` and `on_error(icmp, quoted payload, at)` are called with monotonic seconds.

    Raises OSError when the kernel refuses the socket; `source` and `source_port` are what the kernel chose.
    """

    def __init__(self, address: str, port: int, on_reply: OnReply, on_error: OnError) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._on_reply, self._on_error = on_reply, on_error
        self._v6 = family == socket.AF_INET6
        self._ttl: int | None = None
        self._loop = asyncio.get_running_loop()
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._sock.setblocking(False)
            errqueue.enable(self._sock)
            bind_ephemeral(self._sock)
            target = socket.getaddrinfo(address, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4]
            self._sock.connect(target)
        except BaseException:
            self._sock.close()
            raise
        self.source, self.source_port = self._sock.getsockname()[:2]
        self._loop.add_reader(self._sock.fileno(), self._drain)

    def send(self, data: bytes, ttl: int = 64) -> Failure | None:
        """Sends once; a pending ICMP error is taken in first, an error of this box is returned."""
        if ttl != self._ttl:
            option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if self._v6 else (socket.IPPROTO_IP, socket.IP_TTL)
            self._sock.setsockopt(*option, ttl)
            self._ttl = ttl
        for _ in range(8):
            try:
                self._sock.send(data)
            except OSError as error:
                # An ICMP error already received is reported by the next call, whatever that call is.
                if self._drain() == 0:
                    return failure("send", error)
            else:
                return None
        return Failure(operation="send", errno="ICMP", detail="errors arrive faster than packets leave")

    def _drain(self) -> int:
        """Hands over everything that waits; returns how many errors there were."""
        now = time.monotonic()
        errors = 0
        for icmp, quoted, _ in errqueue.drain(self._sock):
            errors += 1
            self._on_error(icmp, quoted, now)
        for _ in range(64):
            try:
                data = self._sock.recv(MAX_REPLY)
            except BlockingIOError:
                break
            except OSError:
                continue  # the errno of an error that the queue has told already
            self._on_reply(data, now)
        return errors

    def close(self) -> None:
        """Closes at once; nothing is called afterwards. A second time does nothing."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
