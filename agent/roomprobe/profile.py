"""Profiles: what one kind of room system needs from a network, read strictly from TOML (docs/profiles.md).

Those shipped with the package, then the site's own; a site's profile with the id of a shipped one takes its place.
Reads files and nothing else; each fault is one sentence (ConfigError) with file, row and key.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from roomprobe import values
from roomprobe.config import Config, ConfigError, default_directories, listed, read_toml, unknown
from roomprobe.model import Frozen, Profile, Requirement, ServiceSpec
from roomprobe.outcome import Need
from roomprobe.probes import PROBES
from roomprobe.text import escape

MOST_ROWS = 500
PLACEHOLDERS = frozenset({"org", "domain"})
CLOSED: dict[str, tuple[str, ...]] = {
    "schema": ("1",),
    "status": ("current", "legacy"),
    "need": tuple(Need),
    "transport": ("udp", "tcp"),
}
NATIVE_SHAPES = ("ike", "ntp", "openvpn", "stun")  # what wire/shapes.py can build beside the opaque payload
PARAMS: dict[str, dict[str, tuple[str, ...]]] = {
    "tls": {"alpn": ("http/1.1", "h2")},
    "udp": {"native": NATIVE_SHAPES, "native_opt_in": NATIVE_SHAPES},
    "controller": {"ask": ("listen", "tls", "auth")},
}
NAMED_BY_HOST = frozenset({"tls", "tcp", "udp"})
FOUND = frozenset({"controller"})  # the target is a neighbour that is found or configured, not a name

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)
_AT = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_ID_RULE = "must be 1 to 40 letters, digits, dots, hyphens or underscores"
_WORDS = {
    "`str`": "text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
}


class Found(Frozen, frozen=True):
    """A profile and its `origin` ("shipped" or the file); `replaces`: it stands in the place of a shipped one."""

    profile: Profile
    origin: str
    replaces: bool = False


def available(directories: Sequence[Path] | None = None, *, env: Mapping[str, str] | None = None) -> dict[str, Found]:
    """Every profile by id. `directories` hold the site's *.toml (default: `profiles` beside the configuration)."""
    if directories is None:
        directories = [d / "profiles" for d in default_directories(os.environ if env is None else env)]
    found: dict[str, Found] = {}
    for path in sorted((Path(__file__).parent / "profiles").glob("*.toml")):
        profile = read(path)
        found[profile.id] = Found(profile=profile, origin="shipped")
    for directory in directories:
        here: dict[str, Path] = {}
        for path in listed(directory):
            profile = read(path)
            if profile.id in here:
                other = escape(str(here[profile.id]))
                raise ConfigError(f"{escape(str(path))}: id: {other} has the same id; each file needs its own.")
            here[profile.id] = path
            before = found.get(profile.id)
            found[profile.id] = Found(
                profile=profile,
                origin=str(path),
                replaces=before is not None and (before.origin == "shipped" or before.replaces),
            )
    return found


def choose(known: Mapping[str, Found], ids: Sequence[str], said: str = "--profile") -> tuple[Profile, ...]:
    """The profiles of these ids, in this order; ConfigError for one that does not exist. `said`: who named them."""
    for wanted in ids:
        if wanted not in known:
            raise ConfigError(unknown(f"{said}: there is no profile", wanted, known))
    return tuple(known[wanted].profile for wanted in ids)


def load(ids: Sequence[str], directories: Sequence[Path] | None = None) -> tuple[Profile, ...]:
    """`choose` from `available`."""
    return choose(available(directories), ids)


def cross_check(known: Mapping[str, Found], config: Config) -> None:
    """Holds what the site ticks and opts into against every profile; ConfigError for a word that none knows."""
    rows = [row for found in known.values() for row in found.profile.row]
    attested = [row.id for row in rows if row.attest]
    for word in config.site.attest:
        if word not in attested:
            raise ConfigError(
                unknown(f"{config.said('site.attest')}: no profile has a row to tick called", word, attested)
            )
    shapes = [shape for row in rows if row.unproven is None for shape in row.params.get("native_opt_in", ())]
    for word in config.profiles.opt_in:
        if word not in shapes:
            raise ConfigError(unknown(f"{config.said('profiles.opt_in')}: there is no", word, shapes))


def read(path: Path) -> Profile:
    """One profile file, strictly; ConfigError names file, row and key."""
    name = escape(str(path))
    raw = read_toml(path)
    rows, services = _tables(name, raw, "row"), _tables(name, raw, "service")
    if len(rows) > MOST_ROWS:
        raise ConfigError(f"{name}: a profile has at most {MOST_ROWS} rows, not {len(rows)}.")
    made = _convert(name, "", {**raw, "row": [], "service": []}, Profile)
    profile: Profile = msgspec.structs.replace(
        made,
        service=tuple(_convert(name, f"service {n}", s, ServiceSpec) for n, s in enumerate(services, 1)),
        row=tuple(_convert(name, _called(n, row), row, Requirement) for n, row in enumerate(rows, 1)),
    )
    _check(name, profile)
    return profile


def _tables(name: str, raw: dict[str, Any], key: str) -> list[Any]:
    """The [[key]] tables of a file; there must be one at least."""
    tables = raw.get(key)
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"{name}: {key}: at least one [[{key}]] is needed.")
    return tables


def _called(number: int, row: Any) -> str:
    given = row.get("id") if isinstance(row, dict) else None
    return f"row {values.shown(given)}" if isinstance(given, str) else f"row number {number}"


