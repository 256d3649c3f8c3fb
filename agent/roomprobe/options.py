"""The command line once parsed: one frozen value that the commands, the pipeline and the demo are handed."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roomprobe.config import Config
    from roomprobe.model import Profile


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """Every flag. None or an empty tuple: not given, so the configuration decides (`config.with_options`).

    `command` is once, plan, profiles, explain, config, codec, run, status, enrol or demo. `timeout` bounds the whole run, in seconds.
    `row` belongs to explain, `url` to enrol, `daily` to plan. `hold`: seconds that the controller link is held idle, None for its default;
    `port_offset` is added to the ports of the controller link; `ports` (some of the five) and `log` belong to codec.
    """

    command: str = "once"
    profiles: tuple[str, ...] = ()
    org: str | None = None
    domain: str | None = None
    room: str | None = None
    interface: str | None = None
    config: Path | None = None
    only: tuple[str, ...] = ()
    opt_in: tuple[str, ...] = ()
    timeout: float = 20.0
    json: bool = False
    ndjson: bool = False
    junit: Path | None = None
    daily: bool = False
    row: str | None = None
    url: str | None = None
    codec: str | None = None
    hold: float | None = None
    port_offset: int = 0
    ports: tuple[int, ...] = ()
    log: Path | None = None

    def load(self) -> tuple[Config, tuple[Profile, ...]]:
        """The configuration with the flags laid over it, and the profiles to judge by. ConfigError for any mistake."""
        from roomprobe import config, profile  # not before a command needs them: `--version` is quick

        settled = config.with_options(config.load(explicit=self.config, env=os.environ), self)
        known = profile.available()
        profile.cross_check(known, settled)
        chosen = profile.choose(known, settled.profiles.enabled, settled.said("profiles.enabled"))
        for flag, given in (("--codec", self.codec), ("--hold", self.hold), ("--port-offset", self.port_offset)):
            if given and not any(row.kind == "controller" for one in chosen for row in one.row):
                raise config.ConfigError(
                    f"{flag} is for the controller link, and no profile in use has it: add --profile teamline-5141."
                )
        return settled, chosen
