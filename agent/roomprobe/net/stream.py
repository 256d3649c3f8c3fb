"""A TCP connect with the kernel's error queue read, and bounded reads and writes on what it gives.

Kernel errors become the closed words of `Connect.result` here and nowhere else. A RST never shows in the error queue,
an ICMP error may show only there (lab facts in docs/probes/tcp.md), so both are looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import sys
import time
from typing import Literal

from roomprobe.evidence import Connect, Failure, Icmp, Timing
from roomprobe.net import errqueue
from roomprobe.net.datagram import failure
from roomprobe.net.pace import Bucket
from roomprobe.net.ports import any_address, bind_ephemeral

CONNECT_S = 3.5  # the kernel repeats the SYN after 1 s and after 3 s
MOST_ERRORS = 8
MOST_LEFT_OVER = 64 * 1024
_TCP_CLOSE, _TCP_SYN_SENT = 7, 2  # tcp_info.tcpi_state, include/net/tcp_states.h

End = Literal["closed", "reset"]


class Stream:
    """A connected socket. `ended` says how the peer ended it, once it did; `close` may be called twice.

    `timed_out`: the kernel gave up on a far end that acknowledged nothing; `ended` is then "reset".
    """

    def __init__(self, sock: socket.socket, ended: End | None = None, waiting: bytes = b"") -> None:
        self._sock = sock
        self._waiting = waiting
        self.ended: End | None = ended
        self.timed_out = False
        self._failed: int | None = None

    async def read(self, most: int, until: float) -> bytes | None:
        """At most `most` bytes; b"" when the peer ended the stream, None when the monotonic time `until` is over."""
        if self._waiting:
            data, self._waiting = self._waiting[:most], self._waiting[most:]
            return data
        if self.ended:
            return b""
        if time.monotonic() >= until:
            return None
        await asyncio.sleep(0)  # a far end that never stops sending must not keep everybody else from running
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                data = await asyncio.get_running_loop().sock_recv(self._sock, most)
        except OSError as error:
            if _own(error):
                return None
            self._failed = error.errno
            data = b""
        if not data:  # the kernel tells an error once, to a write if that comes first; after that it only says "end"
            self.ended = "closed" if self._failed in (None, errno.EPIPE) else "reset"
            self.timed_out = self._failed == errno.ETIMEDOUT
        return data

    async def write(self, data: bytes, until: float) -> bool:
        """Whether all of it was taken by the kernel before `until`; a reset is told by the next `read`."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await asyncio.get_running_loop().sock_sendall(self._sock, data)
        except OSError as error:
            self._failed = self._failed if _own(error) else error.errno
            return False
        return True

    def unread(self, data: bytes) -> None:
        """Puts bytes back to be read first."""
        self._waiting = data + self._waiting

    def timing(self) -> Timing:
        """What the kernel measured on this connection until now."""
        return parse_timing(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256))

    def keep_alive(self, idle_s: float) -> None:
        """Has the kernel ask the far end, once nothing came for `idle_s` whole seconds, whether the connection is still there."""
        for option, value in (
            (socket.TCP_KEEPIDLE, max(1, round(idle_s))),
            (socket.TCP_KEEPINTVL, 1),
            (socket.TCP_KEEPCNT, 2),
        ):
            self._sock.setsockopt(socket.IPPROTO_TCP, option, value)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def silent_s(self) -> float:
        """Seconds since the kernel last got an acknowledgement from the far end, keep-alives counted."""
        return _u32(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 56) / 1000

    def unacknowledged(self) -> int:
        """How many packets of ours the far end's kernel has not acknowledged."""
        return _u32(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 24)

    async def finish(self, until: float) -> None:
        """Ends the connection in good order: FIN, and what still comes is read until the far end's own, or until `until`."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            for _ in range(MOST_LEFT_OVER // 4096):
                if not await self.read(4096, until):
                    break
        self.close()

    def close(self) -> None:
        """Closes at once."""
        self._sock.close()


def _own(error: OSError) -> bool:
    """Whether only our own time was over; the kernel's ETIMEDOUT is a TimeoutError too, but has its number."""
    return isinstance(error, TimeoutError) and error.errno is None


def parse_timing(info: bytes) -> Timing:
    """The part of struct tcp_info (linux/tcp.h) that is measured; fields that an older kernel lacks are None."""
    return Timing(
        rtt_ms=_ms(_u32(info, 68)),
        min_rtt_ms=_ms(_u32(info, 148)),
        path_mtu=_u32(info, 60) or None,
        segment=_u32(info, 16) or None,
        repeats=_u32(info, 100),
    )


def _u32(info: bytes, at: int) -> int:
    return int.from_bytes(info[at : at + 4], sys.byteorder) if len(info) >= at + 4 else 0


