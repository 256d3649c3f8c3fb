"""What is reported: a change only once it repeats, and the last value for what was not asked this time. Pure.

A row counts as a whole, with all addresses of its name: other addresses that answer as the ones before are no change.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Sequence

import msgspec

from roomprobe.daemon.schedule import key
from roomprobe.model import Check, Frozen, Host, Result, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where

PATIENCE = 3  # asks in a row that all differ from what is reported, and from each other: then the last one is reported

Said = frozenset[tuple[str, str, str | None, str]]


class Doubt(Frozen, frozen=True, kw_only=True):
    """A change that was seen `times` times, `said` the last time, and is not reported yet."""

    said: Said
    times: int


def said(results: Iterable[Result]) -> Said:
    """What a row's results state, without addresses, sentences and numbers."""
    return frozenset(
        (v.outcome.value, v.reason.value, v.where.value if v.where else None, v.confidence.value)
        for v in (result.verdict for result in results)
    )


def network(host: Host) -> tuple[object, ...]:
    """Which network this box is in, for telling whether values still hold. IPv6 privacy addresses come and go and do not count."""
    own = {
        str(ipaddress.ip_interface(f"{a.address.partition('%')[0]}/{a.prefix}").network)
        for a in host.addresses
        if a.prefix < 128
    }
    return host.interface, tuple(sorted(own)), tuple(sorted(host.gateways.items()))


class Steady:
    """What is reported of each row, and what is doubted."""

    def __init__(self, reported: Iterable[Result] = ()) -> None:
        self.reported: dict[str, tuple[Result, ...]] = _grouped(reported)
        self.doubts: dict[str, Doubt] = {}
        self._network: tuple[object, ...] | None = None

    def moved(self, host: Host) -> bool:
        """To be told the facts before each run. In another network the old values mean nothing: they are forgotten, and True comes back."""
        if host.trouble is not None:
            return False
        before, self._network = self._network, network(host)
        if before is None or before == self._network:
            return False
        self.reported.clear()
        self.doubts.clear()
        return True

    def standing(self, checks: Iterable[Check]) -> tuple[Result, ...]:
        """The last values of rows that are not asked this time; without their round-trip times, which were measured before."""
        found: list[Result] = []
        for row, check in {key(check): check for check in checks}.items():
            results = self.reported.get(row)
            found += [_unmeasured(result) for result in results] if results else [_unasked(check)]
        return tuple(found)

    def take(self, fresh: Iterable[Result], asked: Collection[str]) -> tuple[Result, ...]:
        """What is to be reported of a sweep's results. `asked` are the keys of rows that were asked; the others pass as they are."""
        out: list[Result] = []
        for row, results in _grouped(fresh).items():
            out += self._weighed(row, results) if row in asked else results
        return tuple(out)

    def keep(self, rows: Collection[str]) -> None:
        """Forgets what is not in the plan any more."""
        self.reported = {row: results for row, results in self.reported.items() if row in rows}
        self.doubts = {row: doubt for row, doubt in self.doubts.items() if row in rows}

    def _weighed(self, row: str, results: tuple[Result, ...]) -> tuple[Result, ...]:
        if any(r.verdict.reason in (Reason.TIME, Reason.INTERRUPTED) for r in results):
            before = self.reported.get(row)  # not done this time: it says nothing new
            return tuple(map(_unmeasured, before)) if before else results
        before, now, doubt = self.reported.get(row), said(results), self.doubts.get(row)
        times = doubt.times + 1 if doubt is not None else 1
        if (
            before is None
            or not any(map(sent, before))
            or said(before) == now
            or (doubt is not None and doubt.said == now)
            or times >= PATIENCE
        ):
            self.doubts.pop(row, None)
            self.reported[row] = results
            return results
        self.doubts[row] = Doubt(said=now, times=times)
        return tuple(map(_unmeasured, before))


def notes(doubts: Collection[str], results: Sequence[Result]) -> tuple[str, ...]:
    """What a report says of changes that were seen once."""
    rows = dict.fromkeys(r.check.row for r in results if key(r.check) in doubts)
    if not rows:
        return ()
    return (f"{', '.join(rows)}: another outcome was seen once; it is reported when it is seen again.",)


def _grouped(results: Iterable[Result]) -> dict[str, tuple[Result, ...]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(key(result.check), []).append(result)
    return {row: tuple(members) for row, members in found.items()}


def sent(result: Result) -> bool:
    """Whether there was anything to send it to; a name that gave no address leaves nothing that could be doubted."""
    return result.check.address is not None or result.check.kind == "dns" or result.check.via != "direct"


def _unmeasured(result: Result) -> Result:
    return msgspec.structs.replace(result, verdict=msgspec.structs.replace(result.verdict, rtt_ms=None))


def _unasked(check: Check) -> Result:
    """Not asked, and no value stands: nothing may be concluded from it, so it is not merely left out."""
    verdict = Verdict(
        outcome=Outcome.UNANSWERED,
        confidence=Confidence.NONE,
        reason=Reason.INTERVAL,
        where=Where.UNKNOWN,
        sentence=f"Cannot tell yet: this is asked at most every {check.min_interval_s} s, and has not been asked in this network since.",
    )
    return Result(check=check, evidence=None, verdict=verdict)
