"""What judging may know beside the evidence: facts of this box and this site, frozen, so that judging stays pure."""

from __future__ import annotations

import msgspec

from roomprobe.model import Frozen


class Facts(Frozen, frozen=True, kw_only=True):
    """`addresses` are this box's own, `networks` the same with their prefix length; `prefixes` the site's in CIDR form.

    `clock_synced` is None when it cannot be told. `certificates` maps a codec's address (without interface) to the SHA-256
    fingerprint that it showed at an earlier run.
    """

    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    clock_synced: bool | None = None
    proxy: str | None = None
    certificates: dict[str, str] = msgspec.field(default_factory=dict)
