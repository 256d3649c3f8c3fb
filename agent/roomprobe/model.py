"""The frozen values that travel along the line profile → plan → probe → evidence → verdict → roll-up.

Only shapes: no I/O, no judging, no printing. What one probe kind alone needs stands in probes/<kind>.py, the report
that all ends in in report/run.py.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from roomprobe.outcome import Confidence, Need, Outcome, Reason, State, Where

Transport = Literal["udp", "tcp"]
Via = Literal["direct", "proxy"]
Family = Literal[4, 6]
# The kernel's states of a neighbour whose hardware address it has (linux/neighbour.h); old ones prove nothing of now.
RESOLVED = frozenset({"reachable", "stale", "delay", "probe", "permanent"})


class Frozen(msgspec.Struct, frozen=True):
    """Base of every value below: immutable. (msgspec: kw_only is said by each class, it is not inherited.)"""


# --- profile -------------------------------------------------------------------------------------------------------


class Requirement(Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of a requirement document for one host: what the room system needs, and how it is asked.

    `host` may hold `{org}` and `{domain}`. Rows with the same `group` are one-of: one met member meets the group;
    their order in the profile is the order in which the room system itself tries them. `unproven` says why this
    release cannot run the row; such a row is planned and reported as skipped with that sentence.
    `document` names the source (a key of the profile's `documents`). `min_interval_s` is the least number of seconds
    between two asks of the same target. `params` goes to the probe kind unread.
    """

    id: str
    purpose: str
    document: str
    services: tuple[str, ...]
    need: Need
    kind: str
    transport: Transport | None = None
    host: str | None = None
    port: int | None = None
    group: str | None = None
    min_interval_s: int = 0
    unproven: str | None = None
    attest: bool = False
    params: dict[str, Any] = {}


class ServiceSpec(Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A thing that people want to work ("calls"), made of rows. `title` begins the plain sentences."""

    id: str
    title: str


class Profile(Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one kind of room system needs from a network; one TOML file each (docs/profiles.md)."""

    schema: Literal[1]
    id: str
    title: str
    version: str
    status: Literal["current", "legacy"] = "current"
    note: str | None = None
    documents: dict[str, str]
    service: tuple[ServiceSpec, ...]
    row: tuple[Requirement, ...]


# --- plan ----------------------------------------------------------------------------------------------------------


class Skip(Frozen, frozen=True, kw_only=True):
    """Why a check is not run; `reason` from the closed list, `sentence` for people."""

    reason: Reason
    sentence: str


class Check(Frozen, frozen=True, kw_only=True):
    """One concrete question: one row, host, address, transport and port (and way: direct or through the proxy).

    `address` is None while the name is unresolved, and always with `via="proxy"` (the proxy resolves).
    For rows of kind `dns`, `host` is the name asked, `address` and `port` are the resolver's.
    `overridden`: the site named the target's addresses itself, so a legacy profile's doubt does not apply.
    """

    id: str
    profile: str
    row: str
    purpose: str
    document: str
    services: tuple[str, ...]
    need: Need
    group: str | None = None
    kind: str
    transport: Transport | None = None
    host: str | None = None
    address: str | None = None
    port: int | None = None
    via: Via = "direct"
    direction: Literal["out", "in"] = "out"
    min_interval_s: int = 0
    overridden: bool = False
    params: dict[str, Any] = {}
    skip: Skip | None = None


class Plan(Frozen, frozen=True, kw_only=True):
    """Every check of a run, those that cannot run included (`skip`)."""

    profiles: tuple[Profile, ...]
    checks: tuple[Check, ...]


# --- verdict -------------------------------------------------------------------------------------------------------


class Place(Frozen, frozen=True, kw_only=True):
    """A device on the path; `distance` in hops from this box (1 = first router). Either may be unknown."""

    distance: int | None = None
    address: str | None = None


class Hop(Frozen, frozen=True, kw_only=True):
    """Where on the path. For silence it is the interval between the two; either may be the dropper."""

    last_answering: Place | None = None
    next_on_control: Place | None = None
    sender: Place | None = None


class Verdict(Frozen, frozen=True, kw_only=True):
    """What one check's evidence means. `where` is None when there is no trouble to place. `rtt_ms` in milliseconds."""

    outcome: Outcome
    confidence: Confidence
    reason: Reason
    sentence: str
    where: Where | None = None
    hop: Hop | None = None
    rtt_ms: float | None = None


class Result(Frozen, frozen=True, kw_only=True):
    """A check with its evidence (a Struct of its probe kind, or None when it did not run) and its verdict."""

    check: Check
    evidence: Any
    verdict: Verdict


# --- self-knowledge ------------------------------------------------------------------------------------------------


class Address(Frozen, frozen=True, kw_only=True):
    """An address of this box with its prefix length."""

    address: str
    prefix: int


class Vantage(Frozen, frozen=True, kw_only=True):
    """Whether this box stands where the room system stands; `state` "unset" when the site named no room system.

    `room_system` is its address as configured: the source that a firewall rule has to name.
    """

    state: Literal["unset", "same", "other"]
    sentence: str
    room_system: str | None = None


class Host(Frozen, frozen=True, kw_only=True):
    """What this box knows of itself. `interfaces` are all names with their index. `gateways` maps family 4 and 6 to the default router.

    `neighbours` maps an address to the kernel's neighbour state ("reachable", "failed", ...).
    `families` are those that can leave: a non-link-local address and a default route.
    `trouble` is set when nothing can be sent at all: no carrier, no address, no gateway.
    """

    interface: str | None = None
    interfaces: dict[str, int] = {}
    carrier: bool | None = None
    addresses: tuple[Address, ...] = ()
    gateways: dict[int, str] = {}
    families: tuple[Family, ...] = ()
    resolvers: tuple[str, ...] = ()
    proxy: str | None = None
    vpn: str | None = None
    clock_synced: bool | None = None
    capabilities: tuple[str, ...] = ()
    neighbours: dict[str, str] = {}
    vantage: Vantage = Vantage(state="unset", sentence="")
    trouble: Skip | None = None


# --- roll-up -------------------------------------------------------------------------------------------------------


class WalkStep(Frozen, frozen=True, kw_only=True):
    """One step of the room system's own order of transports; `waited_ms` is our time until that step was decided."""

    transport: str
    outcome: Outcome
    waited_ms: float


class Walk(Frozen, frozen=True, kw_only=True):
    """The room system's order replayed on this run's measurements; `transport` is where it would end up, if known."""

    steps: tuple[WalkStep, ...]
    transport: str | None
    confidence: Confidence
    duration_s: float
    sentence: str


class Service(Frozen, frozen=True, kw_only=True):
    """A service rolled up. `at_least` is set with state unknown, when the required part is known to work."""

    profile: str
    profile_version: str
    id: str
    title: str
    state: State
    confidence: Confidence
    reason: Reason
    sentence: str
    at_least: State | None = None
    where: Where | None = None
    transport: str | None = None
    walk: Walk | None = None
    hop: Hop | None = None
