"""The sections of the configuration, and in the table RULES what each key may hold; a test holds the two together.

docs/configuration.md is the page for people. Pure.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from typing import Any
from urllib.parse import urlsplit

import msgspec

from roomprobe import values

OFF = "off"
LOOPBACK_METRICS = "127.0.0.1:9917"
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of the configuration."""


class SiteSection(Section, frozen=True):
    """Who and where. `prefixes` are the site's own networks in CIDR form; `room_system` its address.

    `codec` is the Teamline 5141 of the controller link: an IPv6 address, or a name for mDNS or LLMNR.
    """

    org: str | None = None
    domain: str | None = None
    site: str | None = None
    room: str | None = None
    prefixes: tuple[str, ...] = ()
    room_system: str | None = None
    codec: str | None = None
    attest: tuple[str, ...] = ()


class NetworkSection(Section, frozen=True):
    """`resolvers` replace those of the system; `proxy` is http://host:port; `ca_file` adds issuers the site trusts."""

    interface: str | None = None
    resolvers: tuple[str, ...] = ()
    proxy: str | None = None
    ca_file: str | None = None
    rate_per_s: int = 200
    burst: int = 200


class ProfilesSection(Section, frozen=True):
    """`pins` maps a host name to the SHA-256 fingerprints (hex) of certificates that may stand in its chain."""

    enabled: tuple[str, ...] = ("starleaf",)
    opt_in: tuple[str, ...] = ()
    pins: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class ScheduleSection(Section, frozen=True):
    """Seconds between two full sweeps and two quick checks; `jitter` stretches `full_s` by up to this part of it."""

    full_s: int = 300
    quick_s: int = 30
    jitter: float = 0.1


class DaemonSection(Section, frozen=True):
    """`metrics`: where /metrics is served, or "off"; `ndjson`: a file that every run is appended to; `state_dir`: where state is kept;
    `spool_mib`: the most that waits for the collector there."""

    metrics: str = LOOPBACK_METRICS
    ndjson: str | None = None
    state_dir: str | None = None
    spool_mib: int = 64


class CollectorSection(Section, frozen=True):
    """Where runs are sent, and as whom: `roomprobe enrol` writes it. `pin`: SHA-256 of the collector's own certificate."""

    url: str | None = None
    agent: str | None = None
    token_file: str | None = None
    ca_file: str | None = None
    pin: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: str | None = None


FILES = {"daemon": ("ndjson", "state_dir"), "collector": ("token_file", "ca_file", "client_cert", "client_key")}


def _fraction(value: Any) -> float:
    """From 0 to 0.5."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 0.5:
        shown = str(value)[:20] if type(value) in (int, float) else values.shown(value)
        raise ValueError(f"must be a number from 0 to 0.5, not {shown}")
    return float(value)


def _listen(value: Any) -> str:
    """An address and a port, or "off"."""
    if value == OFF:
        return OFF
    allowed = f'an address and a port such as "{LOOPBACK_METRICS}" or "[::1]:9917", or "{OFF}"'
    host, colon, port = value.rpartition(":") if isinstance(value, str) and len(value) <= 80 else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise values.bad(allowed, value) from None
    if not colon or bracketed != (address.version == 6) or not _PORT.fullmatch(port) or int(port) > 65535:
        raise values.bad(allowed, value)
    return f"[{address}]:{port}" if bracketed else f"{address}:{port}"


def _url(value: Any) -> str:
    """The collector's address without a path's final slash; plain http on loopback alone."""
    allowed = 'the collector\'s address such as "https://collector.acme.example:8443"'
    plain = isinstance(value, str) and len(value) <= values.MOST_TEXT and value.isprintable() and " " not in value
    if not plain or not value.isascii():
        raise values.bad(allowed, value)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise values.bad(allowed, value) from None
    if parts.scheme not in ("https", "http") or not host or parts.username or parts.query or parts.fragment:
        raise values.bad(allowed, value)
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError(f"must begin with https (http is for this machine alone), not {values.shown(value)}")
    return str(value).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _agent(value: Any) -> str:
    """A UUID in its usual form, lower case."""
    try:
        if isinstance(value, str) and len(value) == 36:
            return str(uuid.UUID(value))
    except ValueError:
        pass
    raise values.bad("the UUID that the collector gave this box", value)


RULES: dict[str, dict[str, values.Rule]] = {
    "site": {
        "org": values.label,
        "domain": values.hostname,
        "site": values.text,
        "room": values.text,
        "prefixes": values.many(values.prefix),
        "room_system": values.address,
        "codec": values.codec,
        "attest": values.many(values.text),
    },
    "network": {
        "interface": values.interface,
        "resolvers": values.many(values.address),
        "proxy": values.proxy,
        "ca_file": values.text,
        "rate_per_s": values.whole(1, 10_000),
        "burst": values.whole(1, 10_000),
    },
    "profiles": {
        "enabled": values.many(values.text, least=1),
        "opt_in": values.many(values.text),
        "pins": values.by_name(values.many(values.fingerprint, least=1)),
    },
    "schedule": {"full_s": values.whole(5, 86_400), "quick_s": values.whole(5, 86_400), "jitter": _fraction},
    "daemon": {
        "metrics": _listen,
        "ndjson": values.text,
        "state_dir": values.text,
        "spool_mib": values.whole(4, 4096),
    },
    "collector": {
        "url": _url,
        "agent": _agent,
        "token_file": values.text,
        "ca_file": values.text,
        "pin": values.fingerprint,
        "client_cert": values.text,
        "client_key": values.text,
        "proxy": values.proxy,
    },
}
