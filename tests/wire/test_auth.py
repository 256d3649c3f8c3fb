"""The JSON at /auth: the documented shape, tables of others, and any bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.wire import auth
from roomprobe.wire.reader import Malformed

GOOD: dict[str, Any] = {"salt": "00ffA1", "iterations": 10_000, "challenge": "c0ffee", "authenticated": False}


def body(**changed: Any) -> bytes:
    return json.dumps({k: v for k, v in {**GOOD, **changed}.items() if v is not ...}).encode()


def test_a_body_is_built_and_read() -> None:
    built = auth.build("00ff", 10_000, "c0ffee")
    assert json.loads(built) == {"salt": "00ff", "iterations": 10_000, "challenge": "c0ffee", "authenticated": False}
    found = auth.parse(built)
    assert (found.salt, found.iterations, found.challenge, found.authenticated) == ("00ff", 10_000, "c0ffee", False)


def test_the_documented_shape_with_more_in_it() -> None:
    found = auth.parse(body(session="x", authenticated=True, more=[{"a": None}], salt="ab" * 128, challenge="no hex"))
    assert found.authenticated and found.challenge == "no hex"


@pytest.mark.parametrize("iterations", [1, 10_000_000])
def test_bounds_of_iterations(iterations: int) -> None:
    assert auth.parse(body(iterations=iterations)).iterations == iterations


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no object": b"[]",
    "a web page": b"<!doctype html>",
    "cut": body()[:-1],
    "too much": body() + b"x",
    "too long": body(more="x" * 4096),
    "deep": b"[" * 4000,
    "deep in an unknown key": b'{"x":' + b"[" * 4000,
    "not UTF-8": b'{"salt": "\xff"}',
    "half a surrogate": b'{"salt": "\\ud800"}',
    **{f"no {key}": body(**{key: ...}) for key in GOOD},
    **{f"{key} null": body(**{key: None}) for key in GOOD},
    "salt no hex": body(salt="xyz0"),
    "salt of an odd length": body(salt="abc"),
    "salt empty": body(salt=""),
    "salt too long": body(salt="ab" * 129),
    "salt a number": body(salt=12),
    "salt of other digits": body(salt="٣٣"),
    "challenge empty": body(challenge=""),
    "challenge too long": body(challenge="a" * 257),
    "challenge with an escape": body(challenge="\x1b[31m"),
    "challenge not ASCII": body(challenge="é"),
    "iterations zero": body(iterations=0),
    "iterations too many": body(iterations=10_000_001),
    "iterations huge": body(iterations=10**400),
    "iterations text": body(iterations="10"),
    "iterations half": body(iterations=1.5),
    "iterations true": body(iterations=True),
    "authenticated a number": body(authenticated=0),
}


@pytest.mark.parametrize("name", BAD)
def test_another_body_is_malformed(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        auth.parse(BAD[name])
    assert len(str(caught.value)) < 100


VALUES = st.text("0aF\x1b é", max_size=6) | st.integers() | st.booleans()


@given(
    st.binary(max_size=300) | st.dictionaries(st.sampled_from(list(GOOD)), VALUES).map(lambda x: json.dumps(x).encode())
)
def test_any_body(data: bytes) -> None:
    try:
        auth.parse(data)
    except Malformed as error:
        assert len(str(error)) < 100
