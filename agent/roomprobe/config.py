"""The site configuration: what a site says about itself, read strictly from TOML (docs/configuration.md).

Every key is optional and an unknown one is refused; `load` turns each mistake into one sentence (ConfigError).
What each key may hold stands in sections.py.
"""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from roomprobe import sections, values
from roomprobe.options import Options
from roomprobe.sections import (
    RULES,
    CollectorSection,
    DaemonSection,
    NetworkSection,
    ProfilesSection,
    ScheduleSection,
    Section,
    SiteSection,
)
from roomprobe.text import escape

SYSTEM_DIRECTORY = Path("/etc/roomprobe")
MOST_BYTES = 256 * 1024


class ConfigError(Exception):
    """One clear sentence: which file, which key, what is allowed."""


class Config(Section, frozen=True):
    """The whole configuration. `targets` gives a name's addresses instead of DNS.

    `sources` is not read from a file: it says who set a key ("network.interface" → the file or the flag).
    """

    site: SiteSection = SiteSection()
    network: NetworkSection = NetworkSection()
    profiles: ProfilesSection = ProfilesSection()
    schedule: ScheduleSection = ScheduleSection()
    daemon: DaemonSection = DaemonSection()
    collector: CollectorSection = CollectorSection()
    targets: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    sources: dict[str, str] = msgspec.field(default_factory=dict)

    def said(self, key: str) -> str:
        """A key such as "site.attest" as a sentence about its value begins: with the file, or as the flag."""
        return self.sources.get(key, key)


_TARGETS = values.by_name(values.many(values.target, least=1))

# Names that later releases read; accepting one now without acting on it would promise what does not happen.
NOT_USED_YET = frozenset({"site.ad_domain", "site.room_mailbox", "site.windows_host"} | {"roles", "reflector", "peer"})