def _ms(microseconds: int) -> float | None:
    return None if microseconds in (0, 0xFFFFFFFF) else round(microseconds / 1000, 3)


async def connect(
    address: str,
    port: int,
    *,
    deadline_s: float = CONNECT_S,
    bucket: Bucket,
    source_port: int | None = None,
    interface: str | None = None,
    source: str | None = None,
) -> tuple[Connect, Stream | None]:
    """Connects to a numeric address (a scope id may follow "%"). The stream is there when `result` is "connected".

    `source` is one of this box's addresses instead of the kernel's choice, with a port of the kernel's. `source_port` None
    takes an ephemeral one outside the reserved ranges. Never raises for what the network or this
    box's kernel does.
    """
    await bucket.take()
    started = time.monotonic()
    operation = "socket"
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        return Connect(result="failure", failure=failure(operation, error)), None
    try:
        sock.setblocking(False)
        errqueue.enable(sock)
        operation = "bind"
        if interface and not _loopback(address):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        if source is not None:
            sock.bind((source, 0))
        elif source_port is None:
            bind_ephemeral(sock)
        else:
            # A row with its own source port may come again within the minute that its last flow lies in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((any_address(family), source_port))
        operation = "connect"
        target = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0][4]
        with contextlib.suppress(BlockingIOError):
            sock.connect(target)
        return await _settle(sock, started, deadline_s)
    except OSError as error:
        errors = _icmp(sock)
        source, own_port = _source(sock)
        sock.close()
        refused = error.errno == errno.ECONNREFUSED and not errors
        return Connect(
            result="refused" if refused else "icmp" if errors else "failure",
            source=source,
            source_port=own_port,
            seconds=round(time.monotonic() - started, 6),
            errors=errors,
            failure=None if refused or errors else failure(operation, error),
        ), None
    except BaseException:
        sock.close()
        raise


async def _settle(sock: socket.socket, started: float, deadline_s: float) -> tuple[Connect, Stream | None]:
    """Waits until the connect has come to something."""
    seen: list[Icmp] = []
    state, code = _TCP_SYN_SENT, 0
    while True:
        state = _state(sock)
        if state == _TCP_CLOSE:
            # Reading the queue clears the pending errno, so the errno comes first.
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        seen.extend(_icmp(sock))
        left = started + deadline_s - time.monotonic()
        if state != _TCP_SYN_SENT or left <= 0:
            break
        # An error that came while connect() itself ran is only queued: the kernel goes on and repeats the SYN.
        await _event(sock, left)
    seconds = round(time.monotonic() - started, 6)
    source, source_port = _source(sock)
    reset_after = state == _TCP_CLOSE and code in (errno.ECONNRESET, errno.EPIPE)
    if state not in (_TCP_SYN_SENT, _TCP_CLOSE) or reset_after:
        # An undrained queue would wake every later read for nothing.
        option = errqueue.IPV6_RECVERR if sock.family == socket.AF_INET6 else errqueue.IP_RECVERR
        level = socket.IPPROTO_IPV6 if sock.family == socket.AF_INET6 else socket.IPPROTO_IP
        sock.setsockopt(level, option, 0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        errors = tuple(seen[:MOST_ERRORS])
        made = Connect(result="connected", source=source, source_port=source_port, seconds=seconds, errors=errors)
        return made, Stream(sock, ended="reset" if reset_after else None)
    sock.close()
    result: Literal["refused", "icmp", "timeout", "failure"]
    own: Failure | None = None
    if seen:
        result = "icmp"
    elif state == _TCP_SYN_SENT or code == errno.ETIMEDOUT:
        result = "timeout"
    elif code == errno.ECONNREFUSED:
        result = "refused"
    else:
        result, own = "failure", failure("connect", OSError(code, errno.errorcode.get(code, str(code))))
    return Connect(
        result=result,
        source=source,
        source_port=source_port,
        seconds=seconds,
        errors=tuple(seen[:MOST_ERRORS]),
        failure=own,
    ), None


async def _event(sock: socket.socket, timeout_s: float) -> None:
    """Until the kernel has something to say about the socket, or the time is over."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    loop.add_writer(sock.fileno(), woken.set)
    try:
        async with asyncio.timeout(timeout_s):
            await woken.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_writer(sock.fileno())


def _state(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def _icmp(sock: socket.socket) -> tuple[Icmp, ...]:
    return tuple(entry[0] for entry in errqueue.drain(sock))[:MOST_ERRORS]


def _source(sock: socket.socket) -> tuple[str | None, int | None]:
    try:
        address, port = sock.getsockname()[:2]
    except OSError:
        return None, None
    return (None if ipaddress.ip_address(address.partition("%")[0]).is_unspecified else str(address)), int(port) or None


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
