"""A stored report as the values that the terminal's words are made for: one way of saying things, on paper and here.

Pure. What a document leaves out (the services of a row) comes from this machine's profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from roomprobe.collector.pages import words
from roomprobe.model import Address, Check, Frozen, Hop, Host, Result, Service, Vantage, Verdict
from roomprobe.outcome import Outcome, Reason
from roomprobe.report import WORST_FIRST, is_tested, rule, table, terminal
from roomprobe.report.run import Report, Run, Site


class Told(Frozen, frozen=True, kw_only=True):
    """One service: the first sentence, and the rest."""

    service: Service
    headline: str
    rest: str


class Line(Frozen, frozen=True, kw_only=True):
    """One line of the table; `results` are the checks that it folds, `trouble` whether it speaks of any, `repeats` whether the
    line above says the same."""

    profile: str
    row: str
    purpose: str
    target: str
    outcome: str
    reason: str
    rtt: str
    proof: str
    sentences: tuple[str, ...]
    repeats: bool
    trouble: bool
    results: tuple[Result, ...]


class Untested(Frozen, frozen=True, kw_only=True):
    """Rows that were not run for one reason."""

    why: str
    rows: tuple[tuple[str, str], ...]


class Asked(Frozen, frozen=True, kw_only=True):
    """A firewall rule that would help, and what is to be said of it."""

    rule: str
    remarks: tuple[str, ...]


def report(document: Mapping[str, Any]) -> Report | None:
    """The values of a document; None when it is not one of this release."""
    try:
        return _report(document)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError):
        return None


def services(told: Report) -> list[Told]:
    """The services, the worst first, those that were not tested last."""
    found = []
    for service in sorted(told.services, key=lambda one: (not is_tested(one), WORST_FIRST.index(one.state))):
        headline, rest = terminal.headlined(service)
        found.append(Told(service=service, headline=headline, rest=rest))
    return found


def lines(told: Report) -> list[Line]:
    """The table, in the order of the report."""
    groups = table.fold(told.results)
    found: list[Line] = []
    for group in groups:
        cells = table.cells(group, groups)
        verdict = group[0].verdict
        look = words.outcome(verdict.outcome, verdict.reason)
        sentences = tuple(dict.fromkeys(one.verdict.sentence for one in group))
        found.append(
            Line(
                profile=group[0].check.profile,
                row=group[0].check.row,
                purpose=cells.purpose,
                target=cells.target,
                outcome=verdict.outcome,
                reason=verdict.reason,
                rtt=cells.rtt,
                proof=cells.proof,
                sentences=sentences,
                repeats=bool(found) and found[-1].trouble and found[-1].sentences == sentences,
                trouble=look.css in ("bad", "untold"),
                results=group,
            )
        )
    return found


def asks(told: Report) -> list[Asked]:
    """The rules to ask for."""
    ports = [Asked(rule=terminal.asked(ask), remarks=tuple(terminal.remarks(ask))) for ask in rule.asks(told)]
    return ports + [Asked(rule=what, remarks=(where,)) for what, where in rule.link_asks(told)]


def untested(told: Report) -> list[Untested]:
    """What was not run, by reason."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for result in told.results:
        if result.verdict.outcome is Outcome.SKIPPED:
            later = result.verdict.reason is Reason.NOT_IN_RELEASE
            why = terminal.LATER if later else result.verdict.sentence
            found.setdefault(why, {})[result.check.row, result.check.purpose] = None
    return [Untested(why=why, rows=tuple(rows)) for why, rows in found.items()]


def _report(document: Mapping[str, Any]) -> Report:
    return Report(
        agent_id=document["agent"]["id"],
        agent_version=document["agent"]["version"],
        site=msgspec.convert(document["site"], Site),
        run=msgspec.convert(document["run"], Run),
        host=_host(document["host"]),
        notes=tuple(document["notes"]),
        services=tuple(msgspec.convert(one, Service) for one in document["services"]),
        results=tuple(_result(one) for one in document["checks"]),
    )


def _host(told: Mapping[str, Any]) -> Host:
    addresses = [text.rpartition("/") for text in told["addresses"]]
    gateways = {4: told["gateway"]["ipv4"], 6: told["gateway"]["ipv6"]}
    return Host(
        interface=told["interface"],
        addresses=tuple(Address(address=address, prefix=int(prefix)) for address, _, prefix in addresses),
        gateways={family: address for family, address in gateways.items() if address is not None},
        resolvers=tuple(told["resolvers"]),
        proxy=told["proxy"],
        vpn=told["vpn"],
        vantage=msgspec.convert(told["vantage"], Vantage),
    )


def _result(one: Mapping[str, Any]) -> Result:
    asked = {name: one[name] for name in _CHECK}
    # A row that no profile here knows belongs to a service without a name, which is no service that is stuck.
    asked["services"] = words.services(one["profile"], one["row"]) or ("",)
    verdict = {name: one[name] for name in _VERDICT}
    return Result(
        check=msgspec.convert(asked, Check),
        evidence=one["evidence"],
        verdict=msgspec.convert(verdict | {"hop": msgspec.convert(one["hop"], Hop | None)}, Verdict),
    )


_CHECK = (
    *("id", "profile", "row", "purpose", "document", "need", "group", "kind"),
    *("transport", "host", "address", "port", "via", "direction"),
)
_VERDICT = ("outcome", "confidence", "reason", "sentence", "where", "rtt_ms")
