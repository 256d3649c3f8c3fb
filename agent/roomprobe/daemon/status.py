"""`roomprobe status`: asks the running daemon over its unix socket and prints what it says."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

from roomprobe.daemon import control
from roomprobe.options import Options
from roomprobe.text import escape, table


def main(options: Options) -> int:
    """Prints the status, as text or as JSON; 0. ConfigError when no daemon answers."""
    told = asyncio.run(control.ask(control.places(os.environ)))
    print(json.dumps(told, indent=2, ensure_ascii=True) if options.json else text(told))
    return 0


def text(told: Mapping[str, Any]) -> str:
    """The status for people."""
    parts = []
    services = [
        (s["id"], s["profile"], s["state"], f"since {s['since']}", s["transport"] or "") for s in told["services"]
    ]
    parts.append(
        table(("service", "profile", "state", "", "over"), services) if services else "No run is finished yet."
    )
    parts += [f"  {escape(s['id'])}: {escape(s['sentence'], 600)}" for s in told["services"] if s["state"] != "full"]
    parts.append("\n".join(_facts(told)))
    said = [*told["trouble"], *([f"The new configuration was refused: {told['refused']}"] if told["refused"] else [])]
    parts += [f"! {escape(sentence, 600)}" for sentence in said]
    parts += [f"  {escape(note, 600)}" for note in told["notes"]]
    return "\n".join(parts)


def _facts(told: Mapping[str, Any]) -> list[str]:
    last, running, coming = told["last_run"], told["running"], told["next_run"]
    lines = [f"daemon     {escape(told['version'])}, process {told['pid']}, since {escape(told['started'])}"]
    if last is not None:
        lines.append(f"last run   {escape(last['trigger'])}, {last['ago_s']} s ago, took {last['duration_s']} s")
    lines.append(
        f"now        a {escape(running['trigger'])} sweep is under way"
        if running is not None
        else f"next run   {escape(coming['trigger'])}, in {coming['in_s']} s"
    )
    spool, push = told["spool"], told["push"]
    if spool is not None:
        lost = "unknown" if spool["lost"] is None else spool["lost"]
        lines.append(
            f"spool      {spool['depth']} waiting, {spool['bytes']} of {spool['most_bytes']} bytes, "
            f"{spool['rejected']} refused, {lost} lost"
        )
        lines += [f"           {escape(spool['trouble'], 300)}"] if spool["trouble"] else []
        lines += [f"           refused: {escape(spool['last_refusal'], 300)}"] if spool["last_refusal"] else []
    if push is not None:
        lines.append(f"collector  {escape(push['url'])}: {push['status']}, {push['delivered']} delivered")
        lines += [f"           {escape(push['sentence'], 300)}"] if push["sentence"] else []
        lines += [f"           next try in {push['next_try_s']} s"] if push["next_try_s"] is not None else []
    return lines
