"""Checks, plans and results for the daemon's tests."""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe.model import Check, Plan, Result, Skip, Verdict
from roomprobe.outcome import Confidence, Need, Outcome, Reason


def check(
    row: str, interval_s: int = 0, *, kind: str = "tcp", host: str = "far.example", address: str | None = None,
    skip: Skip | None = None,
) -> Check:  # fmt: skip
    return Check(
        id=f"p/{row}/{host}/{address or '*'}/tcp/443",
        profile="p",
        row=row,
        purpose="test",
        document="d",
        services=("calls",),
        need=Need.REQUIRED,
        kind=kind,
        transport="udp" if kind == "dns" else "tcp",
        host=host,
        address=address,
        port=53 if kind == "dns" else 443,
        min_interval_s=interval_s,
        skip=skip,
    )


def plan(*checks: Check) -> Plan:
    return Plan(profiles=(), checks=checks)


def result(
    of: Check, outcome: Outcome = Outcome.OPEN, *, reason: Reason = Reason.ANSWERED, rtt_ms: float | None = 1.0
) -> Result:
    verdict = Verdict(outcome=outcome, confidence=Confidence.PROVEN, reason=reason, sentence="x", rtt_ms=rtt_ms)
    return Result(check=of, evidence=None, verdict=verdict)


def outcomes(results: Sequence[Result]) -> list[str]:
    return [r.verdict.outcome.value for r in results]
