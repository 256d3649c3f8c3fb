"""docs/vocabulary.md against outcome.py: every word, in order, with a meaning."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from roomprobe.meets import Meets, meets
from roomprobe.model import Verdict
from roomprobe.outcome import Confidence, Need, Outcome, Reason, State, Where

PAGE = (Path(__file__).parents[2] / "docs" / "vocabulary.md").read_text(encoding="utf-8")


def section(title: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its two head lines."""
    body = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", body, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[0].splitlines()[2:]]


@pytest.mark.parametrize("words", [Outcome, Confidence, Where, State, Need, Reason])
def test_every_word_has_a_meaning(words: type[StrEnum]) -> None:
    rows = section(words.__name__)
    assert [row[0] for row in rows] == [f"`{word.value}`" for word in words]
    assert all(len(row[1]) > 3 for row in rows)


def test_the_page_has_no_other_list() -> None:
    assert PAGE.count("\n## ") == 6


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.SKIPPED])
def test_the_page_says_what_an_outcome_meets(outcome: Outcome) -> None:
    verdict = Verdict(outcome=outcome, confidence=Confidence.NONE, reason=Reason.SILENCE, sentence="")
    words = {Meets.MET: "met,", Meets.NOT_MET: "not met", Meets.CANNOT_TELL: "cannot tell"}
    rows = PAGE.split("What an outcome says about its requirement:")[1].split("\n## ")[0]
    (line,) = [row for row in rows.splitlines() if f"`{outcome.value}`" in row]
    assert line.split("|")[2].strip().startswith(words[meets(verdict)])
