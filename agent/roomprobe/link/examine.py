"""Looks at what lies between this box and a codec whose ports failed: net/neighbourhood.py for the link, our own sources here.

For a codec behind a router one connect from each other address of this box is made. What it all means: diagnosis.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from roomprobe.link import diagnosis
from roomprobe.link.evidence import LinkEvidence, SourceTry
from roomprobe.model import Result
from roomprobe.net import Net, way
from roomprobe.net.neighbourhood import Towards, towards
from roomprobe.net.stream import connect

LOOK_S = 1.2  # neighbour discovery asks three times, a second apart; whoever is there answers the first
MOST_SOURCES = 4
DISCARD = 9
ANYWHERE4 = "203.0.113.1"  # RFC 5737: only the routing table is asked for it


async def look_all(first: Sequence[Result], net: Net) -> dict[str, LinkEvidence]:
    """The evidence for each codec that a port of which failed, by address."""
    mine = [r for r in first if r.check.kind == "controller" and r.check.address is not None]
    addresses = dict.fromkeys(r.check.address or "" for r in mine if diagnosis.troubled(r))
    looks = [look(address, [r for r in mine if r.check.address == address], net) for address in addresses]
    return dict(zip(addresses, await asyncio.gather(*looks), strict=True))


async def look(address: str, results: Sequence[Result], net: Net) -> LinkEvidence:
    """The evidence for one codec; `results` are those of its ports."""
    started = time.monotonic()
    seen, answered4 = await asyncio.gather(towards(address, net.bucket, wait_s=LOOK_S), _ipv4_router(net))
    sources = await _sources(address, results, seen, net)
    return LinkEvidence(
        address=address,
        interface=seen.interface,
        gateway=seen.gateway,
        source=seen.source,
        carrier=seen.carrier,
        own=seen.own,
        near=seen.near,
        heard=tuple(dict.fromkeys((*(seen.heard or ()), *seen.answered))),
        echoed=seen.echoed,
        untried=seen.untried,
        elsewhere=seen.elsewhere,
        routers=seen.routers,
        sources=sources,
        gateway4=seen.gateway4,
        gateway4_confirmed_s=0.0 if answered4 else seen.gateway4_confirmed_s,
        since_s=round(time.monotonic() - started + max(r.evidence.duration_s for r in results), 3),
        duration_s=round(time.monotonic() - started, 4),
    )


async def _ipv4_router(net: Net) -> bool:
    """Whether the IPv4 router answers now, be it with a refusal: an entry from before would prove nothing."""
    route = way.route_to(ANYWHERE4)
    if route is None or route.gateway is None:
        return False
    made, stream = await connect(route.gateway, DISCARD, deadline_s=LOOK_S, bucket=net.bucket)
    if stream is not None:
        stream.close()
    return made.result in ("connected", "refused")


async def _sources(address: str, results: Sequence[Result], seen: Towards, net: Net) -> tuple[SourceTry, ...]:
    """A codec behind a router, asked from our other addresses on a port that stayed silent."""
    port = next((r.check.port for r in results if r.evidence.connect.result == "timeout"), None)
    if seen.gateway is None or seen.source is None or port is None:
        return ()
    mine = [a.address for a in seen.own if a.usable and not a.address.startswith("fe80:")]

    async def one(source: str) -> SourceTry:
        made, stream = await connect(address, port, deadline_s=LOOK_S, bucket=net.bucket, source=source)
        if stream is not None:
            await stream.finish(time.monotonic() + 0.1)
        return SourceTry(source=source, port=port, result=made.result)

    return tuple(await asyncio.gather(*(one(s) for s in mine[:MOST_SOURCES] if s != seen.source)))
