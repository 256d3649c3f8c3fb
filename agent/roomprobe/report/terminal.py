"""The report for the person in the room: plain words first, one action, then the proof, then what was not tested.

The text says everything by itself; colour only helps the eye. The table stands in table.py, the rules in rule.py.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
from typing import TextIO

from roomprobe.model import Service
from roomprobe.outcome import Need, Outcome, Reason, State, Where
from roomprobe.report import WORST_FIRST, is_tested, rule, table
from roomprobe.report.page import Page, for_encoding
from roomprobe.report.run import Report
from roomprobe.text import escape

LATER = "not in this release; `roomprobe explain ROW` says why."
QUALITY = "Quality was not measured."
STATE_STYLE = {State.FULL: "bold green", State.DEGRADED: "bold yellow", State.BROKEN: "bold red", State.UNKNOWN: "bold"}
_COUNT = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def render(report: Report, width: int = 80, colour: bool = False) -> str:
    """The report as text, at most `width` columns (60 at least). The text is the same with colour and without."""
    page = Page(max(width, 60))
    _header(page, report)
    _services(page, report)
    _asks(page, report)
    table.draw(page, report)
    _notes(page, report)
    _not_tested(page, report)
    return page.coloured() if colour else page.plain()


def write(report: Report, stream: TextIO) -> None:
    """Renders for `stream`: its width, its encoding, colour on a terminal unless NO_COLOR is set or it is a dumb one."""
    tty = stream.isatty()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    width = min(shutil.get_terminal_size((80, 24)).columns, 120) if tty else 80
    text = render(report, width, colour=tty and not plain)
    stream.write(for_encoding(text, stream.encoding))
    stream.flush()


def _header(page: Page, report: Report) -> None:
    profiles = dict.fromkeys(service.profile for service in report.services)
    who = [report.site.room or report.site.site or "This room", *profiles, report.site.org or ""]
    left = " · ".join(escape(name, 40) for name in who if name)
    right = f"{_local(report.run.started)} · {report.run.duration_s:.1f} s"
    gap = page.width - len(left) - len(right)
    if gap >= 2:
        page.add((left, "bold"), (" " * gap + right, "dim"))
    else:
        page.flow(left, 0, "bold")
        page.add((right, "dim"))
    page.blank()


def _local(started: str) -> str:
    try:
        at = datetime.datetime.fromisoformat(started).astimezone()
    except ValueError:
        return escape(started, 30)
    return f"{at.day} {_MONTHS[at.month - 1]} {at:%H:%M}"


def _services(page: Page, report: Report) -> None:
    """The answer: one block a service, the worst first."""
    if report.run.interrupted:
        page.flow("Stopped early: what follows is only a part.", 2, "bold")
        page.blank()
    elif any(result.verdict.reason is Reason.TIME for result in report.results):
        page.flow("Stopped early, at the end of its time (--timeout): what follows is only a part.", 2, "bold")
        page.blank()
    tested = [service for service in report.services if is_tested(service)]
    for service in sorted(tested, key=lambda s: WORST_FIRST.index(s.state)):
        headline, rest = headlined(service)
        page.flow(headline, 2, STATE_STYLE[service.state])
        if rest:
            page.flow(rest, 2)
        page.blank()
    if any(service.state is State.FULL and QUALITY in service.sentence for service in tested):
        page.flow(f"{QUALITY} This says that the network lets the traffic through, not how good it is.", 2)
        page.blank()
    if not tested:
        page.flow("Nothing was tested, so nothing can be said about this network.", 2, "bold")
        page.blank()


def headlined(service: Service) -> tuple[str, str]:
    """The first sentence stands alone; that quality was not measured is said once for all services."""
    said = re.sub(r"\s+", " ", service.sentence.replace(QUALITY, " ")).strip()
    first, stop, rest = said.partition(". ")
    return (first + stop.strip(), rest) if stop else (said, "")


def _asks(page: Page, report: Report) -> None:
    label = "  Ask for   "
    for ask in rule.asks(report):
        page.flow(asked(ask), len(label), "bold", (label, "bold"))
        for remark in remarks(ask):
            page.flow(remark, len(label))
        label = " " * len(label)
    for what, where in rule.link_asks(report):
        page.flow(what, len(label), "bold", (label, "bold"))
        page.flow(where, len(label))
        label = " " * len(label)
    page.blank()


def asked(ask: rule.Ask) -> str:
    """The rule in one line."""
    source = " and ".join(ask.sources) or "the room system"
    today = ", ".join(ask.addresses)
    target = f"{escape(ask.name, 100)} (today {today})" if ask.name else today
    return f"{ask.transport.upper()} {ask.port} from {source} to {target}"


def remarks(ask: rule.Ask) -> list[str]:
    """What has to be said beside a rule: at most one line."""
    said = []
    if ask.one_of is not None:
        said.append(f"one of the {_COUNT.get(ask.one_of, ask.one_of)} is enough")
    if ask.blocked and len(ask.blocked) < len(ask.addresses):
        said.append(f"blocked today: only {', '.join(ask.blocked)}; allow by name, the addresses change")
    if ask.need is Need.RECOMMENDED:
        said.append("not needed for a call to work, but for best quality")
    if ask.where is Where.BEYOND:
        said.append("the block lies beyond this site: whoever runs the network there has to allow it")
    return ["; ".join(said)] if said else []


def _notes(page: Page, report: Report) -> None:
    page.blank()
    walks = [s.walk.sentence for s in report.services if s.walk is not None and s.state is not State.BROKEN]
    for note in dict.fromkeys((*walks, *report.notes, report.host.vantage.sentence, _clock(report), _proxy(report))):
        if note:
            page.flow(note, 8, first=("  note: ", "dim"))


def _clock(report: Report) -> str:
    if report.run.clock_synced is False:
        return "The clock of this box is not set by a time server; the time above may be wrong."
    return ""


def _proxy(report: Report) -> str:
    """A proxy that the environment names is a fact worth saying, because nothing here went through it."""
    if report.host.proxy is None or any(result.check.via == "proxy" for result in report.results):
        return ""
    return f"A web proxy is known here ({escape(report.host.proxy, 80)}), and no check of this run went through it."


def _not_tested(page: Page, report: Report) -> None:
    """What was not run and why; rows with one reason in common stand together."""
    page.blank()
    said: dict[str, list[tuple[str, str]]] = {}
    for result in report.results:
        if result.verdict.outcome is Outcome.SKIPPED:
            why = LATER if result.verdict.reason is Reason.NOT_IN_RELEASE else result.verdict.sentence
            one = escape(result.check.row, 20), escape(result.check.purpose, 60)
            said.setdefault(why, [])
            if one not in said[why]:
                said[why].append(one)
    for why, rows in said.items():
        ids = list(dict.fromkeys(row for row, _ in rows))
        if len(ids) == 1 or why == LATER:
            named = ", ".join(f"{row} ({purpose})" for row, purpose in rows)
        else:
            named = ", ".join(ids)
        page.flow(f"{named}: {why}", 14, first=("  not tested: ", "dim"))
