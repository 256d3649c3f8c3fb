"""The escape that everything printed goes through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.text import escape


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain, Löwe, 日本", "plain, Löwe, 日本"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb\x7f\x9b", "a\\x0d\\x0ab\\x7f\\x9b"),
        ("x\u202ey\u2066", "x\\u202ey\\u2066"),
        ("\ud800", "\\ud800"),
    ],
)
def test_unsafe_characters_are_shown_as_escapes(raw: str, shown: str) -> None:
    assert escape(raw) == shown


def test_long_text_is_cut() -> None:
    assert escape("a" * 200) == "a" * 200
    assert escape("a" * 10_000) == "a" * 199 + "…"


@given(st.text(alphabet=st.characters()), st.integers(5, 50))
def test_never_unsafe_never_too_long_and_the_same_twice(raw: str, limit: int) -> None:
    shown = escape(raw, limit)
    assert len(shown) <= limit
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert escape(shown, limit) == shown
