"""What an answer of the collector means for the batch that was sent. Pure: an answer in, one of five steps out."""

from __future__ import annotations

from typing import Literal

from roomprobe.model import Frozen
from roomprobe.net.https import Answer
from roomprobe.sinks.backoff import retry_after
from roomprobe.text import escape
from roomprobe.wire import reply
from roomprobe.wire.reader import Malformed


class Delivered(Frozen, frozen=True, kw_only=True):
    """All of the batch is stored."""

    receipt: reply.Receipt


class Halve(Frozen, frozen=True, kw_only=True):
    """The batch, or something in it, is not accepted: half of it at once; a single record is set aside with the sentence."""

    sentence: str


class Faulty(Frozen, frozen=True, kw_only=True):
    """These lines (by index) will never be accepted, each for its reason; the others may be sent again at once."""

    lines: dict[int, str]


class Later(Frozen, frozen=True, kw_only=True):
    """Nothing was stored; all is kept. `retry_after` in seconds where the collector named them. `sent`: it may have heard of the batch."""

    sentence: str
    retry_after: float | None = None
    sent: bool = True


class Refused(Frozen, frozen=True, kw_only=True):
    """This agent is not let in; all is kept, and the next try is a long time away."""

    sentence: str


Step = Delivered | Halve | Faulty | Later | Refused

_REFUSALS: dict[int, str] = {
    401: "The collector does not know this agent's token (401); enrol this box again",
    403: "The collector has revoked this agent's token, or it belongs to another agent (403); enrol this box again",
}


def step(answer: Answer, count: int) -> Step:
    """The next step after `answer` to a batch of `count` records. Whatever is unexpected keeps everything."""
    problem = _problem(answer)
    said = f": {escape(problem.detail, 300)}" if problem and problem.detail else ""
    match answer.status:
        case 200:
            return _receipt(answer, count)
        case 401 | 403:
            return Refused(sentence=f"{_REFUSALS[answer.status]}{said}".rstrip(".") + ".")
        case 413:
            return Halve(sentence=f"Too large for the collector (413){said}".rstrip(".") + ".")
        case 422 if problem is not None:
            lines = {fault.index: escape(fault.detail, 300) for fault in problem.records if fault.index < count}
            return Faulty(lines=lines) if lines else Halve(sentence=f"Not accepted (422){said}".rstrip(".") + ".")
        case 429:
            what: Literal["asks to wait", "cannot store now"] = "asks to wait"
        case status if status >= 500:
            what = "cannot store now"
        case status if 300 <= status < 400:
            return Later(sentence=f"The collector's address leads elsewhere ({status}), which is not followed.")
        case status:
            return Later(sentence=f"What answers is not this version's collector ({status}){said}".rstrip(".") + ".")
    sentence = f"The collector {what} ({answer.status}){said}".rstrip(".") + "."
    return Later(sentence=sentence, retry_after=retry_after(answer.headers))


def _receipt(answer: Answer, count: int) -> Step:
    try:
        receipt = reply.parse_receipt(answer.body)
    except Malformed:
        return Later(sentence="What answers is not the collector (200 without a receipt).")
    if receipt.stored + receipt.repeated != count:
        return Later(sentence="The collector's receipt is for another number of records than were sent.")
    return Delivered(receipt=receipt)


def _problem(answer: Answer) -> reply.Problem | None:
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != reply.PROBLEM_TYPE:
        return None
    try:
        return reply.parse_problem(answer.body)
    except Malformed:
        return None
