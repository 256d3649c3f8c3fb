"""A unit of the roll-up: one row at one host, or one one-of group, over every address, family, resolver and way. Pure.

design: met on all addresses is met, on some is met but degraded/some-addresses; families are judged apart; a name is resolved
when one configured resolver gives addresses; a TCP row is met directly or through the proxy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roomprobe.icmp import is_v6
from roomprobe.meets import Meets, meets
from roomprobe.model import Frozen, Result
from roomprobe.outcome import Confidence, Need, Outcome, Reason


class Unit(Frozen, frozen=True, kw_only=True):
    """`flags`: met, but not everywhere (some-addresses, one-family, some-resolvers). `doubt`: met, but for a part that
    cannot be told. `witness`: the result that speaks for the unit; `troubled` the one behind a flag or a doubt."""

    name: str
    need: Need
    state: Meets
    confidence: Confidence = Confidence.NONE
    flags: tuple[Reason, ...] = ()
    doubt: bool = False
    by_proxy: bool = False
    witness: Result | None = None
    troubled: Result | None = None
    members: tuple[Result, ...] = ()


class _Part(Frozen, frozen=True, kw_only=True):
    """A unit's state over a part of its results (one address, one family, one resolver)."""

    state: Meets
    witness: Result
    flags: tuple[Reason, ...] = ()
    doubt: bool = False
    troubled: Result | None = None


_BEST_FIRST = (Meets.MET, Meets.CANNOT_TELL, Meets.NOT_MET, Meets.LEFT_OUT)


def _best(results: Sequence[Result]) -> _Part:
    """Any of them is enough: the best one counts."""
    best = min(
        results,
        key=lambda r: (_BEST_FIRST.index(meets(r.verdict)), r.verdict.confidence is not Confidence.PROVEN),
    )
    return _Part(state=meets(best.verdict), witness=best)


def _combine(parts: Sequence[_Part], flag: Reason) -> _Part | None:
    """All of them count: one that fails beside one that works is a flag, not a failure."""
    if not parts:
        return None
    met = [p for p in parts if p.state is Meets.MET]
    failed = [p for p in parts if p.state is Meets.NOT_MET or (met and _dead(p))]
    unknown = [p for p in parts if p.state is Meets.CANNOT_TELL and p not in failed]
    if not met:
        first = (unknown or failed)[0]
        return _Part(state=first.state, witness=first.witness, troubled=first.witness)
    flags = tuple(dict.fromkeys([*(f for p in met for f in p.flags), *([flag] if failed else [])]))
    troubled = next((p.witness for p in (*failed, *unknown)), None) or next(
        (p.troubled for p in met if p.troubled), None
    )
    witness = min(met, key=lambda p: p.witness.verdict.confidence is Confidence.PROVEN).witness
    return _Part(
        state=Meets.MET,
        witness=witness,
        flags=flags,
        doubt=bool(unknown) or any(p.doubt for p in met),
        troubled=troubled,
    )


def _dead(part: _Part) -> bool:
    """TCP refused or unanswered, beside an address or family that works: whoever does it, that part does not work.

    UDP silence says no such thing, for the far end does not answer strangers.
    """
    check, verdict = part.witness.check, part.witness.verdict
    if check.transport != "tcp" or check.kind == "dns":
        return False
    return verdict.outcome is Outcome.REFUSED or (
        verdict.outcome is Outcome.UNANSWERED
        and verdict.reason in (Reason.SILENCE, Reason.GATEWAY_SILENT, Reason.UNREACHABLE)
    )


def _grouped(results: Iterable[Result], *, by_family: bool) -> list[list[Result]]:
    groups: dict[object, list[Result]] = {}
    for result in results:
        address = result.check.address
        groups.setdefault(is_v6(address or "") if by_family else address, []).append(result)
    return list(groups.values())


def _targets(results: Sequence[Result]) -> _Part | None:
    """A row or group asked directly: best member per address, all addresses of a family, then the families."""
    families = []
    for family in _grouped(results, by_family=True):
        addresses = [_best(one) for one in _grouped(family, by_family=False)]
        part = _combine(addresses, Reason.SOME_ADDRESSES)
        if part is not None:
            families.append(part)
    return _combine(families, Reason.ONE_FAMILY)


def _resolvers(results: Sequence[Result]) -> _Part | None:
    """A name row: UDP or TCP is enough at each resolver; one resolver with addresses is enough for the name."""
    part = _combine([_best(one) for one in _grouped(results, by_family=False)], Reason.SOME_RESOLVERS)
    if part is not None and part.state is Meets.MET and part.doubt:
        # A resolver that does not answer beside one that does is a finding, not a doubt about the name.
        flags = tuple(dict.fromkeys((*part.flags, Reason.SOME_RESOLVERS)))
        return _Part(state=part.state, witness=part.witness, flags=flags, troubled=part.troubled)
    return part


def make(name: str, need: Need, results: Sequence[Result]) -> Unit:
    """The unit of these results: all of one row at one host, or all members of a group."""
    counted = [r for r in results if meets(r.verdict) is not Meets.LEFT_OUT]
    members = tuple(results)
    if not counted:
        # A family that the site lacks is left out, unless the far end has no other.
        lost = next((r for r in results if r.verdict.reason is Reason.NO_FAMILY), None)
        state = Meets.LEFT_OUT if lost is None else Meets.CANNOT_TELL
        return Unit(name=name, need=need, state=state, witness=lost, troubled=lost, members=members)
    direct = [r for r in counted if r.check.via == "direct"]
    proxied = [r for r in counted if r.check.via == "proxy"]
    part = _resolvers(direct) if counted[0].check.kind == "dns" else _targets(direct)
    way = _best(proxied) if proxied else None
    ways = [p for p in (part, way) if p is not None]
    part = min(ways, key=lambda p: _BEST_FIRST.index(p.state))
    by_proxy = part is way
    return Unit(
        name=name,
        need=need,
        state=part.state,
        confidence=part.witness.verdict.confidence,
        flags=part.flags,
        doubt=part.doubt,
        by_proxy=by_proxy,
        witness=part.witness,
        troubled=part.troubled,
        members=members,
    )
