"""What queries.py answers: frozen values, times in milliseconds since 1970. The API gives them as they are."""

from __future__ import annotations

from typing import Any

from roomprobe.model import Frozen


class Service(Frozen, frozen=True, kw_only=True):
    """A service of a room as it is now; `since` is when it began to say this, over changes of spool and box too."""

    profile: str
    id: str
    state: str
    at_least: str | None
    reason: str
    where: str | None
    confidence: str | None
    sentence: str | None
    since: int
    interval: int


class Room(Frozen, frozen=True, kw_only=True):
    """One line of the fleet. `state` is the worst service's, or "silent": then what was known before says nothing of now.

    `since`: when the worst service began to say this; of a silent room when it was last seen (None: never).
    """

    room: str
    site: str | None
    org: str | None
    state: str
    silent: bool
    since: int | None
    last_seen: int | None
    every_ms: int
    agent: str | None
    version: str | None
    services: tuple[Service, ...]


class Rooms(Frozen, frozen=True, kw_only=True):
    """A page of the fleet; `page` counts from 1."""

    rooms: tuple[Room, ...]
    total: int
    page: int
    pages: int


class Summary(Frozen, frozen=True, kw_only=True):
    """How many rooms are in which state; silent ones are counted as silent alone."""

    total: int
    full: int
    degraded: int
    broken: int
    unknown: int
    silent: int


class Gap(Frozen, frozen=True, kw_only=True):
    """Numbers of an agent that did not come; `explained` when loss records speak of all of them."""

    agent: str
    epoch: str
    first: int
    last: int
    explained: bool


class Loss(Frozen, frozen=True, kw_only=True):
    """Runs that will never come, as the agent said."""

    agent: str
    epoch: str
    seq: int
    of: str | None
    first: int | None
    last: int | None
    count: int | None
    since: str | None
    until: str | None
    reason: str
    received: int


class Agent(Frozen, frozen=True, kw_only=True):
    """A box of a room."""

    agent: str
    hostname: str | None
    enrolled: int
    revoked: int | None
    last_seen: int | None
    version: str | None


class RoomPage(Frozen, frozen=True, kw_only=True):
    """Everything of one room; `document` is its newest report, `document_at` when that was."""

    now: Room
    agents: tuple[Agent, ...]
    gaps: tuple[Gap, ...]
    losses: tuple[Loss, ...]
    document: dict[str, Any] | None
    document_run: str | None
    document_at: int | None


class Interval(Frozen, frozen=True, kw_only=True):
    """A time in which one thing was said; `until` None: it still is. `id` asks for the evidence."""

    id: int
    since: int
    until: int | None
    outcome: str
    confidence: str | None
    reason: str
    where: str | None
    at_least: str | None
    sentence: str | None


class Point(Frozen, frozen=True, kw_only=True):
    """Five minutes of round-trip times, from `at` on, milliseconds."""

    at: int
    n: int
    mean: float
    least: float
    most: float


class Said(Frozen, frozen=True, kw_only=True):
    """What was said of a service (state) or a check (outcome)."""

    outcome: str
    confidence: str | None
    reason: str
    where: str | None
    at_least: str | None
    sentence: str | None


class Change(Frozen, frozen=True, kw_only=True):
    """`before` None: it is new; `after` None: it is gone. `row` is "" for a service. `interval` asks for the evidence."""

    at: int
    room: str
    kind: str
    profile: str
    row: str
    id: str
    before: Said | None
    after: Said | None
    interval: int


class Across(Frozen, frozen=True, kw_only=True):
    """One check of a row in one room, as it is now."""

    room: str
    site: str | None
    silent: bool
    check: str
    outcome: str
    confidence: str | None
    reason: str
    where: str | None
    sentence: str | None
    since: int
    interval: int


class AcrossRooms(Frozen, frozen=True, kw_only=True):
    """A row in all rooms: `counts` by outcome over all of them (silent ones under "silent"), and one page of rooms."""

    profile: str
    row: str
    counts: dict[str, int]
    rooms: tuple[Across, ...]
    total: int
    page: int
    pages: int


class Run(Frozen, frozen=True, kw_only=True):
    """A stored run. `at` is when it was by the collector's clock, `started` by the box's own."""

    run: str
    agent: str
    epoch: str
    seq: int
    at: int
    started: int
    received: int
    full: bool
    trigger: str
    duration_ms: int


class Document(Frozen, frozen=True, kw_only=True):
    """The report behind a run: its own, or (`own` False) the one that its hash stands for."""

    run: Run
    own: bool
    document: dict[str, Any] | None


class Runs(Frozen, frozen=True, kw_only=True):
    """`next` is the `before` of the next page; None: there is none."""

    runs: tuple[Run, ...]
    next: str | None


class Changes(Frozen, frozen=True, kw_only=True):
    """`next` is the `before` of the next page; None: there is none."""

    changes: tuple[Change, ...]
    next: str | None


class CheckHistory(Frozen, frozen=True, kw_only=True):
    """What a check said when, and its round-trip times."""

    intervals: tuple[Interval, ...]
    points: tuple[Point, ...]


class ServiceHistory(Frozen, frozen=True, kw_only=True):
    """What was said of a service when."""

    intervals: tuple[Interval, ...]


class Evidence(Frozen, frozen=True, kw_only=True):
    """What was seen when an interval began; None when the document of that change never came."""

    evidence: dict[str, Any] | None


class Health(Frozen, frozen=True, kw_only=True):
    """The collector and its store answer."""

    status: str
    version: str


class Given(Frozen, frozen=True, kw_only=True):
    """A share link or an API token that was handed out; the secret itself is nowhere. `room` None: the whole fleet."""

    id: int
    label: str
    room: str | None
    created: int
    expires: int | None
    revoked: int | None


class Note(Frozen, frozen=True, kw_only=True):
    """A line of the audit trail."""

    at: int
    who: str
    what: str
