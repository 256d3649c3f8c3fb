"""Whether nothing leaves at all: a judgement over every ladder of a run together. Pure.

design: the gateway answers ARP or ND, and at least three unrelated flows to two hosts, of TCP and of UDP, end behind the same hop.
Not claimed when anything was heard from beyond, nor for silence behind a hop outside the site: there two dead far ends look the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roomprobe import ladder
from roomprobe.evidence import Flow, PathEvidence
from roomprobe.facts import Facts
from roomprobe.icmp import REASONS, is_v6, meaning, same_address
from roomprobe.model import RESOLVED, Frozen, Hop, Host, Place, Result
from roomprobe.outcome import Outcome, Where
from roomprobe.site import named, outside, where_between

LEAST_FLOWS, LEAST_HOSTS = 3, 2
TRANSPORTS = ("tcp", "udp")
HEARD = frozenset({Outcome.OPEN, Outcome.REACHED, Outcome.PASSES, Outcome.CLOSED})


class NoEgress(Frozen, frozen=True, kw_only=True):
    """Everything ends behind `hop.last_answering`; `refused`: it said so itself, rather than going silent."""

    refused: bool

    hop: Hop
    where: Where
    sentence: str


def find(results: Sequence[Result], paths: Iterable[PathEvidence], host: Host, facts: Facts) -> NoEgress | None:
    """The finding, or None. Each family that was tried must end in the same way."""
    paths = tuple(paths)
    if len({flow.transport for path in paths for flow in path.flows}) < len(TRANSPORTS):
        return None  # many a firewall drops all UDP
    if any(_heard_from_beyond(r, facts) for r in results):
        return None
    found: NoEgress | None = None
    for family in (4, 6):
        mine = tuple(p for p in paths if is_v6(p.address) == (family == 6))
        if not mine:
            continue
        end = _common_end(mine, results, host.gateways.get(family), host, facts)
        if end is None:
            return None
        found = found or end
    return found


def _heard_from_beyond(result: Result, facts: Facts) -> bool:
    if result.check.kind == "dns":
        # A resolver on the site's own network says nothing about what is beyond it.
        return (
            result.verdict.outcome in (Outcome.OPEN, Outcome.NO_TARGET) and outside(result.check.address, facts) is True
        )
    return result.verdict.outcome in HEARD


def _common_end(
    paths: tuple[PathEvidence, ...], results: Sequence[Result], gateway: str | None, host: Host, facts: Facts
) -> NoEgress | None:
    ends: list[tuple[str, Place, bool]] = []
    for path in paths:
        # What refused the check itself counts too: a router that limits its refusals may have none left for the ladder.
        for result in (r for r in results if r.check.address == path.address and r.verdict.outcome is Outcome.REJECTED):
            sender = result.verdict.hop.sender if result.verdict.hop else None
            if sender is not None and sender.address is not None:
                ends.append((path.address, sender, True))
        for flow in path.flows:
            end = _end(path, flow)
            if end is None:
                return None
            ends.append((path.address, *end))
    farthest = max(ends, key=lambda e: e[1].distance or 0)[1]
    there = [(target, refused) for target, end, refused in ends if _same(end, farthest)]
    # Routers limit their refusals too: a flow may go silent earlier, but never end in somebody else's hands.
    elsewhere = any(refused and not _same(end, farthest) for _, end, refused in ends)
    targets = {target for target, _ in there}
    if elsewhere or len(there) < LEAST_FLOWS or len(targets) < LEAST_HOSTS:
        return None
    if (farthest.distance or 0) <= 1 and (gateway is None or host.neighbours.get(gateway) not in RESOLVED):
        return None
    refused = any(said for _, said in there)
    if not refused and outside(farthest.address, facts) is True:
        return None
    last = Place(distance=1, address=gateway) if farthest.distance == 0 else farthest
    where = where_between(last, None, facts)
    what = "refuses them" if refused else "is the last device that answers"
    doubt = "" if refused else " (or all of them are dead and no router beyond reports anything)"
    return NoEgress(
        refused=refused,
        hop=Hop(last_answering=last),
        where=Where.SITE_EDGE if where is Where.UNKNOWN and last.distance == 1 else where,
        sentence=f"Nothing leaves this network: everything sent to {len(targets)} different addresses ends at "
        f"{named(last, facts)}, which {what}; nothing beyond it answers anything{doubt}.",
    )


def _same(one: Place, other: Place) -> bool:
    if one.address and other.address:
        return same_address(one.address, other.address)
    return one == other


def _end(path: PathEvidence, flow: Flow) -> tuple[Place, bool] | None:
    """Where a flow ends, and whether it was refused there; None when it reached the target."""
    if any(s.result == "answer" for s in flow.steps) or ladder.refusal_ttl(flow, path.address) is not None:
        return None
    step = ladder.foreign_icmp(flow, path.address)
    if step is None or step.icmp is None:
        return ladder.last_hop(path, flow) or Place(distance=0), False
    if meaning(*step.icmp, is_v6(path.address)) not in REASONS:
        return None
    return Place(distance=ladder.sender_distance(path, step), address=step.address), True
