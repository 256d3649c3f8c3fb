"""What it means that a connection did not last while it was held idle. Pure.

The emulated codec can be asked what it thinks of the connection; a real one cannot.
"""

from __future__ import annotations

from roomprobe.link.evidence import Hold
from roomprobe.model import Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.refusals import untold


def seconds(hold: Hold | None) -> str:
    """How long was asked for, in words."""
    value = hold.asked_s if hold is not None else 0.0
    return f"{value:g} second{'' if value == 1 else 's'}"


def emulated(what: str, hold: Hold) -> Verdict:
    """A connection to the emulator that did not last."""
    if hold.end == "unproven":
        return untold(
            Outcome.UNANSWERED,
            Reason.NOT_A_CODEC,
            f"Cannot tell: {what} answers like the emulated codec, but did not keep to the exchange while it was held.",
        )
    if hold.again == "restarted":
        return untold(
            Outcome.UNANSWERED,
            Reason.CODEC_RESTARTED,
            f"Cannot tell: {what} was open, but the codec side restarted {hold.after_s:.0f} s into the hold. Run it again.",
            Where.FAR_END,
        )
    if hold.again == "refused":
        return untold(
            Outcome.UNANSWERED,
            Reason.RESET,
            f"Cannot tell: {what} was open and was lost {hold.after_s:.0f} s into the hold, and new connections are refused or ended "
            "since: the codec side's program ended, or something between ends them.",
        )
    if hold.again == "silent":
        return untold(
            Outcome.UNANSWERED,
            Reason.SILENCE,
            f"Cannot tell: {what} was open and was lost {hold.after_s:.0f} s into the hold, and the codec side answers on no new "
            "connection since: it was switched off, its program hangs, or the link broke.",
        )
    if hold.far_side == "open" and hold.end in ("silent", "reset"):
        how = "silently dropped" if hold.end == "silent" else "reset"
        return Verdict(
            outcome=Outcome.FILTERED if hold.end == "silent" else Outcome.REJECTED,
            confidence=Confidence.PROVEN,
            reason=Reason.IDLE_TIMEOUT,
            where=Where.LAN,
            sentence=f"{what} is open, but an idle connection does not last {hold.asked_s:g} s: it was {how} on the way, while "
            "the codec side still holds it and takes new ones. A switch or firewall between forgets idle connections.",
        )
    ended = "lost in silence" if hold.end == "silent" else hold.end
    return untold(
        Outcome.UNANSWERED,
        Reason.IDLE_TIMEOUT,
        f"Cannot tell: {what} was open, but the held connection was {ended} after {hold.after_s:.0f} s.",
    )


def real(what: str, hold: Hold | None) -> Verdict | None:
    """The same against a real codec, which cannot be asked what it thinks; None when there is nothing to say."""
    if hold is None or hold.end in ("alive", "unproven", "stopped"):
        return None
    if hold.end == "silent":
        sentence = (
            f"Cannot tell: {what} was open, but after {hold.asked_s:g} s without traffic nobody acknowledged it any more: the codec "
            "went off, or something between forgot the connection."
        )
        return untold(Outcome.UNANSWERED, Reason.IDLE_TIMEOUT, sentence)
    sentence = (
        f"Cannot tell: {what} was open and was {hold.end} after {hold.after_s:.0f} s: the codec ended it (it may serve one controller "
        "only), or something between did. Nothing more was tried."
    )
    return untold(Outcome.UNANSWERED, Reason.CODEC_BUSY, sentence)
