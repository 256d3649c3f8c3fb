"""The site configuration: what a site says about itself, read strictly from TOML.

Every key is optional and an unknown one is refused; `load` turns each mistake into one sentence (ConfigError).
"""

from __future__ import annotations

import msgspec


class ConfigError(Exception):
    """One clear sentence: which file, which key, what is allowed."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of the configuration."""


class SiteSection(Section):
    """Who and where. `prefixes` are the site's own networks in CIDR form; `room_system` its address."""

    org: str | None = None
    domain: str | None = None
    site: str | None = None
    room: str | None = None
    prefixes: tuple[str, ...] = ()
    room_system: str | None = None
    attest: tuple[str, ...] = ()


class NetworkSection(Section):
    """`resolvers` replace those of the system; `proxy` is http://host:port; `ca_file` adds issuers the site trusts."""

    interface: str | None = None
    resolvers: tuple[str, ...] = ()
    proxy: str | None = None
    ca_file: str | None = None
    rate_per_s: int = 200
    burst: int = 200


class ProfilesSection(Section):
    """`pins` maps a host name to the SHA-256 fingerprints (hex) of certificates that may stand in its chain."""

    enabled: tuple[str, ...] = ("starleaf",)
    opt_in: tuple[str, ...] = ()
    pins: dict[str, tuple[str, ...]] = {}


class Config(Section):
    """The whole configuration. `targets` gives a name's addresses instead of DNS."""

    site: SiteSection = SiteSection()
    network: NetworkSection = NetworkSection()
    profiles: ProfilesSection = ProfilesSection()
    targets: dict[str, tuple[str, ...]] = {}
