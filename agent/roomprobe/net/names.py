"""Asks the neighbours for a name: mDNS for one that ends in ".local", LLMNR for a single label; IPv6 addresses only.

One-shot questions from an ephemeral port, answered by unicast (RFC 6762 5.1 and 6.7, RFC 4795 2). Nothing is joined,
announced or kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from roomprobe.model import Frozen
from roomprobe.net import netlink
from roomprobe.net.datagram import failure
from roomprobe.net.netlink import Link, LocalAddress
from roomprobe.net.pace import Bucket
from roomprobe.net.ports import bind_ephemeral
from roomprobe.text import escape
from roomprobe.wire import multicast_dns

if TYPE_CHECKING:
    import dns.message

MOST_INTERFACES = 8
MOST_ADDRESSES = multicast_dns.MOST_ADDRESSES
MOST_READ = 256
SENDS = 2
SETTLE_S = 0.1  # once somebody has answered: time for a second one who claims the name too
_AT_ONCE = 16


class Method(Frozen, frozen=True, kw_only=True):
    """Where a kind of name is asked for. mDNS wants hop limit 255 (RFC 6762 11), LLMNR must not leave the link."""

    called: str
    group: str
    port: int
    hops: int


MDNS = Method(called="mDNS", group="ff02::fb", port=5353, hops=255)
LLMNR = Method(called="LLMNR", group="ff02::1:3", port=5355, hops=1)


class NameResult(Frozen, frozen=True, kw_only=True):
    """The addresses that neighbours gave for a name, link-local ones with the scope id of the interface they came in by.

    `untried` has a sentence for each interface, or for the name itself, that could not be asked.
    """

    addresses: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()


def method_for(name: str) -> Method | None:
    """How a name is asked for on a link; None for one that only the site's resolvers can know."""
    plain = name.lower().removesuffix(".")
    if plain.endswith(".local") and plain != ".local":
        return MDNS
    return LLMNR if plain and "." not in plain else None


async def find(name: str, interfaces: Sequence[Link], wait_s: float, bucket: Bucket) -> NameResult:
    """Asks on each interface (at most 8) twice at most, and waits up to `wait_s` seconds; 0.1 s more after an answer.

    Taken are answers to our own question from the responder's port, by a source that is link-local or in a network of
    that interface, which came in by it.
    """
    method = method_for(name)
    asked = multicast_dns.question(name, secrets.randbits(16)) if method is not None else None
    if method is None or asked is None:
        said = (
            f"The name {escape(name, 60)!r} cannot be asked for on a link: it must end in .local or be a single label."
        )
        return NameResult(untried=(said,))
    own = netlink.read_addresses()
    news = asyncio.Event()
    asks: list[_Ask] = []
    untried: list[str] = []
    try:
        for link in interfaces[:MOST_INTERFACES]:
            try:
                asks.append(_Ask(method, asked, link, [a for a in own if a.index == link.index], news))
            except OSError as error:
                untried.append(_refused(method, link, error))
        left = await _question(asks, wait_s, bucket, news)
        untried += [_refused(method, ask.link, error) for ask, error in left]
    finally:
        for ask in asks:
            ask.close()
    found = dict.fromkeys(address for ask in asks for address in ask.found)
    return NameResult(addresses=tuple(found)[:MOST_ADDRESSES], untried=tuple(untried))


async def _question(asks: list[_Ask], wait_s: float, bucket: Bucket, news: asyncio.Event) -> list[tuple[_Ask, OSError]]:
    """Sends and waits; gives the interfaces where nothing could be sent."""
    failed: dict[int, tuple[_Ask, OSError]] = {}
    until = time.monotonic() + wait_s
    for turn in range(SENDS):
        for at, ask in enumerate(asks):
            if at in failed:
                continue
            await bucket.take()
            try:
                ask.send()
            except OSError as error:
                failed[at] = (ask, error)
        if len(failed) == len(asks):
            break
        share = (until - time.monotonic()) / (SENDS - turn)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, share)):
                await news.wait()
        if news.is_set():
            await asyncio.sleep(SETTLE_S)
            break
    return list(failed.values())


def _refused(method: Method, link: Link, error: OSError) -> str:
    return f"{method.called} could not be asked at {escape(link.name, 20)} ({failure('send', error).errno})."


class _Ask:
    """One question on one interface. OSError when the kernel gives no such socket."""

    def __init__(
        self, method: Method, asked: dns.message.QueryMessage, link: Link, own: list[LocalAddress], news: asyncio.Event
    ) -> None:
        self.link = link
        self.found: dict[str, None] = {}
        self._method, self._asked, self._news = method, asked, news
        self._networks = [ipaddress.ip_network((a.address, a.prefix), strict=False) for a in own if ":" in a.address]
        self._read = 0
        self._sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.index)
            self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, method.hops)
            self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            bind_ephemeral(self._sock)
        except BaseException:
            self._sock.close()
            raise
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._drain)

    def send(self) -> None:
        """The question once; OSError as the kernel gives it."""
        self._sock.sendto(self._asked.to_wire(), (self._method.group, self._method.port, 0, self.link.index))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()

    def _drain(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, control, _, sender = self._sock.recvmsg(multicast_dns.MAX_MESSAGE + 1, socket.CMSG_SPACE(20))
            except BlockingIOError:
                return
            except OSError:
                continue
            self._take(data, sender, _arrival(control))
            self._read += 1
            if self._read >= MOST_READ or len(self.found) >= MOST_ADDRESSES:
                asyncio.get_running_loop().remove_reader(self._sock.fileno())
                return

    def _take(self, data: bytes, sender: tuple[str, int, int, int], arrival: int) -> None:
        source = ipaddress.IPv6Address(sender[0].partition("%")[0])
        if sender[1] != self._method.port or arrival != self.link.index:
            return
        if not source.is_link_local and not any(source in network for network in self._networks):
            return
        for address in multicast_dns.read(self._asked, data) or ():
            local = ipaddress.IPv6Address(address).is_link_local
            self.found[f"{address}%{self.link.name}" if local else address] = None
            self._news.set()


def _arrival(control: list[tuple[int, int, bytes]]) -> int:
    """The index of the interface that a datagram came in by (RFC 3542 6.2); 0 when the kernel did not say."""
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) and len(data) >= 20:
            return int(struct.unpack_from("=16xI", data)[0])
    return 0
