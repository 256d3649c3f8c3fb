"""Whether an outcome meets its requirement: the table "Meeting a requirement" of docs/vocabulary.md. Pure."""

from __future__ import annotations

from enum import StrEnum

from roomprobe.model import Verdict
from roomprobe.outcome import Outcome, Reason


class Meets(StrEnum):
    """What a check says about its requirement."""

    MET = "met"
    NOT_MET = "not-met"
    CANNOT_TELL = "cannot-tell"
    LEFT_OUT = "left-out"


_TABLE = {
    Outcome.OPEN: Meets.MET,
    Outcome.REACHED: Meets.MET,
    Outcome.PASSES: Meets.MET,
    Outcome.CLOSED: Meets.NOT_MET,
    Outcome.FILTERED: Meets.NOT_MET,
    Outcome.REJECTED: Meets.NOT_MET,
    Outcome.INTERCEPTED: Meets.NOT_MET,
    Outcome.NO_TARGET: Meets.NOT_MET,
    Outcome.REFUSED: Meets.CANNOT_TELL,
    Outcome.UNANSWERED: Meets.CANNOT_TELL,
    Outcome.FAULT: Meets.CANNOT_TELL,
    Outcome.SKIPPED: Meets.LEFT_OUT,
}
# Skipped for these reasons means that the question stands: leaving it out would claim more than was seen.
_STILL_ASKED = frozenset({Reason.PRIVILEGE, Reason.TIME, Reason.INTERRUPTED})


def meets(verdict: Verdict) -> Meets:
    """The requirement's state by this verdict alone."""
    if verdict.outcome is Outcome.SKIPPED and verdict.reason in _STILL_ASKED:
        return Meets.CANNOT_TELL
    return _TABLE[verdict.outcome]
