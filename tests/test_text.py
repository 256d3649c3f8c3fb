"""Text from outside is harmless once escaped, and tables line up."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.text import escape, table


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("Boardroom 4 · Ünïcode", "Boardroom 4 · Ünïcode"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines\ttab", "two\\x0alines\\x09tab"),
        ("a\u202eb", "a\\u202eb"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\udcff"),
        ("\U000e0001", "\\U000e0001"),
        ("", ""),
    ],
)
def test_escape(given_text: str, shown: str) -> None:
    assert escape(given_text) == shown


def test_escape_is_cut_with_a_mark_and_never_inside_an_escape() -> None:
    assert escape("x" * 300) == "x" * 199 + "…"
    assert escape("x" * 200) == "x" * 200
    assert escape("\x00" * 3, limit=10) == "\\x00\\x00…"


@given(st.text(), st.integers(min_value=1, max_value=60))
def test_escape_is_bounded_and_harmless(text: str, limit: int) -> None:
    shown = escape(text, limit)
    assert len(shown) <= limit
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_table_lines_up_and_escapes() -> None:
    assert table(("a", "b"), [("long", "x"), ("\x07", "")]) == "a     b\nlong  x\n\\x07"
