"""The progress line: only on a terminal, in place, gone at the end."""

from __future__ import annotations

import io

import pytest

from roomprobe.report.progress import Progress


class Screen(io.StringIO):
    """A terminal that remembers; `shown` is what the last line looks like now."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        line = ""
        for piece in self.getvalue().split("\r"):
            line = piece + line[len(piece) :]
        return line.rstrip()


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


def test_line_is_rewritten_in_place() -> None:
    screen = Screen()
    progress = Progress(screen)
    progress.started(20)
    progress.done(12)
    progress.say("tracing the path to acme.call.sl")
    assert screen.shown() == "12 of 20 checks, tracing the path to acme.call.sl …"
    progress.say("")
    assert screen.shown() == "12 of 20 checks …"
    assert "\n" not in screen.getvalue()


def test_nothing_is_left_and_nothing_comes_after() -> None:
    screen = Screen()
    with Progress(screen) as progress:
        progress.started(3)
    assert screen.shown() == ""
    assert screen.getvalue().endswith("\r")
    before = screen.getvalue()
    progress.done(3)
    progress.close()
    assert screen.getvalue() == before


def test_silent_where_nobody_looks() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.started(3)
        progress.say("x")
    assert stream.getvalue() == ""


def test_long_and_hostile_text_stays_on_the_line() -> None:
    screen = Screen()
    progress = Progress(screen)
    progress.say("\x1b[2J\n" + "A" * 500)
    assert len(screen.shown()) == 59
    assert screen.shown().startswith("\\x1b[2J\\x0a")


def test_silent_on_a_terminal_that_cannot_rewrite_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    Progress(screen).started(3)
    assert screen.getvalue() == ""
