"""Finds the codec when its address was not given: neighbours, all-nodes echo, a configured name; then the ports of the link.

Each neighbour gets one connect to each of the ports, closed at once. The choice is made in candidates.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from roomprobe.config import Config
from roomprobe.link import candidates
from roomprobe.link.evidence import Candidate, Search
from roomprobe.model import RESOLVED, Host, Plan
from roomprobe.net import Net, names, neighbourhood
from roomprobe.net.netlink import Link
from roomprobe.net.stream import connect
from roomprobe.outcome import Reason

MOST_NEIGHBOURS = 32
MOST_LINKS = 8
ECHO_S = 1.0
NAME_S = 1.0
KNOCK_S = 1.0


async def find(made: Plan, config: Config, here: Host, net: Net) -> Search:
    """The codec for the checks of the link in this plan, or why it was not found. All ports of the profile are tried."""
    check = next(c for c in made.checks if c.kind == "controller")
    rows = [row for one in made.profiles if one.id == check.profile for row in one.row if row.kind == "controller"]
    offset = (check.port or 0) - next(row.port or 0 for row in rows if row.id == check.row)
    ports = [(row.port or 0) + offset for row in rows]
    links = neighbourhood.usable(here.interfaces, config.network.interface)[:MOST_LINKS]
    telling = next((port for port, row in zip(ports, rows, strict=True) if row.params["ask"] == ["auth"]), None)
    if config.site.codec is not None:
        return await _named(config.site.codec, links, net)
    seen = await neighbourhood.survey(links, net.bucket, wait_s=ECHO_S)
    if not any(a.usable and a.address.startswith("fe80:") for one in seen for a in one.own):
        return _unable([one.interface for one in seen])
    untried = [one.untried for one in seen if one.untried]
    there = [n for one in seen for n in one.near if n.mac is not None and n.state in RESOLVED]
    there.sort(key=lambda n: not n.address.startswith("fe80:"))
    each = {n.mac: n for n in reversed(there)}  # a device with several addresses is asked once, at its link-local one
    near = [(n.address, n.mac, n.router) for n in each.values()][:MOST_NEIGHBOURS]
    found = await asyncio.gather(*(_knock(address, mac, router, ports, net) for address, mac, router in near))
    return candidates.choose(found, telling, untried, unasked=max(0, len(each) - MOST_NEIGHBOURS))


def _unable(interfaces: Sequence[str]) -> Search:
    """This box itself cannot look."""
    if interfaces:
        where = ", ".join(interfaces)
        why = f"this box has no IPv6 link-local address at {where}: IPv6 is switched off there, and the controller link needs it."
        return Search(reason=Reason.NO_LINK_LOCAL, sentence=f"No codec was looked for: {why}")
    why = "no network interface of this box is up and has a link. Check the cable and the jack."
    return Search(reason=Reason.NO_CARRIER, sentence=f"No codec was looked for: {why}")


async def _named(name: str, links: Sequence[Link], net: Net) -> Search:
    """A configured name, asked by mDNS or LLMNR: its first link-local address, else its first."""
    result = await names.find(name, links, NAME_S, net.bucket)
    addresses = sorted(result.addresses, key=lambda a: not a.startswith("fe80:"))
    untried = tuple(result.untried)
    by = "mDNS" if name.endswith(".local") else "LLMNR"
    if not addresses:
        sentence = f"No codec was found: nobody on this network answers {by} for the name {name}."
        return Search(named=True, reason=Reason.NO_CODEC, sentence=sentence, untried=untried)
    local = [a for a in addresses if a.startswith("fe80:")]
    found = tuple(Candidate(address=a) for a in addresses)
    if len(local) > 1:
        sentence = f"Which is the codec? More than one device answers {by} for the name {name}: {', '.join(local)}. Say which with --codec."
        return Search(named=True, candidates=found, reason=Reason.SEVERAL_CODECS, sentence=sentence, untried=untried)
    sentence = f"The codec {name} was found by {by}: {addresses[0]}."
    return Search(
        named=True,
        candidates=tuple(Candidate(address=a) for a in addresses),
        chosen=addresses[0],
        sentence=sentence,
        untried=untried,
    )


async def _knock(address: str, mac: str | None, router: bool, ports: Sequence[int], net: Net) -> Candidate:
    """Which of the ports a neighbour accepts; one connect each, closed in good order."""

    async def one(port: int) -> str:
        made, stream = await connect(address, port, deadline_s=KNOCK_S, bucket=net.bucket)
        if stream is not None:
            await stream.finish(asyncio.get_running_loop().time() + 0.1)
        return made.result

    results = await asyncio.gather(*(one(port) for port in ports))
    return Candidate(
        address=address,
        mac=mac,
        router=router,
        open=tuple(p for p, r in zip(ports, results, strict=True) if r == "connected"),
        refused=tuple(p for p, r in zip(ports, results, strict=True) if r == "refused"),
    )
