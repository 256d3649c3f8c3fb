"""Which packet sizes get through to the emulator and back, once a large block was stuck: searched, and then confirmed.

A block that is stuck once may have been lost. So the size that passes and the next one are asked again, each time on a connection of
its own: a hole swallows the one every time and lets the other through, chance does not. A far end that answers no block at all, be it
ever so small, says nothing of sizes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from roomprobe.model import Check, Frozen
from roomprobe.net import Net
from roomprobe.net.emulator import Exchange, another

LEAST_PACKET = 1280  # RFC 8200 5: every IPv6 link carries it
MOST_PACKET = 9216  # beyond that no Ethernet goes
COARSE, FINE = 20, 1
CONFIRM = 3
SMALL = 256  # a block that the least packet has room for
MOST_HEADERS = 120  # IPv6 40, TCP 60, and some room

Way = Callable[[Exchange, int], Awaitable[bool | None]]


class Largest(Frozen, frozen=True, kw_only=True):
    """The biggest IPv6 packet that passes, in bytes; None when not even the least one did, or nobody looked.

    `sure`: the next size was stuck each time it was asked again, and this one passed.
    """

    size: int | None = None
    sure: bool = False


async def largest(check: Check, net: Net, way: Way, *, wanted: bool) -> Largest:
    """Looks for it in one direction: in coarse steps, then in fine ones, each until one is stuck."""
    if not wanted:
        return Largest()
    size: int | None = None
    whole = 0
    for step in (COARSE, FINE):
        async with another(check, net, tls=False) as (met, stream, _):
            if met is None or stream is None:
                return Largest(size=size)
            timing = stream.timing()
            whole = min(timing.path_mtu or 0, MOST_PACKET)
            headers = (timing.path_mtu or 0) - (
                timing.segment or 0
            )  # IPv6, TCP and its options, as the kernel counts them
            if headers > MOST_HEADERS:
                return Largest()  # something on the way clamps segments, so a block's size says nothing of the packet's
            if size is None and not await way(met, SMALL):
                return Largest()
            for packet in range(LEAST_PACKET if size is None else size + FINE, whole + 1, step):
                passed = await way(met, packet - headers)
                if passed is None:
                    return Largest()
                if not passed:
                    break
                size = packet
            else:
                return Largest(size=whole)
    again = await asyncio.gather(*(_again(check, net, way, size, headers) for _ in range(CONFIRM)))
    return Largest(size=size, sure=all(again))


async def _again(check: Check, net: Net, way: Way, size: int | None, headers: int) -> bool:
    """Whether the size passes once more and the next one is stuck once more."""
    async with another(check, net, tls=False) as (met, _, _):
        if met is None or not await way(met, SMALL if size is None else size - headers):
            return False
        return await way(met, (LEAST_PACKET if size is None else size + FINE) - headers) is False
