"""The last word on the ports of a codec, once link and path are known: what its ports say of each other. Pure.

A roomprobe at the far end says on which ports it listens: then a silent or refused port is not its doing.
"""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe.facts import Facts
from roomprobe.link import twins, words
from roomprobe.link.evidence import ControllerEvidence, Emulator
from roomprobe.model import Hop, Place, Result, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.rejection import replaced
from roomprobe.site import on_link, where_between

_OWN = "(A firewall on one of the two boxes themselves would look the same.)"
_SILENT = frozenset({Reason.SILENCE, Reason.UNPROVEN})
_STOPPED = frozenset({Outcome.CLOSED, Outcome.REFUSED, Outcome.FILTERED, Outcome.UNANSWERED})


def settle(results: Sequence[Result], facts: Facts) -> tuple[Result, ...]:
    """The results with the final verdicts of ports that took no connection; all others come back unchanged."""
    return twins.doubted([_settled(result, results, facts) for result in results])


def _settled(result: Result, results: Sequence[Result], facts: Facts) -> Result:
    evidence, check = result.evidence, result.check
    if not isinstance(evidence, ControllerEvidence):
        return result
    others = [r for r in results if r.check.address == check.address and isinstance(r.evidence, ControllerEvidence)]
    if result.verdict.reason is Reason.IDLE_TIMEOUT:
        return Result(check=check, evidence=evidence, verdict=_idle(result, others))
    if evidence.connect.result == "connected":
        return result
    far_side = next((r.evidence.emulator for r in others if r.evidence.emulator is not None), None)
    found = None if far_side is None else _with_far_side(result, far_side, facts)
    if found is None and not on_link(check.address or "", facts):
        found = _routed(result, others, facts)
    found = found or result.verdict
    if found.reason is Reason.SIBLING_ANSWERS and _lossy(others):
        found = _lost(result, "gets no answer, but other ports do")
    return Result(check=check, evidence=evidence, verdict=found)


def _idle(result: Result, others: Sequence[Result]) -> Verdict:
    """A firewall that forgets idle connections forgets all that were held alike; where only some died and packets are lost, it is that."""
    held = [r for r in others if r.evidence.hold is not None]
    if not _lossy(held) or not any(r.evidence.hold.end == "alive" for r in held):
        return result.verdict
    return _lost(result, "was open and did not answer after being idle, but other ports did")


def _lossy(results: Sequence[Result]) -> bool:
    """Whether the kernel had to repeat packets on any of these connections."""
    return any(r.evidence.timing is not None and r.evidence.timing.repeats for r in results)


def _lost(result: Result, what: str) -> Verdict:
    sentence = f"Cannot tell: TCP {result.check.port} {what}, and packets are lost on this link, so that may be chance."
    return words.cannot_tell(result.verdict, Reason.LOSS, Where.UNKNOWN, sentence)


def _with_far_side(result: Result, far_side: Emulator, facts: Facts) -> Verdict | None:
    """What the far roomprobe's own list of ports proves; None when it adds nothing."""
    verdict, port = result.verdict, result.check.port
    what = f"TCP {port}"
    if not far_side.listening or verdict.outcome not in _STOPPED or verdict.reason is Reason.STRAY_ROUTER:
        return None
    if port not in far_side.listening:
        return replaced(
            verdict,
            outcome=Outcome.CLOSED,
            confidence=Confidence.PROVEN,
            reason=Reason.PORT_CLOSED,
            where=Where.FAR_END,
            sentence=f"{what} is not played by the roomprobe at the far end (its --ports): nothing listens there.",
        )
    if verdict.outcome in (Outcome.CLOSED, Outcome.REFUSED):
        return replaced(
            verdict,
            outcome=Outcome.REJECTED,
            confidence=Confidence.INFERRED,
            reason=Reason.RESET,
            where=_where(result, facts),
            hop=_gap(result),
            sentence=f"{what} is refused on the way{_behind(verdict)}: a reset comes in the codec's name, while the roomprobe there "
            f"listens on this port. {_OWN}",
        )
    if verdict.outcome is Outcome.UNANSWERED and verdict.reason not in _SILENT:
        return None
    answered = "the roomprobe that plays the codec listens on it and answers on other ports"
    return words.port_filter(what, answered, f"{_behind(verdict)}. {_OWN}", _where(result, facts), _gap(result))


def _routed(result: Result, others: Sequence[Result], facts: Facts) -> Verdict | None:
    """A codec behind a router: what its other ports prove, and what the last router before it could have forged."""
    verdict, what = result.verdict, f"TCP {result.check.port}"
    if verdict.outcome is Outcome.CLOSED:
        return replaced(
            verdict,
            outcome=Outcome.REFUSED,
            confidence=Confidence.NONE,
            reason=Reason.RESET,
            where=Where.UNKNOWN,
            sentence=f"{what} is refused at the codec's distance, in its name: by the codec itself or by the last router before it; which "
            "of them cannot be told from here.",
        )
    answering = [r for r in others if r.verdict.outcome is Outcome.OPEN]
    if verdict.outcome is Outcome.UNANSWERED and verdict.reason in _SILENT and answering:
        answered = f"the codec answers {words.ports(answering)}"
        between = f"{_behind(verdict)}, or in the codec itself."
        return words.port_filter(what, answered, between, _where(result, facts), _gap(result))
    return None


def _gap(result: Result) -> Hop:
    """Where it stops: behind the last device that was heard, before the codec."""
    hop = result.verdict.hop or Hop()
    return Hop(
        last_answering=hop.last_answering or Place(distance=0),
        next_on_control=hop.next_on_control or Place(address=result.check.address),
    )


def _where(result: Result, facts: Facts) -> Where:
    gap = _gap(result)
    if on_link(result.check.address or "", facts):
        return Where.LAN
    return where_between(gap.last_answering, gap.next_on_control, facts)


def _behind(verdict: Verdict) -> str:
    last = verdict.hop.last_answering if verdict.hop is not None else None
    return f", at {last.address} or behind it" if last is not None and last.address is not None else ""
