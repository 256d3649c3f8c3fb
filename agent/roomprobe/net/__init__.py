"""The only place with sockets. `Net` is the seam that probes are handed: one per run."""

from __future__ import annotations

import dataclasses
from typing import Any

from roomprobe.net.pace import Bucket


@dataclasses.dataclass(slots=True)
class Net:
    """What a probe needs to send: the run's token bucket and the site's choices that concern sockets.

    `tls_contexts` and `links` (what the ports of one codec know of each other) live as long as the run.
    """

    bucket: Bucket
    proxy: str | None = None
    pins: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    ca_file: str | None = None
    opt_in: frozenset[str] = frozenset()
    interface: str | None = None
    tls_contexts: dict[Any, Any] = dataclasses.field(default_factory=dict)
    links: dict[str, Any] = dataclasses.field(default_factory=dict)
