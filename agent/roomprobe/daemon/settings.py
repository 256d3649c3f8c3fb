"""What a daemon runs by: configuration and profiles, read anew at every reload and refused whole when anything in them is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from roomprobe import plan
from roomprobe.config import Config, ConfigError
from roomprobe.link import known
from roomprobe.model import Frozen, Host, Profile
from roomprobe.net.https import Trust
from roomprobe.options import Options
from roomprobe.sections import CollectorSection

CREDENTIAL = "collector-token"


class Settings(Frozen, frozen=True, kw_only=True):
    """Everything that a reload may change, and the flags. `state` None: there is no place for state. `runtime`: for what ends with this boot."""

    config: Config
    profiles: tuple[Profile, ...]
    timeout_s: float
    only: tuple[str, ...] = ()
    port_offset: int = 0
    state: Path | None
    runtime: Path | None

    @property
    def agent(self) -> str | None:
        """Who this box is to its collector."""
        return self.config.collector.agent


def load(options: Options, env: Mapping[str, str] | None = None) -> Settings:
    """The settings now. ConfigError for any mistake that does not depend on what this box looks like at the moment."""
    env = os.environ if env is None else env
    config, profiles = options.load()
    anywhere = msgspec.structs.replace(config, site=msgspec.structs.replace(config.site, codec=None))
    plan.make(profiles, anywhere, Host(), only=options.only)
    check_collector(config)
    return Settings(
        config=_with_credential(config, env),
        profiles=profiles,
        timeout_s=options.timeout,
        only=options.only,
        port_offset=options.port_offset,
        state=Path(config.daemon.state_dir) if config.daemon.state_dir else known.directory(env),
        runtime=runtime_directory(env),
    )


def check_collector(config: Config) -> None:
    """ConfigError for a [collector] that lacks something. Its files are for the push, which waits for them to be there."""
    collector = config.collector
    if collector.url is not None and collector.agent is None:
        raise ConfigError(
            f"{config.said('collector.url')}: [collector] needs agent, too: `roomprobe enrol` writes both."
        )
    if collector.url is not None and not (collector.token_file or collector.client_cert):
        raise ConfigError(f"{config.said('collector.url')}: [collector] needs token_file or client_cert, too.")


def trust(collector: CollectorSection) -> Trust:
    """Whom the push believes, and who it is."""
    return Trust(
        pin=collector.pin,
        ca_file=collector.ca_file,
        client_cert=collector.client_cert,
        client_key=collector.client_key,
    )


def runtime_directory(env: Mapping[str, str]) -> Path | None:
    """Where the control socket stands: what systemd gave, /run/roomprobe for root, else a folder in XDG_RUNTIME_DIR."""
    given = env.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given.startswith("/"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/run/roomprobe")
    base = env.get("XDG_RUNTIME_DIR", "")
    return Path(base) / "roomprobe" if base.startswith("/") else None


def _with_credential(config: Config, env: Mapping[str, str]) -> Config:
    """The token that systemd hands over, where it does: its file is root's alone (systemd.exec(5), LoadCredential)."""
    given = Path(env.get("CREDENTIALS_DIRECTORY") or "/nonexistent") / CREDENTIAL
    try:
        usable = given.stat().st_size > 1  # the unit's own placeholder is one character
    except OSError:
        usable = False
    if not usable or config.collector.token_file is None:
        return config
    return msgspec.structs.replace(config, collector=msgspec.structs.replace(config.collector, token_file=str(given)))
