"""The page for people, held as golden text. `ROOMPROBE_REGENERATE=1 pytest tests/report` writes the files anew."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from roomprobe import runner
from roomprobe.model import Hop, Place
from roomprobe.outcome import Outcome, Reason, State
from roomprobe.report import table, terminal
from roomprobe.report.page import Page, for_encoding
from roomprobe.report.run import Report
from tests.report import samples

GOLDEN = Path(__file__).parent / "golden"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("name", samples.ALL)
def test_page_is_as_agreed(name: str, width: int) -> None:
    page = terminal.render(samples.ALL[name](), width)
    golden = GOLDEN / f"{name}-{width}.txt"
    if os.environ.get("ROOMPROBE_REGENERATE"):
        golden.write_text(page, encoding="utf-8")
    assert page == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("name", samples.ALL)
def test_page_keeps_to_its_width_and_holds_nothing_unsafe(name: str, width: int) -> None:
    page = terminal.render(samples.ALL[name](), width)
    assert max(map(len, page.splitlines())) <= width
    assert not [c for c in page if c != "\n" and unicodedata.category(c)[0] in "CZ" and c != " "]


@pytest.mark.parametrize("name", samples.ALL)
def test_colour_changes_no_word(name: str) -> None:
    plain = terminal.render(samples.ALL[name](), 80)
    coloured = terminal.render(samples.ALL[name](), 80, colour=True)
    assert coloured != plain
    assert ANSI.sub("", coloured) == plain


def test_answer_comes_first_and_the_worst_service_leads() -> None:
    lines = [line for line in terminal.render(samples.broken(), 80).splitlines() if line]
    assert lines[0].startswith("Boardroom 4 · starleaf · acme")
    assert lines[1] == "  Calls will not work."


def test_quality_is_said_once_and_only_with_full() -> None:
    assert terminal.render(samples.full(), 80).count("Quality was not measured.") == 1
    assert "Quality" not in terminal.render(samples.broken(), 80)


@pytest.mark.parametrize("width", range(60, 101, 5))
def test_long_cells_keep_to_the_width(width: int) -> None:
    results = []
    for number in range(3):
        result = samples.tls("F2", "a-rather-long-organisation.call.sl", Outcome.OPEN, Reason.VERIFIED, rtt_ms=123.0)
        check = msgspec.structs.replace(
            result.check, port=40_000 + number, purpose="tunnel over TCP, the last choice of all"
        )
        results.append(msgspec.structs.replace(result, check=check))
    page = terminal.render(samples.report((), tuple(results)), width)
    assert max(map(len, page.splitlines())) <= width
    assert page.count("as above") == 2


def test_a_long_purpose_is_wrapped_never_cut() -> None:
    result = samples.udp("F3", Outcome.UNANSWERED, Reason.SILENCE)
    check = msgspec.structs.replace(result.check, purpose="tunnel over UDP, the first choice of the room system")
    page = terminal.render(samples.report((), (msgspec.structs.replace(result, check=check),)), 80)
    assert "…" not in page
    assert page.count("choice of the room") == 1


def test_a_time_under_a_millisecond_is_not_zero() -> None:
    result = samples.udp("F3", Outcome.OPEN, Reason.ANSWERED, rtt_ms=0.2)
    assert "<1 ms" in terminal.render(samples.report((), (result,)), 80)


def test_a_note_is_said_once() -> None:
    report = samples.broken()
    report = msgspec.structs.replace(report, notes=(*report.notes, report.host.vantage.sentence))
    assert terminal.render(report, 200).count("the room system, 10.20.9.10, is in another network") == 1


def test_interrupted_run_says_so() -> None:
    report = samples.full()
    report = msgspec.structs.replace(report, run=msgspec.structs.replace(report.run, interrupted=True))
    assert "Stopped early" in terminal.render(report, 80)


def test_a_run_whose_time_was_over_says_so() -> None:
    late = samples.skipped("F3", "tunnel", runner.OUT_OF_TIME.reason, runner.OUT_OF_TIME.sentence, "calls")
    page = terminal.render(samples.report((), (late,)), 80)
    assert "Stopped early, at the end of its time (--timeout)" in page
    assert "not tested: F3 (tunnel): This was not done: the time" in page
    assert "Stopped early" not in terminal.render(samples.full(), 80)


def test_two_names_of_one_row_that_were_not_tested_both_stand() -> None:
    results = tuple(
        samples.skipped("F0", purpose, Reason.NOT_CONFIGURED, "This box has no resolver.", "calls")
        for purpose in ("first name", "second name")
    )
    page = terminal.render(samples.report((), results), 80)
    assert "not tested: F0 (first name), F0 (second name): This box has no resolver." in page


def test_what_this_release_cannot_test_stands_in_one_entry() -> None:
    results = tuple(
        samples.skipped(row, f"purpose {row}", Reason.NOT_IN_RELEASE, f"a long reason of {row}", "calls")
        for row in ("F8", "F9", "P1", "P1")
    )
    page = terminal.render(samples.report((), results), 80)
    assert page.count("not tested:") == 1 and "long reason" not in page
    assert "F8 (purpose F8), F9 (purpose F9), P1 (purpose P1): not in this release" in re.sub(r"\s+", " ", page)


def test_nothing_tested_claims_nothing() -> None:
    page = terminal.render(samples.report(samples.NOT_TESTED, samples.SKIPPED), 80)
    assert "nothing can be said about this network" in page
    assert "not tested: P2 (administrator role): nothing on the network" in page


def test_rows_not_tested_for_one_reason_share_a_line() -> None:
    why = "eth0 has no link"
    results = [
        samples.skipped(row, "some purpose", Reason.NO_CARRIER, why, "calls") for row in ("F1", "F2", "F3", "F3")
    ]
    assert "  not tested: F1, F2, F3: eth0 has no link\n" in terminal.render(samples.report((), tuple(results)), 80)


def test_time_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    assert "20 Nov 15:03" in terminal.render(samples.full(), 80)


def test_unset_clock_is_said() -> None:
    report = samples.full()
    report = msgspec.structs.replace(report, run=msgspec.structs.replace(report.run, clock_synced=False))
    assert "is not set by a time server" in terminal.render(report, 80)


def test_addresses_that_differ_stand_apart() -> None:
    page = terminal.render(samples.broken(), 80)
    assert "TLS, verified, 203.0.113.10, 203.0.113.11" in page
    assert "203.0.113.12" in page.split("row  purpose")[1]
    assert len([line for line in page.splitlines() if line.startswith("  F1")]) == 2


def test_addresses_blocked_at_different_places_stand_apart() -> None:
    hops = {"203.0.113.10": 1, "203.0.113.11": 3}
    results = [
        samples.udp(
            "F3", Outcome.FILTERED, Reason.PATH_ENDS, address=address, hop=Hop(last_answering=Place(distance=distance))
        )
        for address, distance in hops.items()
    ]
    page = terminal.render(samples.report((), tuple(results)), 80)
    assert "silent behind hop 1, 203.0.113.10" in page
    assert "silent behind hop 3, 203.0.113.11" in page


def test_a_page_escapes_what_nobody_escaped_before() -> None:
    page = Page(80)
    page.add(("\x1b[2J", ""))
    page.flow("a\u202eb", 2)
    assert page.plain() == "\\x1b[2J\n  a\\u202eb\n"


def test_every_reason_of_a_run_check_has_words() -> None:
    reasons = list(Reason)
    services_and_skips = set(reasons[reasons.index(Reason.NOT_IN_RELEASE) : reasons.index(Reason.NOT_TESTED) + 1])
    assert set(table.PROOF) == set(Reason) - services_and_skips
    assert set(table.STYLE) == set(Outcome) - {Outcome.SKIPPED}
    assert set(terminal.STATE_STYLE) == set(State)


def test_ascii_output_loses_nothing() -> None:
    text = for_encoding("Raum Löwe · 3 ms …\n", "ascii")
    assert text == "Raum L\\xf6we - 3 ms ...\n"
    assert for_encoding("Löwe ·", "utf-8") == "Löwe ·"
    assert for_encoding("Löwe", None) == "L\\xf6we"


class Terminal(io.TextIOWrapper):
    """A stream that claims to be a terminal."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def written(report: Report, encoding: str = "utf-8") -> str:
    stream = Terminal(encoding)
    terminal.write(report, stream)
    return stream.text()


def test_write_colours_a_terminal_unless_told_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in written(samples.full())
    monkeypatch.setenv("TERM", "dumb")
    assert written(samples.full()) == terminal.render(samples.full(), 80)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert written(samples.full()) == terminal.render(samples.full(), 80)


def test_write_survives_a_terminal_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for name in samples.ALL:
        assert written(samples.ALL[name](), "ascii").isascii()


def test_plain_text_needs_no_rich() -> None:
    code = (
        "import sys, io; from roomprobe.report import terminal; from tests.report import samples;"
        "terminal.write(samples.full(), io.StringIO()); sys.exit('rich' in sys.modules)"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})
