"""What TTL ladders show: pure arithmetic on PathEvidence, used while a survey runs and again when it is judged.

An answer from hop n proves only that hops 1 to n-1 forwarded the packet. Silence needs a control that the same router
answered in the same round, often enough that loss alone does not explain it (docs/probes/path.md).
"""

from __future__ import annotations

from roomprobe.evidence import Flow, PathEvidence, Step
from roomprobe.icmp import same_address
from roomprobe.model import Place

ENOUGH = 1e-5
LATE_MS = 700.0
FULL_TTL = 64


def key(flow: Flow) -> tuple[str, int, str | None]:
    """What tells the flows of one survey apart: transport, port, payload."""
    return (flow.transport, flow.port, flow.payload)


def find(path: PathEvidence, transport: str, port: int, payload: str | None) -> Flow | None:
    """The flow of that transport, port and payload, if the survey had it."""
    return next((flow for flow in path.flows if key(flow) == (transport, port, payload)), None)


def others(path: PathEvidence, flow: Flow) -> tuple[Flow, ...]:
    """Every other flow towards the same address."""
    return tuple(one for one in path.flows if key(one) != key(flow))


def routers(path: PathEvidence, flows: tuple[Flow, ...] | None = None) -> dict[int, str | None]:
    """Distance → address of the router that said "time exceeded" there to any of the flows (default: all); the first seen.

    A far end that forwards inwards (a container host, a load balancer) says so in its own name: that is no router on the way.
    """
    found: dict[int, str | None] = {}
    for flow in path.flows if flows is None else flows:
        for step in flow.steps:
            if step.result == "hop" and not same_address(step.address, path.address):
                found.setdefault(step.ttl, step.address)
    return dict(sorted(found.items()))


def last_hop(path: PathEvidence, flow: Flow) -> Place | None:
    """The farthest router that answered this flow."""
    found = routers(path, (flow,))
    return Place(distance=max(found), address=found[max(found)]) if found else None


def place(path: PathEvidence, distance: int) -> Place:
    """The device at a distance, by whatever flow it answered; distance 0 is this box."""
    return Place(distance=distance, address=routers(path).get(distance))


def distance_of(path: PathEvidence, address: str | None) -> int | None:
    """The distance at which a router answered with that address."""
    return next((ttl for ttl, one in routers(path).items() if same_address(one, address)), None)


def floor(path: PathEvidence) -> int:
    """The path's least length in hops: one more than the farthest router that answered any flow, loops left out."""
    seen: set[str | None] = set()
    farthest = 0
    for ttl, address in routers(path).items():
        if address in seen:
            break  # a router met twice: from here on packets go in a circle, and no length is shown
        seen.add(address)
        farthest = ttl
    return farthest + 1


def one_way(path: PathEvidence, before: int) -> bool:
    """Whether every distance below `before` showed one router only: else flows take different ways of maybe different length."""
    seen: dict[int, str | None] = {}
    for step in (s for flow in path.flows for s in flow.steps if s.result == "hop" and s.ttl < before):
        if not same_address(seen.setdefault(step.ttl, step.address), step.address):
            return False
    return True


def is_short(path: PathEvidence, ttl: int | None) -> bool:
    """Whether something that came back at this TTL cannot have been at the target."""
    return ttl is not None and ttl < floor(path) and one_way(path, ttl)


def _exact(flow: Flow) -> bool:
    """Whether an answer names its own packet: one socket a packet (TCP, or an answering UDP flow)."""
    return flow.transport == "tcp" or (flow.role == "control" and len(flow.source_ports) > 1)


def answer_ttl(flow: Flow) -> int | None:
    """The least TTL at which the target (or somebody in its place) answered or completed the handshake."""
    return min((s.ttl for s in flow.steps if s.result == "answer" and _exact(flow)), default=None)


def is_refusal(step: Step, target: str) -> bool:
    """A RST, or an ICMP refusal that carries the target's own address."""
    return step.result == "refused" or (step.result == "icmp" and same_address(step.address, target))


def refusal_ttl(flow: Flow, target: str) -> int | None:
    """The least TTL at which a refusal in the target's name came."""
    return min((s.ttl for s in flow.steps if is_refusal(s, target)), default=None)


def foreign_icmp(flow: Flow, target: str) -> Step | None:
    """The refusal at the least TTL that came from another address than the target's."""
    steps = (s for s in flow.steps if s.result == "icmp" and not same_address(s.address, target))
    return min(steps, key=lambda s: s.ttl, default=None)


