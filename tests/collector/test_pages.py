"""What the pages say, without a browser: the answer of the check page, strips of time, words, and how a page is sent."""

from __future__ import annotations

import pytest

from roomprobe.collector.pages import check, fleet, frame, strip, told, words
from roomprobe.collector.pages.reads import Site, Spread
from roomprobe.collector.views import Interval
from roomprobe.outcome import Outcome, Reason, State, Where
from roomprobe.report.document import document
from tests.collector.conftest import Running
from tests.collector.test_access import session
from tests.report import samples


def spread(met: int = 0, not_met: int = 0, cannot_tell: int = 0, only: str | None = None, *sites: Site) -> Spread:
    return Spread(
        met=met, not_met=not_met, cannot_tell=cannot_tell, left_out=0, silent=0, only=only, sites=tuple(sites)
    )


def site(name: str, met: int, not_met: int) -> Site:
    return Site(site=name, met=met, not_met=not_met, cannot_tell=0, silent=0)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (spread(), "No room that is heard"),
        (spread(3), "It is met in all 3 rooms."),
        (spread(3, 0, 2), "It is met in 3 of 5 rooms. In 2 it cannot be told."),
        (spread(0, 1, 0, "A"), "It is not met in the only room"),
        (spread(4, 1, 0, "A"), "It is one room: A. In 4 rooms it is met."),
        (spread(0, 5), "It is not met in any of the 5 rooms: it is not one room."),
        (spread(5, 2, 0, None, site("L", 0, 2), site("P", 5, 0)), "It is one site: L, all rooms of this site"),
        (spread(5, 2, 0, None, site("L", 1, 2), site("P", 4, 0)), "It is one site: L, some of its rooms."),
        (spread(4, 2, 0, None, site("L", 2, 1), site("P", 2, 1)), "It is not met in 2 of 6 rooms."),
    ],
)
def test_one_room_or_everybody(given: Spread, answer: str) -> None:
    assert check.verdict(given).startswith(answer)


def interval(since: int, until: int | None, outcome: str) -> Interval:
    more = {"confidence": None, "reason": "all-met", "where": None, "at_least": None, "sentence": None}
    return Interval(id=1, since=since, until=until, outcome=outcome, **more)


def test_times_without_a_run_are_cut_out_of_what_was_said() -> None:
    lay = strip.lay("service", [interval(0, 50, "full"), interval(50, None, "broken")], [(20, 30), (90, 100)], 0, 100)
    assert [(piece.since, piece.until, piece.look.word) for piece in lay.pieces] == [
        *((0, 20, "full"), (20, 30, "no runs"), (30, 50, "full")),
        *((50, 90, "broken"), (90, 100, "no runs")),
    ]
    assert [(look.word, ms) for look, ms in lay.totals] == [("full", 40), ("broken", 40), ("no runs", 20)]
    assert (lay.pieces[1].x, lay.pieces[1].width) == (200.0, 100.0)


def test_every_word_of_the_vocabulary_has_a_look() -> None:
    for outcome in Outcome:
        assert words.outcome(outcome).sign and words.outcome(outcome).word == outcome
    for state in State:
        assert words.state(state).css != "untold" or state is State.UNKNOWN
    assert {words.where(where) for where in Where}.isdisjoint(set(Where) - {Where.UNKNOWN})
    assert words.reason(Reason.NO_EGRESS) == "no egress" and words.reason("of another release") == "of another release"
    assert words.outcome("of another release").css == "untold" and words.state("odd").css == "untold"


@pytest.mark.parametrize("name", ["full", "degraded", "broken"])
def test_a_stored_report_is_told_as_the_terminal_tells_it(name: str) -> None:
    report = samples.ALL[name]()
    again = told.report(document(report))
    assert again is not None
    assert [line.proof for line in told.lines(again)] == [line.proof for line in told.lines(report)]
    assert [line.target for line in told.lines(again)] == [line.target for line in told.lines(report)]
    assert again.host.addresses == report.host.addresses
    assert told.report({"schema": 1}) is None


def test_pages_that_are_offered() -> None:
    assert fleet.around(1, 1) == (1,)
    assert fleet.around(50, 100) == (1, 0, 48, 49, 50, 51, 52, 0, 100)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 s"), (59_999, "59 s"), (3_600_000, "1 h"), (4_500_000, "1 h 15 min"), (9 * 86_400_000, "9 days")],
)
def test_lengths_of_time(ms: int, text: str) -> None:
    assert frame.span(ms) == text


async def test_a_page_that_did_not_change_is_not_sent_again(server: Running) -> None:
    headers, csrf = await session(server)
    async with server.http.get(f"{server.url}/", headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == "deflate" or answer.headers["Content-Encoding"] == "gzip"
        assert csrf not in await answer.text()
        tag = answer.headers["ETag"]
    async with server.http.get(f"{server.url}/", headers={**headers, "If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with server.http.get(f"{server.url}/shares", headers=headers) as answer:
        assert "Content-Encoding" not in answer.headers and csrf in await answer.text()
    assert (
        await server.http.post(f"{server.url}/shares", headers=headers, data={"label": "x", "days": "3"})
    ).status == 403


async def test_room_names_of_every_kind_are_reached(server: Running) -> None:
    headers, _ = await session(server)
    for name in ("{braces}", "a/b", "100 %", "a?b#c", "../x", "line\nbreak", "ü\u202e", "{{7*7}}"):
        await server.enrol(name)
        async with server.http.get(f"{server.url}{frame.room_url(name)}", headers=headers) as answer:
            assert answer.status == 200, name
        assert (await server.get(f"/v1{frame.room_url(name)}"))["now"]["room"] == name
