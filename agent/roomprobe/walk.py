"""The room system's own order of transports, replayed on this run's measurements. Pure.

StarLeaf endpoints try UDP 24704 first, then the others in descending order, then TCP 443 (requirement rows F2-F7). The
endpoint's own timers are unpublished, so the duration is ours and the sentence says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe.meets import Meets, meets
from roomprobe.model import Requirement, Result, Walk, WalkStep
from roomprobe.outcome import Confidence, Outcome

_TIMERS = "the room system's own timers are not published"


def _best(results: Sequence[Result]) -> Result:
    order = (Meets.MET, Meets.CANNOT_TELL, Meets.NOT_MET, Meets.LEFT_OUT)
    return min(results, key=lambda r: (order.index(meets(r.verdict)), r.verdict.confidence != Confidence.PROVEN))


def replay(rows: Sequence[Requirement], results: Sequence[Result]) -> Walk | None:
    """`rows` in the order of the room system. None when none of them was run."""
    steps: list[WalkStep] = []
    doubt: list[str] = []
    found: tuple[str, Confidence] | None = None
    for row in rows:
        mine = [r for r in results if r.check.row == row.id and r.verdict.outcome is not Outcome.SKIPPED]
        if not mine:
            continue
        best = _best(mine)
        transport = f"{row.transport}/{row.port}"
        waited = float(getattr(best.evidence, "duration_s", 0.0)) * 1000
        steps.append(WalkStep(transport=transport, outcome=best.verdict.outcome, waited_ms=round(waited, 1)))
        state = meets(best.verdict)
        if state is Meets.MET:
            found = (transport, best.verdict.confidence)
            break
        if state is Meets.CANNOT_TELL:
            doubt.append(transport)
    if not steps:
        return None
    duration = round(sum(s.waited_ms for s in steps) / 1000, 3)
    took = f"walking there took {duration:.1f} s with our timers; {_TIMERS}"
    if found is None:
        return Walk(steps=tuple(steps), transport=None, confidence=Confidence.NONE, duration_s=duration,
                    sentence=f"No transport is known to work; {took}.")  # fmt: skip
    transport, confidence = found
    if doubt and transport.startswith("tcp/"):
        sentence = f"Media would go over {_words(transport)}, or over {_words(doubt[0])} if that gets through after all; {took}."
        return Walk(
            steps=tuple(steps), transport=None, confidence=Confidence.NONE, duration_s=duration, sentence=sentence
        )
    sure = "would" if confidence is Confidence.PROVEN and not doubt else "would probably"
    return Walk(
        steps=tuple(steps),
        transport=transport,
        confidence=Confidence.INFERRED if doubt else confidence,
        duration_s=duration,
        sentence=f"Media {sure} go over {_words(transport)}; {took}.",
    )


def _words(transport: str) -> str:
    protocol, _, port = transport.partition("/")
    return f"{protocol.upper()} {port}"