def sender_distance(path: PathEvidence, step: Step) -> int | None:
    """The distance of whoever sent this ICMP refusal.

    Where it also answered a ladder, that says it. Else it stands at the least TTL at which it refused anything, when the
    hop before answered with another address: routers answer with one address towards one asker.
    """
    known = distance_of(path, step.address)
    if known is not None:
        return known
    same = [
        s.ttl for flow in path.flows for s in flow.steps if s.result == "icmp" and same_address(s.address, step.address)
    ]
    least = min(same, default=step.ttl)
    before = routers(path).get(least - 1)
    return least if least == 1 or (before is not None and not same_address(before, step.address)) else None


def full_length(path: PathEvidence, flow: Flow) -> int | None:
    """The path's length in hops as another flow's answer shows it; None unless the hop before it answered too.

    Without that hop an answer lost on the way would make the path look longer than it is.
    """
    for other in others(path, flow):
        ttl = answer_ttl(other)
        if ttl is not None and ttl < FULL_TTL and ttl == floor(path):
            return ttl
    return None


def reached_by_control(path: PathEvidence, flow: Flow) -> bool:
    """Whether another flow got an answer from the target's address, at the target's distance as far as that is known.

    A relay that answers nearer counts only when this flow itself was heard from beyond it.
    """
    last = last_hop(path, flow)
    heard = last.distance or 0 if last else 0
    for other in others(path, flow):
        if any(s.result == "answer" for s in other.steps):
            ttl = answer_ttl(other)
            if ttl is None or ttl >= floor(path) or ttl < heard:
                return True
    return False


def settled(flow: Flow, target: str) -> bool:
    """Whether the flow ended in something other than silence."""
    return (
        any(s.result == "answer" for s in flow.steps)
        or refusal_ttl(flow, target) is not None
        or foreign_icmp(flow, target) is not None
    )


def edges(path: PathEvidence, flow: Flow) -> tuple[int, ...]:
    """The distances beyond this flow's last router at which a router answered another flow, and this one was asked too."""
    last = last_hop(path, flow)
    start = 0 if last is None else last.distance or 0
    asked = {s.ttl for s in flow.steps}
    return tuple(ttl for ttl in routers(path, others(path, flow)) if ttl > start and ttl in asked)


def boundary(path: PathEvidence, flow: Flow) -> int | None:
    """The first of the edges; None if there is none."""
    return next(iter(edges(path, flow)), None)


def _witnesses(path: PathEvidence, flow: Flow, ttl: int) -> list[Step]:
    """Controls of other addresses that concern the very router which answered this address at that distance."""
    router = routers(path, others(path, flow)).get(ttl)
    return [w for w in path.witnesses if w.ttl == ttl and same_address(w.address, router)]


def trials(path: PathEvidence, flow: Flow, ttl: int) -> int:
    """In how many rounds the flow was silent at a TTL while the router there was answering (in time: LATE_MS)."""
    quiet = {s.round for s in flow.steps if s.ttl == ttl and s.result == "silent"}
    heard = {
        s.round
        for other in others(path, flow)
        for s in other.steps
        if s.ttl == ttl and s.result in ("hop", "answer") and (s.ms or 0.0) <= LATE_MS
    }
    heard |= {w.round for w in _witnesses(path, flow, ttl) if w.result == "hop"}
    return len(quiet & heard)


def loss(path: PathEvidence, flow: Flow, ttl: int) -> float:
    """The share of control packets lost at a TTL, with one more lost and one more sent (Laplace): never 0.

    Counted apart for TCP and UDP, because networks treat them apart; the larger one holds.
    """
    shares = []
    for transport in ("tcp", "udp"):
        sent = lost = 0
        for other in others(path, flow):
            steps = [s for s in other.steps if s.ttl == ttl and other.transport == transport]
            if any(s.result in ("hop", "answer") for s in steps):
                sent += len(steps)
                lost += sum(1 for s in steps if s.result == "silent")
        if transport == "tcp":
            seen = _witnesses(path, flow, ttl)
            sent += len(seen)
            lost += sum(1 for w in seen if w.result == "silent")
        if sent:
            shares.append((lost + 1) / (sent + 2))
    return max(shares, default=0.5)


def proven_silent(path: PathEvidence, flow: Flow, ttl: int) -> bool:
    """Whether loss alone is too unlikely (less than ENOUGH) to explain the flow's silence at that TTL."""
    if any(s.ttl == ttl and s.result != "silent" for s in flow.steps):
        return False
    count = trials(path, flow, ttl)
    return count > 0 and loss(path, flow, ttl) ** count < ENOUGH
