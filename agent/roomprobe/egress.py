"""Whether nothing leaves at all: a judgement over every ladder of a run together. Pure.

design: the gateway answers ARP or ND, and at least three unrelated flows to two hosts end behind the same hop. Not claimed when
anything was heard from beyond, nor for silence behind a hop outside the site: there two dead far ends look the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roomprobe import ladder
from roomprobe.evidence import Flow, PathEvidence
from roomprobe.facts import Facts
from roomprobe.icmp import REASONS, is_v6, meaning, same_address
from roomprobe.model import Frozen, Hop, Host, Place, Result
from roomprobe.outcome import Outcome, Where
from roomprobe.site import named, outside, where_between

LEAST_FLOWS, LEAST_HOSTS = 3, 2
_ALIVE = frozenset({"reachable", "stale", "delay", "probe", "permanent"})
_HEARD = frozenset({Outcome.OPEN, Outcome.REACHED, Outcome.PASSES, Outcome.CLOSED})


class NoEgress(Frozen, frozen=True, kw_only=True):
    """Everything ends behind `hop.last_answering`."""

    hop: Hop
    where: Where
    sentence: str


def find(results: Sequence[Result], paths: Iterable[PathEvidence], host: Host, facts: Facts) -> NoEgress | None:
    """The finding, or None. Each family that was tried must end in the same way."""
    paths = tuple(paths)
    if not paths or any(_heard_from_beyond(r, facts) for r in results):
        return None
    found: NoEgress | None = None
    for family in (4, 6):
        mine = tuple(p for p in paths if is_v6(p.address) == (family == 6))
        if not mine:
            continue
        end = _common_end(mine, host.gateways.get(family), host, facts)
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
    return result.verdict.outcome in _HEARD


def _common_end(paths: tuple[PathEvidence, ...], gateway: str | None, host: Host, facts: Facts) -> NoEgress | None:
    ends: list[Place] = []
    refused = False
    for path in paths:
        for flow in path.flows:
            end = _end(path, flow)
            if end is None:
                return None
            refused = refused or ladder.foreign_icmp(flow, path.address) is not None
            ends.append(end)
    if len(ends) < LEAST_FLOWS or len({p.address for p in paths}) < LEAST_HOSTS:
        return None
    first = ends[0]
    same = all(same_address(e.address, first.address) if e.address and first.address else e == first for e in ends)
    if not same or (first.distance == 0 and (gateway is None or host.neighbours.get(gateway) not in _ALIVE)):
        return None
    if not refused and first.address and outside(first.address, facts) is True:
        return None
    if first.distance in (0, 1) and gateway and host.neighbours.get(gateway) not in _ALIVE:
        return None
    hop = Hop(last_answering=Place(distance=1, address=gateway) if first.distance == 0 else first)
    where = where_between(hop.last_answering, None, facts)
    what = "refuses" if refused else "is the last to answer"
    return NoEgress(
        hop=hop,
        where=Where.SITE_EDGE if where is Where.UNKNOWN and first.distance in (0, 1) else where,
        sentence=f"Nothing leaves this network: {len(ends)} different connections to {len({p.address for p in paths})} addresses all "
        f"end at {named(hop.last_answering, facts)}, which {what}; nothing beyond it answers anything.",
    )


def _end(path: PathEvidence, flow: Flow) -> Place | None:
    """Where a flow ends; None when it reached the target, or what ended it is a rule about this traffic alone."""
    if any(s.result in ("answer", "refused") for s in flow.steps) or ladder.refusal_ttl(flow, path.address) is not None:
        return None
    step = ladder.foreign_icmp(flow, path.address)
    if step is not None and step.icmp is not None:
        if meaning(*step.icmp, is_v6(path.address)) not in REASONS:
            return None
        return Place(distance=ladder.distance_of(path, step.address), address=step.address)
    return ladder.last_hop(flow) or Place(distance=0)
