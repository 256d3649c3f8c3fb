"""The commands that send nothing: plan, profiles, explain, config check.

Each prints to stdout and returns its exit status; a mistake in what it reads is a ConfigError.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import msgspec

from roomprobe import config, explain, plan, profile
from roomprobe.config import ConfigError, unknown
from roomprobe.model import Check, Host
from roomprobe.options import Options
from roomprobe.text import escape, table


def plan_command(options: Options, host: Host | None = None) -> int:
    """`roomprobe plan [--daily] [--json]`: the checks of a run; `host` is gathered from this box unless given."""
    settled, profiles = options.load()
    if host is None:
        from roomprobe.host import gather  # reads the kernel; nothing is sent

        host = gather(settled)
    made = plan.make(profiles, settled, host, only=options.only, port_offset=options.port_offset)
    if options.daily:
        days = plan.daily(made)
        print(_json({"targets": days}) if options.json else _daily_text(days))
    else:
        print(_json({"checks": made.checks}) if options.json else _plan_text(made.checks, host))
    return 0


def _plan_text(checks: tuple[Check, ...], host: Host) -> str:
    asked = [check for check in checks if check.skip is None]
    rows = [(c.row, c.purpose, _target(c), c.kind, str(c.need), c.group or "") for c in asked]
    head = ("row", "purpose", "target", "kind", "need", "one of")
    parts = [table(head, rows) if rows else "A run would ask nothing."]
    left = [check for check in checks if check.skip is not None]
    if left:
        parts.append("Not asked:")
        parts.append("\n".join(f"{c.row:<4} {escape(_target(c))}: {escape(c.skip.sentence)}" for c in left if c.skip))
    if host.trouble is not None and any(check.kind != "controller" for check in asked):
        parts.append(f"A run would send nothing now: {escape(host.trouble.sentence)}")
    first = ["looks the names up"] if any(check.kind != "controller" for check in asked) else []
    first += ["looks for the codec"] if any(_unknown_codec(check) for check in asked) else []
    then = f" A run {' and '.join(first)} first, and asks each address." if first else ""
    parts.append(f"Nothing was sent.{then}")
    return "\n\n".join(parts)


def _unknown_codec(check: Check) -> bool:
    return check.kind == "controller" and check.address is None


def _target(check: Check) -> str:
    if check.kind == "controller":
        return f"{check.address or 'the codec, to be found'} tcp {check.port}"
    if check.host is None:
        return check.purpose
    if check.kind == "dns":
        at = f" at {check.address}" if check.address else ""
        return f"{check.host}{at} {check.transport} {check.port}"
    port = check.port if check.port is not None else check.params.get("ports")
    parts = [check.host, check.transport, None if port is None else str(port)]
    if check.address is not None:
        parts.append(f"at {check.address}")
    elif check.via == "proxy":
        parts.append("through the proxy")
    elif check.skip is None:
        parts.append("at each address")
    return " ".join(part for part in parts if part)


def _daily_text(days: tuple[plan.Daily, ...]) -> str:
    head = ("target", "rows", "runs", "packets", "if all fails", "log lines")
    rows = [
        (d.target, " ".join(d.rows), str(d.runs), str(d.packets), f"+{d.ladder_packets}", str(d.log_lines))
        for d in days
    ]
    return (
        f"A day at one run every {plan.DEFAULT_SCHEDULE_S} s, at most:\n\n{table(head, rows)}\n\n"
        '"if all fails" comes on top when every check there is silent or refused at every run, for finding the place.\n'
        "Log lines are those of the far end, if it logs everything. Nothing was sent."
    )


def profiles_command(options: Options) -> int:
    """`roomprobe profiles [--json]`: every profile with its rows, status and note."""
    settled = config.load(explicit=options.config, env=os.environ)
    found = profile.available()
    if options.json:
        print(_json({"profiles": [{"enabled": k in settled.profiles.enabled, **_listed(f)} for k, f in found.items()]}))
        return 0
    rows = [
        (
            p.profile.id,
            p.profile.title,
            p.profile.version,
            p.profile.status,
            "yes" if key in settled.profiles.enabled else "no",
            " ".join(dict.fromkeys(row.id for row in p.profile.row)),
            p.origin + (" (instead of the shipped one)" if p.replaces else ""),
        )
        for key, p in found.items()
    ]
    print(table(("profile", "title", "version", "status", "enabled", "rows", "from"), rows))
    for p in found.values():
        if p.profile.note:
            print(f"\n{escape(p.profile.id)}: {escape(p.profile.note, 500)}")
    return 0


def _listed(found: profile.Found) -> dict[str, Any]:
    return {"origin": found.origin, "replaces": found.replaces, **msgspec.to_builtins(found.profile)}


def explain_command(options: Options) -> int:
    """`roomprobe explain ROW`: everything about a row; the organisation may be missing."""
    settled = config.with_options(config.load(explicit=options.config, env=os.environ), options)
    found = profile.available()
    chosen = profile.choose(found, options.profiles or tuple(found))
    texts = [text for one in chosen if (text := explain.row(one, options.row or "", settled))]
    if not texts:
        rows = [row.id for one in chosen for row in one.row]
        raise ConfigError(unknown("there is no row", options.row or "", rows))
    print("\n\n".join(texts))
    return 0


def config_check(options: Options) -> int:
    """`roomprobe config check`: reads everything that a run would read; a mistake is a ConfigError."""
    read = config.files(explicit=options.config, env=os.environ)
    settled, profiles = options.load()
    _check_collector(settled)
    print("The configuration is right." if read else "There is no configuration file; the defaults are used.")
    for path in read:
        print(f"  read      {escape(str(path))}")
    for found in profile.available().values():
        if found.profile in profiles:
            print(f"  profile   {escape(found.profile.id)} {escape(found.profile.version)} ({escape(found.origin)})")
    if settled.collector.url is not None:
        print(f"  spool     at most {settled.daemon.spool_mib} MiB wait for the collector (daemon.spool_mib)")
    needed = {
        word for p in profiles for row in p.row for word in ("org", "domain") if f"{{{word}}}" in (row.host or "")
    }
    for word in sorted(needed):
        if getattr(settled.site, word) is None:
            print(f"  note      [site] {word} is not set: every run will need --{word}")
    names = {explain.name(row, settled) for p in profiles for row in p.row if row.host is not None}
    for name in settled.targets:
        if name not in names:
            print(f"  note      [targets] {escape(name)} is used by no row of the enabled profiles")
    return 0


def _check_collector(settled: config.Config) -> None:
    from roomprobe.daemon.settings import check_collector, trust
    from roomprobe.net.https import context

    check_collector(settled)
    if settled.collector.url is None:
        return
    try:
        context(trust(settled.collector))
    except OSError as error:
        raise ConfigError(f"{settled.said('collector.url')}: [collector] cannot be used: {error.strerror}.") from None


def _json(value: Any) -> str:
    return json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=True)


COMMANDS: dict[str, Callable[[Options], int]] = {
    "plan": plan_command,
    "profiles": profiles_command,
    "explain": explain_command,
    "config": config_check,
}
