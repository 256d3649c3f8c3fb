"""ICMPv6 echo to one neighbour, or to all of one link (ff02::1), without privilege where the box allows ping sockets.

Else by a raw socket, which CAP_NET_RAW allows. An answer counts when identifier, sequence and the random data that was
sent come back in it; a raw socket hears everybody's.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import secrets
import socket
import struct
import time

from roomprobe.evidence import Failure
from roomprobe.model import Frozen
from roomprobe.net.datagram import failure
from roomprobe.net.pace import Bucket
from roomprobe.wire import echo
from roomprobe.wire.reader import Malformed

ALL_NODES = "ff02::1"
MOST_ANSWERS = 256
MOST_REQUESTS = 16
MOST_READ = 4096
_AT_ONCE = 64
_TOKEN = 16
_ICMP6_FILTER = 1  # linux/icmpv6.h: a set bit blocks that type
_ONLY_REPLIES = struct.pack(
    "=8I", *(0xFFFFFFFF & ~(1 << echo.REPLY - 32 * n if n == echo.REPLY // 32 else 0) for n in range(8))
)


class PingResult(Frozen, frozen=True, kw_only=True):
    """Who answered: (address, milliseconds), each address once with its best time, scope id included where it needs one.

    `refused` is a sentence when this user may not send echo requests at all; `failure` what the kernel said to a send.
    `sent` counts the requests.
    """

    answers: tuple[tuple[str, float], ...] = ()
    sent: int = 0
    refused: str | None = None
    failure: Failure | None = None


async def ping(address: str, *, interface_index: int | None, count: int, wait_s: float, bucket: Bucket) -> PingResult:
    """Sends `count` requests (1 to 16) within `wait_s` seconds, to a unicast address or to one group on one interface.

    Link-local and multicast addresses need `interface_index` or a scope id. To one host the next request follows on the
    answer to the last, and the end comes with the last answer; a group is listened to until the time is over.
    """
    plain, _, scope = address.partition("%")
    try:
        target = ipaddress.IPv6Address(plain)
        index = interface_index or (socket.if_nametoindex(scope) if scope else 0)
        if not index and (target.is_link_local or target.is_multicast):
            raise ValueError("a raw socket would send it by any interface")
    except (ValueError, OSError):
        return PingResult(
            failure=Failure(operation="send", errno="EINVAL", detail="no IPv6 address of this box's links")
        )
    try:
        sock = _socket()
    except OSError as error:
        return PingResult(refused=_refusal(error))
    try:
        if target.is_multicast:
            _to_group(sock, index)
        sock.bind(("::", 0))
    except OSError as error:
        sock.close()
        return PingResult(failure=failure("socket", error))
    return await _Exchange(sock, target, index).run(max(1, min(count, MOST_REQUESTS)), wait_s, bucket)


class _Exchange:
    """One socket's requests and answers; `run` closes it at the end."""

    def __init__(self, sock: socket.socket, target: ipaddress.IPv6Address, index: int) -> None:
        self._sock, self._target, self._index = sock, target, index
        # A raw socket has no identifier of its own; that of a ping socket is its port.
        self._identifier = sock.getsockname()[1] if sock.type == socket.SOCK_DGRAM else secrets.randbits(16)
        self._token = secrets.token_bytes(_TOKEN)
        self._sent: dict[int, float] = {}
        self._answered: set[int] = set()
        self._best: dict[str, float] = {}
        self._read = 0
        self._news = asyncio.Event()

    async def run(self, count: int, wait_s: float, bucket: Bucket) -> PingResult:
        loop, started = asyncio.get_running_loop(), time.monotonic()
        loop.add_reader(self._sock.fileno(), self._drain)
        said: Failure | None = None
        try:
            async with asyncio.timeout(wait_s):
                for sequence in range(1, count + 1):
                    await bucket.take()
                    refused = self._send(sequence)
                    said = refused or said
                    if refused is None:
                        await self._listen(sequence, started + wait_s * sequence / count)
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self._sock.fileno())
            self._sock.close()
        answers = tuple((address, round(ms, 3)) for address, ms in self._best.items())
        return PingResult(answers=answers, sent=len(self._sent), failure=None if self._sent else said)

    async def _listen(self, sequence: int, until: float) -> None:
        """Until the one host has answered this request, a group has filled the list, or it is `until`."""
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                while not (sequence in self._answered if not self._target.is_multicast else self._full()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _send(self, sequence: int) -> Failure | None:
        data = echo.build(self._identifier, sequence, self._token)
        scoped = self._target.is_link_local or self._target.is_multicast
        at = time.monotonic()
        try:
            self._sock.sendto(data, (str(self._target), 0, 0, self._index if scoped else 0))
        except OSError as error:
            return failure("send", error)
        self._sent[sequence] = at
        return None

    def _drain(self) -> None:
        """Takes in what waits, some of it at a time: whoever floods us must not keep the rest of the run from going on."""
        for _ in range(_AT_ONCE):
            try:
                data, sender = self._sock.recvfrom(echo.MAX_PAYLOAD + 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error to one of our requests
            self._take(data, ipaddress.IPv6Address(sender[0].partition("%")[0]), int(sender[3]), time.monotonic())
            self._read += 1
            if self._read >= MOST_READ or self._full():
                asyncio.get_running_loop().remove_reader(self._sock.fileno())
                return

    def _take(self, data: bytes, sender: ipaddress.IPv6Address, scope: int, at: float) -> None:
        try:
            reply = echo.parse(data)
        except Malformed:
            return
        sent = self._sent.get(reply.sequence)
        if sent is None or reply.identifier != self._identifier or reply.payload != self._token:
            return
        if self._target.is_multicast:
            # Only neighbours hear a group with hop limit 1; a link-local answer tells by which link it came.
            if sender.is_multicast or (sender.is_link_local and scope != self._index):
                return
        elif sender != self._target:
            return
        address = f"{sender}%{_name(scope)}" if sender.is_link_local else str(sender)
        self._best[address] = min(self._best.get(address, float("inf")), (at - sent) * 1000)
        self._answered.add(reply.sequence)
        self._news.set()

    def _full(self) -> bool:
        return len(self._best) >= MOST_ANSWERS


def _socket() -> socket.socket:
    """A ping socket, else a raw one. OSError when the kernel gives neither."""
    kind = socket.SOCK_DGRAM
    try:
        sock = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    except PermissionError:
        kind = socket.SOCK_RAW
        sock = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    try:
        if kind == socket.SOCK_RAW:
            sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _ONLY_REPLIES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    except BaseException:
        sock.close()
        raise
    return sock


def _to_group(sock: socket.socket, index: int) -> None:
    """A group on one interface, no further than its link, without our own copy."""
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)  # it went away in the meantime


def _refusal(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            "ICMPv6 echo could not be asked: net.ipv4.ping_group_range does not include this user's group, and "
            "roomprobe has no CAP_NET_RAW."
        )
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    return f"ICMPv6 echo could not be asked: this box gives no socket for it ({name})."
