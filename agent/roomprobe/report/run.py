"""One run, rolled up: what the rest of report/ is a function of, and what a daemon keeps of its last one. Only shapes."""

from __future__ import annotations

from roomprobe.evidence import PathEvidence
from roomprobe.link.evidence import LinkEvidence, Search
from roomprobe.model import Frozen, Host, Result, Service


class Run(Frozen, frozen=True, kw_only=True):
    """Identity and times of a run. `started` is RFC 3339 UTC, `started_mono` the monotonic clock in seconds."""

    id: str
    epoch: str | None = None
    seq: int | None = None
    trigger: str
    started: str
    started_mono: float
    duration_s: float
    clock_synced: bool | None
    interrupted: bool = False


class Site(Frozen, frozen=True, kw_only=True):
    """Who and where: all from the site configuration, all optional."""

    org: str | None = None
    site: str | None = None
    room: str | None = None


class Report(Frozen, frozen=True, kw_only=True):
    """The whole of it.

    `paths` are the surveys that the verdicts lean on, one an address; `links` the same for a codec that is a neighbour, and `search`
    how the codec was found, None when its address was given.
    """

    agent_id: str | None
    agent_version: str
    site: Site
    run: Run
    host: Host
    notes: tuple[str, ...]
    services: tuple[Service, ...]
    results: tuple[Result, ...]
    paths: tuple[PathEvidence, ...] = ()
    links: tuple[LinkEvidence, ...] = ()
    search: Search | None = None
