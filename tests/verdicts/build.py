"""Short ways to write evidence, checks and results by hand."""

from __future__ import annotations

from roomprobe.evidence import Flow, PathEvidence, Step
from roomprobe.facts import Facts
from roomprobe.model import Check, Host, Place, Result, Verdict
from roomprobe.outcome import Confidence, Need, Outcome, Reason

TARGET = "203.0.113.10"
FW, ISP, CORE = "192.168.50.1", "100.64.0.1", "198.51.100.2"
ROUTERS = (FW, ISP, CORE)
FACTS = Facts(addresses=("192.168.50.10",), gateways=(FW,), clock_synced=True)
HOST = Host(
    interface="eth0", carrier=True, families=(4,), gateways={4: FW}, neighbours={FW: "reachable"}, resolvers=(FW,)
)


def steps(
    hops: int, end: str | None = None, *, at: int = 4, sender: str | None = None, icmp=None, upto: int = 6, round_=0
):
    """Routers answer up to `hops`; from TTL `at` on the end ("answer", "refused", "icmp") comes; else silence."""
    made = []
    for ttl in range(1, upto + 1):
        if end and ttl >= at:
            made.append(Step(ttl=ttl, round=round_, result=end, address=sender, icmp=icmp, ms=1.0))
        elif ttl <= hops:
            made.append(Step(ttl=ttl, round=round_, result="hop", address=ROUTERS[ttl - 1], ms=1.0))
        else:
            made.append(Step(ttl=ttl, round=round_, result="silent"))
    return tuple(made)


def repeats(ttl: int, count: int, result: str = "silent", address: str | None = None) -> tuple[Step, ...]:
    """The rounds at one TTL."""
    return tuple(Step(ttl=ttl, round=r, result=result, address=address) for r in range(1, count + 1))


def udp_flow(made: tuple[Step, ...], port: int = 24704, role: str = "suspect", payload: str = "opaque", ports=(40000,)):
    return Flow(transport="udp", port=port, payload=payload, role=role, source_ports=ports, steps=made)


def tcp_flow(made: tuple[Step, ...], role: str = "control", port: int = 443) -> Flow:
    return Flow(transport="tcp", port=port, payload=None, role=role, source_ports=(41000, 41001), steps=made)


def path(*flows: Flow, address: str = TARGET) -> PathEvidence:
    return PathEvidence(address=address, flows=flows, complete=True, duration_s=1.0)


def check(
    row: str = "F3",
    transport: str = "udp",
    port: int = 24704,
    address: str | None = TARGET,
    *,
    kind: str | None = None,
    need: Need = Need.RECOMMENDED,
    group: str | None = None,
    host: str = "acme.call.sl",
    services: tuple[str, ...] = ("calls",),
    via: str = "direct",
) -> Check:
    return Check(
        id=f"starleaf/{row}/{host}/{address if via == 'direct' else 'proxy'}/{transport}/{port}",
        profile="starleaf",
        row=row,
        purpose="",
        document="prerequisites",
        services=services,
        need=need,
        group=group,
        kind=kind or ("udp" if transport == "udp" else "tls"),
        transport=transport,
        host=host,
        address=address,
        port=port,
        via=via,
    )


def verdict(outcome: Outcome, reason: Reason = Reason.SILENCE, confidence: Confidence | None = None, **more) -> Verdict:
    sure = {Outcome.OPEN: Confidence.PROVEN, Outcome.PASSES: Confidence.INFERRED, Outcome.REACHED: Confidence.INFERRED}
    return Verdict(
        outcome=outcome,
        confidence=confidence or sure.get(outcome, Confidence.NONE),
        reason=reason,
        sentence=f"It is {outcome}.",
        **more,
    )


def result(made: Check, outcome: Outcome, reason: Reason = Reason.SILENCE, **more) -> Result:
    return Result(check=made, evidence=None, verdict=verdict(outcome, reason, **more))


def distance(place: Place | None) -> int | None:
    return None if place is None else place.distance
