"""The words of docs/vocabulary.md as the pages show them: each with a sign and a class of its own, so that colour says nothing alone.

Pure. Titles come from the profiles that this machine has; what it does not know is shown by its id.
"""

from __future__ import annotations

import functools

from roomprobe import profile as profiles
from roomprobe.config import ConfigError
from roomprobe.meets import Meets, meets
from roomprobe.model import Frozen, Profile, Requirement, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.report.table import PROOF


class Look(Frozen, frozen=True, kw_only=True):
    """A word with its sign and its CSS class."""

    word: str
    sign: str
    css: str


STATES = {
    "broken": Look(word="broken", sign="✕", css="bad"),
    "silent": Look(word="silent", sign="…", css="silent"),
    "degraded": Look(word="degraded", sign="▲", css="weak"),
    "unknown": Look(word="unknown", sign="?", css="untold"),
    "full": Look(word="full", sign="✓", css="good"),
}
NOT_TESTED = Look(word="not tested", sign="–", css="out")
_BY_MEETS = {
    Meets.MET: ("✓", "good"),
    Meets.NOT_MET: ("✕", "bad"),
    Meets.CANNOT_TELL: ("?", "untold"),
    Meets.LEFT_OUT: ("–", "out"),
}
WHERE = {
    Where.THIS_BOX: "the box that measures",
    Where.JACK: "the wall jack or its cable",
    Where.LAN: "inside the site's network",
    Where.SITE_EDGE: "the site's edge: its firewall or router",
    Where.BEYOND: "outside the site, before the target",
    Where.FAR_END: "the target itself",
    Where.UNKNOWN: "a place that cannot be told",
}


def state(word: str, reason: str | None = None) -> Look:
    """How a service's or a room's state is shown."""
    if word == "unknown" and reason == Reason.NOT_TESTED:
        return NOT_TESTED
    return STATES.get(word) or Look(word=word, sign="?", css="untold")


def outcome(word: str, reason: str | None = None) -> Look:
    """How an outcome is shown."""
    if word == "silent":
        return STATES["silent"]
    sign, css = _BY_MEETS[counts(word, reason)]
    return Look(word=word, sign=sign, css=css)


def counts(word: str, reason: str | None) -> Meets:
    """What an outcome says about its requirement; a word of another release says nothing."""
    try:
        said = Outcome(word)
        why = Reason(reason) if reason else Reason.UNPROVEN
    except ValueError:
        return Meets.CANNOT_TELL
    return meets(Verdict(outcome=said, confidence=Confidence.NONE, reason=why, sentence=""))


def reason(word: str | None) -> str:
    """A reason in plain words."""
    try:
        return PROOF.get(Reason(word or ""), str(word).replace("-", " "))
    except ValueError:
        return word or ""


def where(word: str | None) -> str:
    """A place in plain words."""
    try:
        return WHERE[Where(word or "")]
    except ValueError:
        return word or ""


@functools.cache
def known() -> dict[str, Profile]:
    """The profiles of this machine by id; none when they cannot be read."""
    try:
        return {name: found.profile for name, found in profiles.available().items()}
    except (ConfigError, OSError):
        return {}


def title(profile: str, service: str) -> str:
    """A service's title."""
    found = known().get(profile)
    return next((one.title for one in found.service if one.id == service), service) if found else service


def profile_title(profile: str) -> str:
    """A profile's title."""
    found = known().get(profile)
    return found.title if found else profile


def rows(profile: str, row: str) -> tuple[Requirement, ...]:
    """What the profile says of a row; empty when it is not known here."""
    found = known().get(profile)
    return tuple(one for one in found.row if one.id == row) if found else ()


def services(profile: str, row: str) -> tuple[str, ...]:
    """The services that a row counts for."""
    return tuple(dict.fromkeys(service for one in rows(profile, row) for service in one.services))


def purpose(profile: str, row: str) -> str:
    """What a row is for."""
    return "; ".join(dict.fromkeys(one.purpose for one in rows(profile, row)))
