"""The hash covers statements and nothing else, and `between` names what made two hashes differ."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe import changes
from roomprobe.report.document import document
from tests.report import samples


def whole() -> dict[str, Any]:
    return document(samples.degraded())


@pytest.mark.parametrize("name", samples.ALL)
def test_a_document_does_not_differ_from_itself(name: str) -> None:
    one, other = document(samples.ALL[name]()), document(samples.ALL[name]())
    assert changes.outcome_hash(one) == changes.outcome_hash(other)
    assert changes.between(one, other) == ()


def test_the_hash_stays_what_it_is() -> None:
    """Both sides of the wire compute it: another value would make every collector ask for full documents."""
    service = {"profile": "p", "id": "calls", "state": "unknown", "at_least": "degraded", "reason": "silence"}
    check = {"id": "p/F1", "outcome": "open", "reason": "verified", "where": None, "confidence": "proven"}
    small = {"services": [{**service, "where": "beyond"}], "checks": [check]}
    assert changes.outcome_hash(small) == "cd21db93e0573c1123f0a5e310b991db"


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("services", "state", "broken"),
        ("services", "at_least", "full"),
        ("services", "reason", "no-egress"),
        ("services", "where", "jack"),
        ("checks", "outcome", "fault"),
        ("checks", "reason", "resource"),
        ("checks", "where", "this-box"),
        ("checks", "confidence", "none"),
    ],
)
def test_a_statement_is_told_and_hashed(part: str, field: str, value: str) -> None:
    before, after = whole(), whole()
    assert after[part][0][field] != value
    after[part][0][field] = value
    assert changes.outcome_hash(before) != changes.outcome_hash(after)
    (change,) = changes.between(before, after)
    assert (change.kind, change.id) == (part[:-1], before[part][0]["id"])
    assert change.row == before[part][0].get("row") and change.profile == before[part][0]["profile"]
    assert change.before != change.after


def test_numbers_sentences_evidence_and_order_are_not_statements() -> None:
    before, after = whole(), whole()
    for check in after["checks"]:
        check.update(rtt_ms=999.0, sentence="Other words.", evidence=None)
    for service in after["services"]:
        service["sentence"] = "Other words."
    after["run"]["id"] = "another"
    after["checks"].reverse()
    after["services"].reverse()
    assert changes.outcome_hash(before) == changes.outcome_hash(after)
    assert changes.between(before, after) == ()


def test_what_is_new_and_what_is_gone() -> None:
    before, after = whole(), whole()
    gone = after["checks"].pop(0)
    after["checks"].append({**copy.deepcopy(gone), "id": "another"})
    new, lost = changes.between(before, after)
    assert (new.id, new.before) == ("another", None) and new.after is not None
    assert (lost.id, lost.after) == (gone["id"], None) and lost.before is not None
    assert lost.before.word == gone["outcome"] and lost.row == gone["row"]


WORDS = st.sampled_from(["a", "b"])
MAYBE = st.none() | WORDS


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    said = {"reason": WORDS, "where": MAYBE, "confidence": WORDS, "sentence": WORDS, "profile": st.just("p")}
    service = {**said, "id": WORDS, "state": WORDS, "at_least": MAYBE}
    check = {**said, "id": WORDS, "outcome": WORDS, "row": st.just("F1")}

    def some(shape: dict[str, Any]) -> Any:
        return st.lists(st.fixed_dictionaries(shape), max_size=2, unique_by=lambda item: item["id"])

    return {"services": draw(some(service)), "checks": draw(some(check))}


@given(documents(), documents())
def test_nothing_changed_exactly_when_the_hashes_are_the_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    same = changes.outcome_hash(before) == changes.outcome_hash(after)
    assert (changes.between(before, after) == ()) == same
