"""The sections of the configuration that only a running daemon reads: [schedule], [daemon], [collector]; and the base of all sections.

What each key may hold stands beside it; docs/configuration.md is the page for people. Pure.
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


class ScheduleSection(Section, frozen=True):
    """Seconds between two full sweeps and two quick checks; `jitter` stretches `full_s` by up to this part of it."""

    full_s: int = 300
    quick_s: int = 30
    jitter: float = 0.1


class DaemonSection(Section, frozen=True):
    """`metrics`: where /metrics is served, or "off"; `ndjson`: a file that every run is appended to; `state_dir`: where state is kept."""

    metrics: str = LOOPBACK_METRICS
    ndjson: str | None = None
    state_dir: str | None = None


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
    "schedule": {"full_s": values.whole(5, 86_400), "quick_s": values.whole(5, 86_400), "jitter": _fraction},
    "daemon": {"metrics": _listen, "ndjson": values.text, "state_dir": values.text},
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