def files(
    directories: Sequence[Path] | None = None, *, explicit: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[Path, ...]:
    """The configuration files that `load` reads, in order; each directory holds roomprobe.toml and conf.d/*.toml."""
    if explicit is not None:
        return (explicit,)
    found: list[Path] = []
    for directory in default_directories(env or {}) if directories is None else directories:
        found += [path for path in listed(directory) if path.name == "roomprobe.toml"]
        found += listed(directory / "conf.d")
    return tuple(found)


def listed(directory: Path) -> list[Path]:
    """The *.toml files of a directory by name, hidden ones left out; none without the directory. Or a ConfigError.

    A link that leads nowhere is among them: a file that somebody meant to be read must not be left out in silence.
    """
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not os.path.lexists(directory):
            return []
        raise ConfigError(f"{escape(str(directory))} cannot be read ({error.strerror}).") from None
    return [directory / name for name in sorted(names) if name.endswith(".toml") and not name.startswith(".")]


def default_directories(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Where configuration stands: the system's, and for a plain user the XDG directory after it, so that it wins."""
    if os.geteuid() == 0:
        return (SYSTEM_DIRECTORY,)
    base = env.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):  # XDG base directory specification: a relative path is to be ignored
        base = env["HOME"] + "/.config" if env.get("HOME", "").startswith("/") else ""
    own = Path(base) / "roomprobe"
    return (SYSTEM_DIRECTORY, own) if base and _may_enter(own) else (SYSTEM_DIRECTORY,)


def _may_enter(directory: Path) -> bool:
    """False for a home that this user may not even enter (HOME left over from another user): it is not this user's."""
    try:
        directory.stat()
    except PermissionError:
        return False
    except OSError:
        pass
    return True


def load(
    directories: Sequence[Path] | None = None, *, explicit: Path | None = None, env: Mapping[str, str] | None = None
) -> Config:
    """The configuration of `files(...)` merged in order, later keys in the place of earlier ones. Or a ConfigError."""
    merged: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for path in files(directories, explicit=explicit, env=env):
        for section, keys in _checked(path, read_toml(path)).items():
            merged.setdefault(section, {}).update(keys)
            sources.update({f"{section}.{key}": f"{escape(str(path))}: {section}.{key}" for key in keys})
    return msgspec.convert({**merged, "sources": sources}, Config)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file of at most MOST_BYTES; ConfigError when it is missing, not a regular file, not UTF-8 or not TOML."""
    name = escape(str(path))
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would otherwise wait for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{name} is not a regular file; a TOML file is needed.")
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        if isinstance(error, IsADirectoryError):
            raise ConfigError(f"{name} is a directory; a TOML file is needed.") from None
        raise ConfigError(f"{name} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise ConfigError(f"{name} is not a file name.") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{name} is larger than {MOST_BYTES // 1024} KiB, the most that is read.")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # some editors put a byte order mark before it
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}, line {line}: not UTF-8 text; save the file as UTF-8.") from None
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply.") from None
    except ValueError as error:
        raise ConfigError(f"{name}: not valid TOML: {escape(str(error))}.") from None


def unknown(what: str, word: str, allowed: Iterable[str]) -> str:
    """The sentence for a word that is not in a closed list: the nearest one, and all allowed ones in their order."""
    names = list(dict.fromkeys(allowed))
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), folded, 1)
    hint = f" (did you mean {escape(folded[near[0]])}?)" if near else ""
    return f'{what} "{escape(word, 60)}"{hint}; allowed: {escape(", ".join(names) or "none", 1000)}.'


def _checked(path: Path, raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The file's sections with every value in its normal form."""
    name = escape(str(path))
    done: dict[str, dict[str, Any]] = {}
    for section, keys in raw.items():
        if section in NOT_USED_YET:
            raise ConfigError(f"{name}: [{section}] is not used by this release; remove it.")
        if section != "targets" and section not in RULES:
            raise ConfigError(f"{name}: {unknown('unknown key', section, [*RULES, 'targets'])}")
        if not isinstance(keys, dict):
            raise ConfigError(f"{name}: {section} must be a table, written [{section}], not {values.shown(keys)}.")
        if section == "targets":
            done[section] = check(name, "targets", _TARGETS, keys)
            continue
        for key in keys:
            if f"{section}.{key}" in NOT_USED_YET:
                raise ConfigError(f"{name}: {section}.{key} is not used by this release; remove it.")
            if key not in RULES[section]:
                raise ConfigError(f"{name}: {unknown(f'unknown key in [{section}]:', key, RULES[section])}")
        done[section] = {k: check(name, f"{section}.{k}", RULES[section][k], v) for k, v in keys.items()}
    if "ca_file" in done.get("network", {}):
        done["network"]["ca_file"] = _certificates(name, path.parent / done["network"]["ca_file"])
    for section, keys in sections.FILES.items():
        for key in [key for key in keys if key in done.get(section, {})]:
            done[section][key] = str((path.parent / done[section][key]).absolute())
    return done


def check(source: str, key: str, rule: values.Rule, value: Any) -> Any:
    """`value` as `rule` allows it, or a ConfigError that names source and key."""
    try:
        return rule(value)
    except ValueError as error:
        raise ConfigError(f"{source}: {key} {error}.") from None


def _certificates(name: str, path: Path) -> str:
    """The absolute path of a readable PEM file with at least one certificate; relative ones start beside the file."""
    from cryptography import x509  # only a site with its own issuers pays for it

    from roomprobe.trust import MOST_ANCHOR_BYTES

    shown = f"{name}: network.ca_file must be a readable file of PEM certificates, and {escape(str(path))}"
    try:
        if not path.is_file():
            raise ConfigError(f"{shown} is not a file.")
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = file.read(MOST_ANCHOR_BYTES + 1)
            if len(data) > MOST_ANCHOR_BYTES:
                raise ConfigError(f"{shown} is larger than {MOST_ANCHOR_BYTES >> 20} MiB, the most that is read.")
            found = x509.load_pem_x509_certificates(data)  # as trust.py reads it: what passes here counts there
    except OSError as error:
        raise ConfigError(f"{shown} cannot be read ({error.strerror}).") from None
    except ValueError:
        found = []
    if not found:
        raise ConfigError(f'{shown} holds none that can be read (a block begins with "BEGIN CERTIFICATE").')
    return str(path.absolute())


def with_options(config: Config, options: Options) -> Config:
    """The configuration with the flags laid over it: flags win, `--opt-in` adds. ConfigError for a bad flag value."""
    site = {k: getattr(options, k) for k in ("org", "domain", "room", "codec") if getattr(options, k) is not None}
    site = {k: check("command line", f"--{k}", RULES["site"][k], v) for k, v in site.items()}
    network = {}
    if options.interface is not None:
        network["interface"] = check("command line", "--interface", values.interface, options.interface)
    opt_in = check("command line", "--opt-in", values.many(values.text), [*config.profiles.opt_in, *options.opt_in])
    sources = dict(config.sources)
    sources.update({f"site.{key}": f"--{key}" for key in site})
    if options.profiles:
        sources["profiles.enabled"] = "--profile"
    if options.interface is not None:
        sources["network.interface"] = "--interface"
    if options.opt_in:
        before = f"{config.said('profiles.opt_in')} or " if config.profiles.opt_in else ""
        sources["profiles.opt_in"] = f"{before}--opt-in"
    return msgspec.structs.replace(
        config,
        sources=sources,
        site=msgspec.structs.replace(config.site, **site),
        network=msgspec.structs.replace(config.network, **network),
        profiles=msgspec.structs.replace(
            config.profiles, enabled=tuple(dict.fromkeys(options.profiles)) or config.profiles.enabled, opt_in=opt_in
        ),
    )
