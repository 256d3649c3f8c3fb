"""Receipts and problem documents: what is built is read back; anything else is Malformed."""

from __future__ import annotations

import json

import pytest

from roomprobe.wire import reply
from roomprobe.wire.reader import Malformed
from roomprobe.wire.reply import Fault, Problem, Receipt


def test_a_receipt_comes_back() -> None:
    receipt = Receipt(stored=3, repeated=0, want_full=True, time="2026-11-20T14:03:00.125Z")
    assert reply.parse_receipt(reply.build_receipt(receipt)) == receipt


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"stored":1}', b"[]", b"x" * 70_000])
def test_what_is_no_receipt_acknowledges_nothing(body: bytes) -> None:
    with pytest.raises(Malformed):
        reply.parse_receipt(body)


def test_a_problem_comes_back_and_spells_its_type_out() -> None:
    problem = Problem(title="Unprocessable", status=422, detail="One.", records=(Fault(index=0, detail="no"),))
    body = reply.build_problem(problem)
    assert reply.parse_problem(body) == problem
    assert json.loads(body)["type"] == "about:blank"
    assert reply.parse_problem(b'{"title": "x", "status": 500, "instance": "/x"}').records == ()


def test_a_problem_is_never_too_long_to_be_read() -> None:
    faults = tuple(Fault(index=index, detail="x" * 900) for index in range(2_000))
    read = reply.parse_problem(reply.build_problem(Problem(title="t", status=422, records=faults)))
    assert 0 < len(read.records) < 2_000 and read.records == faults[: len(read.records)]
