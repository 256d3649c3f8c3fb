"""What a collector says to an upload or an enrolment: the receipt, or a problem document (RFC 9457). The page is docs/upload.md."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from roomprobe.model import Frozen
from roomprobe.wire.reader import Malformed
from roomprobe.wire.upload import MOST_RECORDS, NOT_JSON, Time, TooLarge

MOST_PROBLEM = 64 << 10  # bytes of a receipt or a problem document
PROBLEM_TYPE = "application/problem+json"

Answer = TypeVar("Answer", "Receipt", "Problem")


class Receipt(Frozen, frozen=True, kw_only=True):
    """200: so many records stored now, so many known before. `want_full`: the document behind a hash is wanted."""

    stored: Annotated[int, msgspec.Meta(ge=0, le=MOST_RECORDS)]
    repeated: Annotated[int, msgspec.Meta(ge=0, le=MOST_RECORDS)]
    want_full: bool
    time: Time


class Fault(Frozen, frozen=True, kw_only=True):
    """What is wrong with one record; `index` counts the lines of the upload from 0."""

    index: Annotated[int, msgspec.Meta(ge=0, lt=MOST_RECORDS)]
    detail: Annotated[str, msgspec.Meta(max_length=1000)]


class Problem(Frozen, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457 3.1). `detail` is one sentence for people; `records` only with 422."""

    title: Annotated[str, msgspec.Meta(max_length=200)]
    status: Annotated[int, msgspec.Meta(ge=100, le=599)]
    type: Annotated[str, msgspec.Meta(max_length=200)] = "about:blank"
    detail: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    records: Annotated[tuple[Fault, ...], msgspec.Meta(max_length=MOST_RECORDS)] = ()


def build_receipt(receipt: Receipt) -> bytes:
    """The body of a 200."""
    return msgspec.json.encode(receipt)


def parse_receipt(body: bytes) -> Receipt:
    """The body of a 200; Malformed for anything else: nothing may count as acknowledged then."""
    return _answer(body, Receipt)


def build_problem(problem: Problem) -> bytes:
    """The body of an error, `type` spelt out; never longer than MOST_PROBLEM (records are left out from the end)."""
    plain: dict[str, Any] = {"type": problem.type, **msgspec.to_builtins(problem)}
    body = msgspec.json.encode(plain)
    while len(body) > MOST_PROBLEM and plain.get("records"):
        plain["records"] = plain["records"][: len(plain["records"]) // 2]
        body = msgspec.json.encode(plain)
    return body


def parse_problem(body: bytes) -> Problem:
    """A problem document; Malformed when it is none."""
    return _answer(body, Problem)


def _answer(body: bytes, what: type[Answer]) -> Answer:
    if len(body) > MOST_PROBLEM:
        raise TooLarge(f"an answer longer than {MOST_PROBLEM} bytes")
    try:
        return msgspec.json.decode(body, type=what)
    except NOT_JSON:
        raise Malformed("not the answer of a collector") from None
