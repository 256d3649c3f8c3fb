"""What this box knows of itself: interface, addresses, way out, resolvers, proxy, clock, rights, and where it stands.

`gather` reads, `assemble` and the parsers are pure. No packet leaves the box here; only `locate` may ask one neighbour.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from roomprobe import synced
from roomprobe.config import Config, ConfigError
from roomprobe.model import RESOLVED, Address, Family, Host, Skip, Vantage
from roomprobe.net import netlink
from roomprobe.net.netlink import Link, LocalAddress, Route, Tables
from roomprobe.net.pace import Bucket
from roomprobe.outcome import Reason
from roomprobe.text import escape

RESOLV_CONF = Path("/etc/resolv.conf")
UPSTREAM = Path("/run/systemd/resolve/resolv.conf")
STATUS = Path("/proc/self/status")
TUNNELS = ("tun", "wireguard", "ppp", "vti", "vti6", "xfrm", "ipip", "gre", "sit", "ip6tnl", "ipsec")
MAX_RESOLVERS = 8
MAX_NEIGHBOURS = 1024
# linux/capability.h, in order of the bits.
CAPABILITIES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
).split()


def gather(config: Config) -> Host:
    """The facts now. Raises ConfigError when the configured interface does not exist on this box."""
    host = assemble(config, netlink.read())
    host = msgspec.structs.replace(
        host,
        resolvers=config.network.resolvers or resolvers(_text(RESOLV_CONF), _text(UPSTREAM)),
        proxy=proxy(config, os.environ),
        clock_synced=synced.clock(),
        capabilities=capabilities(_text(STATUS)),
    )
    return msgspec.structs.replace(host, vantage=vantage(config, host))


def assemble(config: Config, tables: Tables) -> Host:
    """The part of the facts that the kernel's tables hold. Pure; ConfigError as for `gather`."""
    link = _choose(config.network.interface, tables, config.said("network.interface"))
    named = config.network.interface is not None
    routes = [route for route in tables.routes if not named or (link is not None and route.index == link.index)]
    ways = {family: route for family in (4, 6) if (route := _best(routes, family)) is not None}
    used = {link.index if link else 0, *(route.index for route in ways.values())}
    usable = [a for a in tables.addresses if a.index in used and a.usable]
    routable = [a for a in usable if not _is_link_local(a.address)]
    families: list[Family] = [
        family for family in (4, 6) if family in ways and any(_speaks(a, family, ways[family]) for a in routable)
    ]
    near = [n for n in tables.neighbours if n.index in used][:MAX_NEIGHBOURS]
    host = Host(
        interface=link.name if link else None,
        interfaces={one.name: one.index for one in tables.links},
        carrier=link.carrier if link else None,
        addresses=tuple(Address(address=a.address, prefix=a.prefix) for a in routable or usable),
        gateways={family: route.gateway for family, route in ways.items() if route.gateway is not None},
        families=tuple(families),
        vpn=_vpn(tables, ways),
        neighbours={n.address: n.state for n in near},
    )
    return msgspec.structs.replace(host, trouble=_trouble(link, routable, usable, bool(ways)))


def refresh_neighbours(host: Host) -> Host:
    """The same facts with the neighbour table of now: after traffic, a dead gateway stands there as failed."""
    index = _index(host.interface)
    now = {n.address: n.state for n in netlink.read_neighbours() if n.index == index or n.address in _known(host)}
    return msgspec.structs.replace(host, neighbours=dict(list(now.items())[:MAX_NEIGHBOURS]))


def vantage(config: Config, host: Host) -> Vantage:
    """Whether this box judges from where the room system stands: same network, and seen there as a neighbour. Pure."""
    room = config.site.room_system
    if room is None:
        return Vantage(state="unset", sentence="")
    plain = room.partition("%")[0]
    if any(plain == own.address for own in host.addresses):
        return Vantage(state="same", sentence="This box has the room system's own address.", room_system=room)
    seen = host.neighbours.get(plain)
    if not on_link(plain, host):
        own = ", ".join(f"{a.address}/{a.prefix}" for a in host.addresses) or "no address"
        why = f"the room system, {room}, is in another network than this box ({own})"
    elif seen not in RESOLVED:
        why = f"the room system, {room}, should be a neighbour of this box, but it was not found on this network"
    else:
        sentence = f"The room system, {room}, is a neighbour of this box on the same network."
        return Vantage(state="same", sentence=sentence, room_system=room)
    return Vantage(state="other", sentence=f"All this is seen from this box's port: {why}.", room_system=room)


def on_link(address: str, host: Host) -> bool:
    """True when the address lies in the network of one of this box's own addresses. False for what is no address."""
    try:
        target = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(target in ipaddress.ip_interface(f"{own.address}/{own.prefix}").network for own in host.addresses)


async def locate(config: Config, host: Host, bucket: Bucket, patience_s: float = 1.0) -> Host:
    """`vantage` settled: a room system in our own network that the kernel does not know is asked for with one datagram.

    Waits until the kernel has found it or given up, at most `patience_s` seconds.
    """
    room = (config.site.room_system or "").partition("%")[0]
    if room and on_link(room, host) and all(room != own.address for own in host.addresses):
        if host.neighbours.get(room) not in RESOLVED:
            await netlink.poke(room, bucket)
        until = asyncio.get_running_loop().time() + patience_s
        while host.neighbours.get(room) not in RESOLVED | {"failed"} and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.02)
            host = refresh_neighbours(host)
    return msgspec.structs.replace(host, vantage=vantage(config, host))