def _convert(name: str, called: str, raw: Any, shape: type[Any]) -> Any:
    """`raw` as the type `shape`; msgspec's finding turned into a sentence of our own."""
    at = f"{name}, {called}" if called else name
    if isinstance(raw, dict):
        fields = [field.name for field in msgspec.structs.fields(shape)]
        for key in raw:
            if key not in fields:
                raise ConfigError(f"{at}: {unknown('unknown key', key, fields)}")
    try:
        return msgspec.convert(raw, shape)
    except msgspec.ValidationError as error:
        match = _AT.fullmatch(str(error))
        what, path = (match["what"], match["path"] or "") if match else (str(error), "")
        key = path.lstrip(".")
        if key in CLOSED and isinstance(raw, dict):
            raise ConfigError(f"{at}: {unknown(f'{key}: there is no', str(raw[key]), CLOSED[key])}") from None
        what = what.replace(" | null`", "`")
        for word, plain in _WORDS.items():
            what = what.replace(word, plain)
        what = what.replace("Object missing required field", "a key is missing:").replace("`", "")
        raise ConfigError(f"{at}: {f'{escape(key)}: ' if key else ''}{escape(what[:1].lower() + what[1:])}.") from None


def _check(name: str, profile: Profile) -> None:
    """What types alone cannot say."""

    def fail(at: str, sentence: str) -> NoReturn:
        raise ConfigError(f"{name}{at}: {sentence}")

    for key, value in {"id": profile.id, **{f"service {s.id}": s.id for s in profile.service}}.items():
        if not _ID.fullmatch(value):
            fail("", f"{escape(key)}: {_ID_RULE}, not {values.shown(value)}.")
    services = [service.id for service in profile.service]
    if len(set(services)) != len(services):
        fail("", "service: two services have the same id.")
    if profile.status == "legacy" and not profile.note:
        fail("", "note: a legacy profile needs one; it is shown in every report.")
    seen: set[tuple[Any, ...]] = set()
    groups: dict[str, Requirement] = {}
    for row in profile.row:
        at = f", row {values.shown(row.id)}"
        mistake = _mistake(row, profile)
        if mistake:
            fail(at, mistake)
        asked = (row.id, row.host, row.transport, row.port)
        if asked in seen:
            fail(at, "stands twice with the same host, transport and port.")
        seen.add(asked)
        if row.group is not None:
            first = groups.setdefault(row.group, row)
            if (first.host, first.services, first.need) != (row.host, row.services, row.need):
                fail(
                    at,
                    f"group: must have the same host, services and need as row {values.shown(first.id)} of the group.",
                )
    named = {_plain_name(row) for row in profile.row if row.kind == "dns" and row.unproven is None}
    for row in profile.row:
        if row.unproven is None and row.kind not in FOUND and _plain_name(row) not in named:
            fail(
                f", row {values.shown(row.id)}",
                "host: no row looks this name up, so the row could never be judged: add a row with "
                f'kind = "dns" and host = {values.shown(row.host)}.',
            )


def _plain_name(row: Requirement) -> str:
    return (row.host or "").lower().removesuffix(".")


def _mistake(row: Requirement, profile: Profile) -> str | None:
    """The first thing wrong with one row, as a sentence."""
    services = [service.id for service in profile.service]
    if not _ID.fullmatch(row.id):
        return f"id: {_ID_RULE}."
    if not row.services:
        return "services: at least one is needed."
    for service in row.services:
        if service not in services:
            return unknown("services: there is no", service, services)
    if row.document not in profile.documents:
        return unknown("document: there is no", row.document, profile.documents)
    if row.port is not None and not 1 <= row.port <= 65535:
        return f"port: must be a whole number from 1 to 65535, not {row.port if abs(row.port) < 10**12 else 'that'}."
    if not 0 <= row.min_interval_s <= 31 * 86400:
        return "min_interval_s: must be a whole number of seconds from 0 to 2678400 (31 days)."
    if row.host is not None:
        try:
            host_of(row.host, dict.fromkeys(PLACEHOLDERS, "x"))
        except ValueError as error:
            return f"host: {error}."
    if row.unproven is not None:
        return None
    if row.kind not in PROBES:
        return unknown("kind: this release has no probe", row.kind, PROBES)
    if row.kind in FOUND and row.host is not None:
        return f"host: a row of kind {row.kind} takes none; its target is found, or set in [site]."
    if row.kind not in FOUND and row.host is None:
        return f"host: a row of kind {row.kind} needs one."
    if row.kind in NAMED_BY_HOST | FOUND and row.port is None:
        return f"port: a row of kind {row.kind} needs one."
    if row.kind in NAMED_BY_HOST | FOUND and row.transport != ("udp" if row.kind == "udp" else "tcp"):
        return f'transport: a row of kind {row.kind} needs "{"udp" if row.kind == "udp" else "tcp"}".'
    return _param_mistake(row)


def _param_mistake(row: Requirement) -> str | None:
    """The first thing wrong with the params of a row that is asked."""
    allowed = PARAMS.get(row.kind, {})
    if row.kind in FOUND and len(row.params.get("ask") or ()) != 1:
        return f"params.ask: a row of kind {row.kind} needs one of: {', '.join(allowed['ask'])}."
    for key, value in row.params.items():
        if key not in allowed:
            return unknown(f"params: a row of kind {row.kind} takes no", key, allowed)
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            return f"params.{key}: must be a list of words, not {values.shown(value)}."
        for word in value:
            if word not in allowed[key]:
                return unknown(f"params.{key}: there is no", word, allowed[key])
    return None


def host_of(template: str, given: Mapping[str, str]) -> str:
    """The name that a host template means; KeyError for a placeholder that is not given, ValueError for a wrong one."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        raise ValueError("{org} and {domain} are the only placeholders") from None
    if any(name is not None and (name not in PLACEHOLDERS or spec or how) for _, name, spec, how in parts):
        raise ValueError("{org} and {domain} are the only placeholders")
    return values.hostname("".join(text + (given[name] if name else "") for text, name, _, _ in parts))
