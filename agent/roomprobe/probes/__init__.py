"""The probe kinds: one visible table from a row's `kind` to the module that plays it, imported on use.

Each module has `async run(check, net) -> Evidence` (sends, never raises for what the network does) and the pure
`judge(check, evidence, facts) -> Verdict` beside it. A test holds this table against the files.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from roomprobe.evidence import DnsEvidence, PathEvidence, TcpEvidence, TlsEvidence, UdpEvidence
from roomprobe.link.evidence import ControllerEvidence
from roomprobe.model import Check, Verdict

Evidence = UdpEvidence | TlsEvidence | TcpEvidence | DnsEvidence | PathEvidence | ControllerEvidence

PROBES = {
    "dns": "roomprobe.probes.dns",
    "tls": "roomprobe.probes.tls",
    "tcp": "roomprobe.probes.tcp",
    "udp": "roomprobe.probes.udp",
    "controller": "roomprobe.probes.controller",
}


class Probe(Protocol):
    """What a module in PROBES offers."""

    async def run(self, check: Check, net: Any) -> Evidence: ...

    def judge(self, check: Check, evidence: Any, facts: Any) -> Verdict: ...


def load(kind: str) -> Probe:
    """The module of a probe kind; KeyError for a kind that is not in the table."""
    return cast(Probe, importlib.import_module(PROBES[kind]))