def resolvers(configured: str, upstream: str) -> tuple[str, ...]:
    """The name servers of a resolv.conf; systemd-resolved's stub gives way to the servers that it asks itself."""
    found = _nameservers(configured)
    if "127.0.0.53" in found:
        behind = _nameservers(upstream)
        found = [server for one in found for server in (behind if one == "127.0.0.53" and behind else [one])]
    return tuple(dict.fromkeys(found))[:MAX_RESOLVERS]


def proxy(config: Config, environment: Mapping[str, str]) -> str | None:
    """The web proxy known here, to be shown: the configured one, else that of the environment. Never with a password.

    Only `[network] proxy` is ever used; one that the environment alone names is a fact and nothing more.
    """
    named = config.network.proxy or environment.get("https_proxy") or environment.get("HTTPS_PROXY")
    if not named:
        return None
    try:
        parts = urlsplit(named if "//" in named else f"http://{named}")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return None
    return escape(f"{parts.scheme}://{host}{port}") if host else None


def capabilities(status: str) -> tuple[str, ...]:
    """The names of the effective capabilities in /proc/self/status; a bit without a name is its number."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            try:
                bits = int(value, 16)
            except ValueError:
                return ()
            names = dict(enumerate(CAPABILITIES))
            return tuple(names.get(bit, str(bit)) for bit in range(64) if bits >> bit & 1)
    return ()


def _choose(named: str | None, tables: Tables, said: str) -> Link | None:
    """The configured interface, else that of the default route (IPv4 first), else the likeliest jack."""
    links = {link.index: link for link in tables.links}
    if named is not None:
        found = next((link for link in links.values() if link.name == named), None)
        if found is None:
            have = ", ".join(sorted(link.name for link in links.values())) or "none"
            raise ConfigError(f"{said}: this box has no {escape(named, 40)!r}; it has {have}.")
        return found
    for family in (4, 6):
        route = _best(tables.routes, family)
        if route is not None and route.index in links:
            return links[route.index]
    jacks = [link for link in links.values() if not link.loopback]
    # A container bridge that is up must not hide the unplugged jack beside it.
    return min(jacks, key=lambda j: (not j.up, j.kind is not None, not j.carrier, j.index), default=None)


def _best(routes: Iterable[Route], family: int) -> Route | None:
    mine = [route for route in routes if route.family == family]
    return min(mine, key=lambda route: (not route.alive, route.metric, -route.weight), default=None)


def _speaks(address: LocalAddress, family: int, way: Route) -> bool:
    """True when this address can be the source of traffic of the family by that way."""
    return address.index == way.index and ipaddress.ip_address(address.address).version == family


def _vpn(tables: Tables, ways: Mapping[int, Route]) -> str | None:
    """The tunnel that traffic leaves by: what the kernel would choose, split defaults and policy rules included."""
    links = {link.index: link for link in tables.links}
    for index in (tables.way_out, *(route.index for route in ways.values())):
        link = links.get(index or 0)
        if link is not None and (link.kind or link.name).startswith(TUNNELS):
            return link.name
    return None


def _trouble(link: Link | None, routable: list[LocalAddress], usable: list[LocalAddress], way: bool) -> Skip | None:
    """Why nothing can be sent at all, the nearest cause first."""
    reason = Reason.INTERFACE_DOWN
    if link is None:
        sentence = "This box has no network interface: look at the adapter."
    elif link.loopback:
        sentence = f"{link.name} is this box's own loopback; it leads to no network."
    elif not link.up:
        sentence = f"{link.name} is switched off on this box, so nothing can leave."
    elif link.carrier is False:
        reason = Reason.NO_CARRIER
        sentence = (
            f"{link.name} has no link: nothing answers at the other end of the cable. Check the cable and the jack."
        )
    elif not routable:
        reason = Reason.NO_LOCAL_ADDRESS
        own = f" but the one it made up itself ({usable[0].address})" if usable else ""
        sentence = (
            f"{link.name} has a link but no address{own}: this network gave it none. Ask what the jack is set up for."
        )
    elif not way:
        reason = Reason.NO_GATEWAY
        sentence = (
            f"{link.name} has the address {routable[0].address} but no gateway, so nothing can leave this network."
        )
    else:
        return None
    return Skip(reason=reason, sentence=sentence)


def _is_link_local(address: str) -> bool:
    return ipaddress.ip_address(address).is_link_local


def _known(host: Host) -> set[str]:
    """Neighbours that count even on a second interface: the gateways and who was known before."""
    return {*host.gateways.values(), *host.neighbours}


def _index(interface: str | None) -> int:
    try:
        return socket.if_nametoindex(interface or "")
    except OSError:
        return 0


def _nameservers(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                ipaddress.ip_address(words[1])
            except ValueError:
                continue
            found.append(words[1])
    return found


def _text(path: Path) -> str:
    """The beginning of a small system file; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(65536).decode("utf-8", "replace")
    except OSError:
        return ""
