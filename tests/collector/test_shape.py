"""The compiled schema gives the answer that jsonschema gives, on good documents, broken ones and odd ones."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomprobe.collector import shape
from roomprobe.report.document import document, schema
from tests.report import samples

ORACLE = jsonschema.Draft202012Validator(schema())
DOCUMENTS = [document(getattr(samples, name)()) for name in ("full", "degraded", "broken", "hostile")]
ODD = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    -1,
    1.5,
    10**30,
    "",
    "open",
    "full",
    [],
    {},
    [None],
    {"x": 1},
    "2026-01-01T00:00:00Z",
]


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a JSON value."""
    found = [way]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        found += places(one, (*way, key))
    return found


def spoil(whole: Any, chance: random.Random) -> Any:
    """One change somewhere: another value, a name taken away, a name too many."""
    way = chance.choice([way for way in places(whole) if way and "evidence" not in way[:-1]])
    parent = whole
    for key in way[:-1]:
        parent = parent[key]
    what = chance.randrange(4)
    if what == 0:
        del parent[way[-1]]
    elif what == 1 and isinstance(parent, dict):
        parent["more"] = 1
    elif what == 2 and isinstance(parent, list):
        parent.append(copy.deepcopy(chance.choice(parent)))
    else:
        parent[way[-1]] = copy.deepcopy(chance.choice(ODD))
    return whole


@pytest.mark.parametrize("whole", DOCUMENTS)
def test_reports_fit(whole: dict[str, Any]) -> None:
    assert shape.fault(whole) is None


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(DOCUMENTS), st.randoms(use_true_random=False), st.integers(1, 2))
def test_both_refuse_the_same(whole: dict[str, Any], chance: random.Random, times: int) -> None:
    spoilt = copy.deepcopy(whole)
    for _ in range(times):
        spoilt = spoil(spoilt, chance)
    assert (shape.fault(spoilt) is None) == ORACLE.is_valid(spoilt), json.dumps(spoilt)[:300]


@pytest.mark.parametrize("value", ODD)
def test_what_is_no_document_at_all(value: Any) -> None:
    assert shape.fault(value) is not None


def test_the_place_is_named_and_nothing_is_quoted() -> None:
    whole = copy.deepcopy(DOCUMENTS[0])
    whole["checks"][2]["outcome"] = "<script>"
    assert shape.fault(whole) == "the document is not a report of schema 1: checks[2].outcome is not as it should be"


def test_a_keyword_that_is_not_known_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="uniqueItems"):
        shape.compiled({"uniqueItems": True}, {})
    with pytest.raises(ValueError, match="additionalProperties"):
        shape.compiled({"additionalProperties": True}, {})
