"""Which neighbour is the codec, when nobody said: from what answered on the ports of the link. Pure.

Never a silent guess: one device that answers like a codec is taken and said so; several are listed and asked about.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import msgspec

from roomprobe.link.evidence import Candidate, Search
from roomprobe.model import Result, Service, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.text import escape
from roomprobe.vendor import mac_prefix

HALF = 2
ENOUGH = 3  # of the five ports: a codec behind a port filter still shows so many more often than any other device
MOST_SHOWN = 6


def choose(candidates: Sequence[Candidate], telling: int | None, untried: Sequence[str], unasked: int = 0) -> Search:
    """The codec among the neighbours that answered. `telling` is the port of the control API, whose answer alone is enough.

    `unasked` counts devices that were too many to ask: then no choice is made.
    """
    everybody = _devices(candidates)
    devices = [c for c in everybody if c.open]
    like = [d for d in devices if telling in d.open or (len(d.open) >= ENOUGH and telling not in d.refused)]
    half = [d for d in devices if d not in like and len(d.open) >= HALF and telling not in d.refused]
    if like and (unasked or (half and telling not in like[0].open)):
        like += half  # not the only one that it could be
    tried = f"{len(everybody)} neighbour{'' if len(everybody) == 1 else 's'} on this network"
    made = Search(
        candidates=tuple(c for c in everybody if c.open or c.refused),
        asked=len(everybody),
        untried=tuple(dict.fromkeys(untried)),
    )
    if len(like) == 1 and not unasked:
        sentence = f"The codec was found by itself: {shown(like[0])}, the only one of {tried} that answers like one."
        return msgspec.structs.replace(made, chosen=like[0].address, sentence=sentence)
    if like:
        return msgspec.structs.replace(
            made,
            reason=Reason.SEVERAL_CODECS,
            sentence=f"Which is the codec of this room? {_listed(like)} {_s('answer', like)} like one{_unasked(unasked)}. "
            "Say which with --codec.",
        )
    return msgspec.structs.replace(
        made,
        reason=Reason.NO_CODEC,
        sentence=f"No codec was found: {_nobody(everybody, devices, tried)} {_hint(made, unasked)}",
    )


def _nobody(everybody: Sequence[Candidate], devices: Sequence[Candidate], tried: str) -> str:
    refusing = [c for c in everybody if c.refused and not c.router]
    if devices:
        return f"of {tried} only {_listed(devices)} {_s('answer', devices)} on any of its ports, and not like one."
    if refusing:
        refuse = f"{_listed(refusing)} {_s('refuse', refusing)} them (is it running there?)"
        return f"{tried} {_showed(everybody)}, and none accepts any of its ports; {refuse}."
    if everybody:
        return f"{tried} {_showed(everybody)}, and none answers on any of its ports."
    return "no neighbour showed itself by IPv6 on this network."


def _unasked(count: int) -> str:
    return f", and {count} more devices were too many to ask" if count else ""


def _showed(devices: Sequence[Candidate]) -> str:
    return "showed themselves" if len(devices) > 1 else "showed itself"


def _hint(made: Search, unasked: int) -> str:
    """What to do about it."""
    if unasked:
        return f"{unasked} more devices were too many to ask: give the codec's address with --codec."
    if made.untried:
        return "This user may not send the echo that makes neighbours show themselves: give the codec's address with --codec, or use sudo."
    return "It is off or elsewhere, or the network keeps this box from it: with its address (--codec) more can be said."


def shown(candidate: Candidate) -> str:
    """How a sentence names a candidate: address, maker, ports."""
    ports = ", ".join(str(port) for port in candidate.open)
    parts = [f"TCP {ports}" if ports else "", mac_prefix(candidate.mac) if candidate.mac else ""]
    return f"{escape(candidate.address, 60)} ({'; '.join(part for part in parts if part)})"


def unfound(search: Search | None) -> Verdict:
    """The verdict on every row while it is not known which device to ask; None: the search did not come to an end."""
    if search is None:
        sentence = "Not sent: the search for the codec was not over when the run was."
        return Verdict(outcome=Outcome.SKIPPED, confidence=Confidence.NONE, reason=Reason.TIME, sentence=sentence)
    return Verdict(
        outcome=Outcome.UNANSWERED,
        confidence=Confidence.NONE,
        reason=search.reason or Reason.NO_CODEC,
        where=Where.UNKNOWN,
        sentence=search.sentence,
    )


def with_codec(service: Service, search: Search | None, results: Sequence[Result]) -> Service:
    """A service of the controller link names the codec that was found by itself: it may be another room's."""
    mine = {r.check.kind for r in results if r.check.profile == service.profile}
    if search is None or search.chosen is None or mine != {"controller"} or search.named:
        return service
    said = f"That is about {search.chosen}, the only codec that was found; is it this room's?"
    return msgspec.structs.replace(service, sentence=f"{service.sentence} {said}")


def notes(search: Search) -> tuple[str, ...]:
    """What a report says about the search."""
    tries = f"To find the codec, not everything could be tried: {' '.join(search.untried)}" if search.untried else ""
    chosen = search.sentence if search.chosen is not None else ""
    return tuple(note for note in (chosen, tries) if note)


def _devices(candidates: Sequence[Candidate]) -> list[Candidate]:
    """One for each device: its several addresses are known by their common hardware address. Link-local ones speak for it."""
    found: dict[str, Candidate] = {}
    for one in sorted(candidates, key=lambda c: not _link_local(c.address)):
        found.setdefault(one.mac or one.address, one)
    return list(found.values())


def _s(verb: str, devices: Sequence[Candidate]) -> str:
    return verb if len(devices) > 1 else f"{verb}s"


def _link_local(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_link_local


def _listed(devices: Sequence[Candidate]) -> str:
    names = [shown(d) for d in devices[:MOST_SHOWN]]
    more = f" and {len(devices) - MOST_SHOWN} more" if len(devices) > MOST_SHOWN else ""
    return f"{' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}{more}"
