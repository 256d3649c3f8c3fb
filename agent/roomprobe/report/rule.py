"""Which firewall rule would help: the smallest one, from the rows that were seen to be blocked. Pure.

Only `filtered` and `rejected` are blocks. Silence, a closed port, a missing name or a stranger in the middle are not
mended by a rule, and a port that something else makes up for is not asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from roomprobe.model import Check, Frozen, Host, Result, Transport
from roomprobe.outcome import Need, Outcome, Reason, Where
from roomprobe.report import met_otherwise
from roomprobe.report.run import Report

BLOCKED = frozenset({Outcome.FILTERED, Outcome.REJECTED})
# What to ask whoever runs the switches for, where it is not a rule about ports.
LINK_ASKS = {
    Reason.MTU_BLACK_HOLE: (
        "packets of 1500 bytes to be carried all the way between the controller and the codec",
        "in the switches and tunnels between; a router that cannot must be allowed to say so (ICMPv6 type 2)",
    ),
    Reason.IDLE_TIMEOUT: (
        "idle TCP connections between the controller and the codec to be kept",
        "in the switch or firewall between: its timeout for established connections is too short",
    ),
    Reason.STRAY_ROUTER: (
        "the stray router to be found, and its advertisements to be blocked (RA guard)",
        "in the switch, at every port that leads to no router",
    ),
    Reason.NEIGHBOUR_SILENT: (
        "IPv6 neighbour discovery between the ports: ICMPv6 types 133 to 136, and multicast to ff02::/16",
        "in the switch",
    ),
}


class Ask(Frozen, frozen=True):
    """One firewall rule. `sources` are networks in CIDR form or the room system's address.

    `name` is None when the target is known by its address alone. `addresses` are today's; `blocked` are those of them
    that were seen blocked. `one_of` is the number of ports of which one is enough (None: this very port is needed).
    `needs` is the need of the row, `where` the place of the block by its verdict.
    """

    profile: str
    row: str
    transport: Transport
    port: int
    sources: tuple[str, ...]
    name: str | None
    addresses: tuple[str, ...]
    blocked: tuple[str, ...]
    need: Need
    one_of: int | None = None
    where: Where | None = None


def asks(report: Report) -> tuple[Ask, ...]:
    """The rules to ask for, in the order of the rows; of a one-of group only the first blocked port.

    Nothing is asked for when nothing leaves the site at all: one more rule would not mend that.
    """
    stuck = {(s.profile, s.id) for s in report.services if s.reason is Reason.NO_EGRESS}
    found: dict[tuple[str, str], list[Result]] = {}
    groups: dict[tuple[str, str], str] = {}
    for result in report.results:
        check = result.check
        if not _is_blocked(result) or all((check.profile, service) in stuck for service in check.services):
            continue
        if met_otherwise(result, report.results):
            continue
        if check.group is not None and groups.setdefault((check.profile, check.group), check.row) != check.row:
            continue
        # One rule for a name and port, whichever row needs it; a resolver is its own target.
        found.setdefault((f"{check.transport}/{check.port}", _name(check) or check.address or ""), []).append(result)
    return tuple(_ask(results, report) for results in found.values())


def link_asks(report: Report) -> tuple[tuple[str, str], ...]:
    """What to ask for on the controller link: (what, where); one entry for each cause, its ports together."""
    blocked = [r for r in report.results if r.check.kind == "controller" and r.verdict.outcome in BLOCKED]
    asks = [LINK_ASKS[reason] for reason in dict.fromkeys(r.verdict.reason for r in blocked) if reason in LINK_ASKS]
    ports = sorted({r.check.port or 0 for r in blocked if r.verdict.reason not in LINK_ASKS})
    if ports:
        listed = ", ".join(str(port) for port in ports)
        what = f"TCP {listed} over IPv6 from the controller (any port from 1024 on) to the codec"
        where = (
            "in the switch, and in any firewall between; a list that does not know connections needs the replies too, and ICMPv6 "
            "types 133 to 136 between the two ports"
        )
        asks.insert(0, (what, where))
    return tuple(asks)


def _is_blocked(result: Result) -> bool:
    check = result.check
    return (
        result.verdict.outcome in BLOCKED
        and check.kind != "controller"
        and check.need is not Need.OPTIONAL
        and check.via == "direct"
        and check.direction == "out"
        and check.transport is not None
        and check.port is not None
        and result.verdict.where not in (Where.THIS_BOX, Where.JACK)
    )


def _name(check: Check) -> str | None:
    """The name that the rule is for. A row of kind dns asks a resolver, whose address stands in the check."""
    if check.kind == "dns" or check.host == check.address:
        return None
    return check.host


def _ask(results: list[Result], report: Report) -> Ask:
    first = results[0].check
    assert first.transport is not None and first.port is not None
    name = _name(first)
    same = [r.check for r in report.results if (r.check.row, r.check.port) == (first.row, first.port)]
    today = [c.address for c in same if name is not None and c.host == name and c.address is not None]
    blocked = [r.check.address for r in results if r.check.address is not None]
    members = {r.check.row for r in report.results if first.group is not None and _group(r.check) == _group(first)}
    return Ask(
        profile=first.profile,
        row=first.row,
        transport=first.transport,
        port=first.port,
        sources=_sources(blocked, report.host),
        name=name,
        addresses=tuple(dict.fromkeys(today or blocked)),
        blocked=tuple(dict.fromkeys(blocked)),
        need=first.need,
        one_of=len(members) if len(members) > 1 else None,
        where=results[0].verdict.where,
    )


def _group(check: Check) -> tuple[str, str | None]:
    return check.profile, check.group


def _sources(targets: Iterable[str], host: Host) -> tuple[str, ...]:
    """Where the traffic comes from, for each family of the targets: the room system, else this box's network."""
    sources: dict[str, None] = {}
    room = _version(host.vantage.room_system)
    for family in sorted({_version(target) for target in targets} - {None}, key=str):
        if host.vantage.room_system is not None and room == family:
            sources[host.vantage.room_system] = None
        elif host.vantage.state != "other":
            for address in host.addresses:
                if _version(address.address) == family:
                    sources[str(ipaddress.ip_interface(f"{address.address}/{address.prefix}").network)] = None
    return tuple(sources)


def _version(address: str | None) -> int | None:
    try:
        return ipaddress.ip_address((address or "").partition("%")[0]).version
    except ValueError:
        return None
