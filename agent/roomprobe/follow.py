"""Which paths to follow after the first verdicts: the ladders of every address where something failed. Pure.

A suspect is a check that failed; a control is the best other traffic that the same address offers to hold it against.
"""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe import verdict
from roomprobe.facts import Facts
from roomprobe.link.evidence import ControllerEvidence
from roomprobe.model import Result
from roomprobe.net.flow import FlowSpec
from roomprobe.outcome import Outcome, Reason
from roomprobe.site import on_link

CONTROL_PORT = 33434  # where traceroute begins; asked only as a control when nothing else at an address answers


def flows(first: Sequence[Result], facts: Facts, standing: Sequence[Result] = ()) -> dict[str, tuple[FlowSpec, ...]]:
    """Which ladders to take towards which address: the suspects, and the best controls that the same address offers.

    `standing` are the last values of what was not asked this time: never suspects, but controls. TCP is one even where it did not
    work: a firewall that drops all UDP looks like no way out until TCP was seen to end there, too.
    """
    wanted: dict[str, tuple[FlowSpec, ...]] = {}
    for address in dict.fromkeys(r.check.address for r in first if _far(r, facts)):
        mine = [r for r in first if r.check.address == address and r.check.via == "direct"]
        others = [r for r in standing if r.check.address == address and r.check.via == "direct"]
        wanted[address or ""] = tuple(_specs(mine, others))
    return wanted


def _far(result: Result, facts: Facts) -> bool:
    """Whether there is a path to follow; a codec that is a neighbour has none, and is spared the packets."""
    check = result.check
    near = check.kind == "controller" and check.address is not None and on_link(check.address, facts)
    return not near and verdict.needs_path(check, result.verdict)


def _specs(mine: Sequence[Result], standing: Sequence[Result]) -> list[FlowSpec]:
    specs: dict[tuple[str, int, str | None], FlowSpec] = {}

    def add(transport: str, port: int, payload: str | None, role: str, answering: bool = False) -> None:
        spec = FlowSpec(transport=transport, port=port, payload=payload, role=role, answering=answering)
        specs.setdefault(spec.key, spec)

    for result in mine:
        check, seen = result.check, result.verdict
        if not verdict.needs_path(check, seen):
            continue
        udp = check.transport == "udp"
        add(check.transport or "udp", check.port or 0, "opaque" if udp else None, "suspect")
        if seen.reason is Reason.NATIVE_ONLY:
            for exchange in result.evidence.exchanges[1:]:
                if exchange.valid:
                    add("udp", check.port or 0, exchange.payload, "control", answering=True)
    good = [r for r in mine if r.verdict.outcome is Outcome.OPEN and not _real_codec(r)]
    others = [r for r in standing if r.check.kind not in ("dns", "controller")]
    good += [r for r in others if r.verdict.outcome is Outcome.OPEN]
    for result in [r for r in good if r.check.transport == "tcp"][:1]:
        add("tcp", result.check.port or 0, None, "control")
    for result in [r for r in good if r.check.transport == "udp"][:1]:
        add("udp", result.check.port or 0, "opaque", "control", answering=True)
    if not any(spec.role == "control" for spec in specs.values()):
        add("udp", CONTROL_PORT, "opaque", "control")
        for result in [r for r in others if r.check.transport == "tcp"][:1]:
            add("tcp", result.check.port or 0, None, "control")
    return list(specs.values())


def _real_codec(result: Result) -> bool:
    """A live room's codec is never connected to more often than its one check does."""
    return isinstance(result.evidence, ControllerEvidence) and result.evidence.emulator is None
