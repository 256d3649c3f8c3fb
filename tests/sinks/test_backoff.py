"""Waits after failures: anywhere in the interval, bounded, and Retry-After in both of its forms."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.sinks.backoff import Backoff, retry_after


def test_full_jitter_doubles_up_to_five_minutes() -> None:
    waits: list[list[float]] = [[] for _ in range(12)]
    for seed in range(400):
        backoff = Backoff(random.Random(seed))
        for step in waits:
            step.append(backoff.failed())
    bounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    for step, bound in zip(waits, bounds, strict=True):
        assert 0 <= min(step) < bound * 0.05 and bound * 0.95 < max(step) <= bound


def test_success_begins_anew() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(8):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failed() <= 1 and backoff.failures == 1


def test_a_refusal_waits_long_and_a_million_failures_do_not_overflow() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.refused() for _ in range(10)]
    assert 30 <= waits[0] <= 60 and 1800 <= waits[9] <= 3600
    backoff.failures = 10**6
    assert backoff.failed() <= 300 and backoff.refused() <= 3600


def test_what_the_collector_names_is_the_least_and_bounded() -> None:
    backoff = Backoff(random.Random(1))
    assert 120 <= backoff.failed(120) <= 121
    assert backoff.failed(10**9) <= 3602


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("9" * 30, None),
    ],
)
def test_retry_after(told: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": told, "date": "Sat, 21 Nov 2026 12:00:00 GMT"}) == seconds


def test_a_date_without_a_date_to_hold_it_against_is_not_used() -> None:
    """This box's own clock may be wrong by years."""
    assert retry_after({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_header(told: str, date: str) -> None:
    found = retry_after({"retry-after": told, "date": date})
    assert found is None or found >= 0
