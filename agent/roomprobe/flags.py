"""Every flag of the command line, what each may be, and which command takes which: tables, read by cli.py alone.

Imports nothing heavy, as cli.py. docs/command-line.md is the page for people.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roomprobe.farend.limits import PORTS

MOST_TIMEOUT_S = 600.0
MOST_HOLD_S = 14_400.0
MOST_OFFSET = 65_535 - max(PORTS)  # the highest port of the controller link must stay one


def _seconds(most: float) -> Callable[[str], float]:
    """Reads a number of seconds from 1 to `most`."""

    def read(value: str) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 1.0 <= seconds <= most:
            raise argparse.ArgumentTypeError(f"must be a number of seconds from 1 to {most:.0f}")
        return seconds

    return read


def _offset(value: str) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) <= 5 else -1
    if not 0 <= number <= MOST_OFFSET:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MOST_OFFSET}")
    return number


def _ports(value: str) -> tuple[int, ...]:
    known = {str(port): port for port in PORTS}
    words = [word.strip() for word in value.split(",")]
    if not all(word in known for word in words):
        raise argparse.ArgumentTypeError(f"must be some of {', '.join(known)}, with commas between them")
    return tuple(dict.fromkeys(known[word] for word in words))


def _file(value: str) -> Path:
    if not value:
        raise argparse.ArgumentTypeError("must be a file name")
    return Path(value)


ON = {"action": "store_true"}
MANY: dict[str, Any] = {"action": "append", "default": []}
FLAGS: dict[str, dict[str, Any]] = {
    "--once": {**ON, "help": "judge the network now"},
    "--profile": {**MANY, "dest": "profiles", "metavar": "P", "help": "judge by this profile; repeatable"},
    "--org": {"metavar": "ORG", "help": "the organisation: the part before .call.sl"},
    "--domain": {"metavar": "D", "help": "the site's domain, for profiles that need it"},
    "--room": {"metavar": "NAME", "help": "the room's name, for the report"},
    "--interface": {"metavar": "IF", "help": "the network interface to judge, or to listen on"},
    "--config": {"metavar": "FILE", "type": _file, "help": "read this configuration alone"},
    "--only": {**MANY, "metavar": "ROW", "help": "only this row and the names it needs; repeatable"},
    "--opt-in": {**MANY, "metavar": "WHAT", "help": "also send openvpn or ike; repeatable"},
    "--timeout": {
        "metavar": "S",
        "type": _seconds(MOST_TIMEOUT_S),
        "default": 20.0,
        "help": "the most seconds a run may take (default 20)",
    },
    "--codec": {
        "metavar": "ADDR%IF",
        "help": "the Teamline 5141 of the controller link: fe80::1%%eth0, fd00::1 or a name",
    },
    "--hold": {
        "metavar": "S",
        "type": _seconds(MOST_HOLD_S),
        "help": "hold the controller link idle for S seconds; does it last?",
    },
    "--port-offset": {
        "metavar": "N",
        "type": _offset,
        "default": 0,
        "help": "add N to the ports of the controller link",
    },
    "--ports": {
        "metavar": "N,N",
        "type": _ports,
        "default": (),
        "help": f"some of {', '.join(map(str, PORTS))} (default all)",
    },
    "--log": {"metavar": "FILE", "type": _file, "help": "also append what happens to this file, as JSON on lines"},
    "--json": {**ON, "help": "JSON instead of text"},
    "--ndjson": {**ON, "help": "JSON on lines instead of text"},
    "--junit": {"metavar": "FILE", "type": _file, "help": "also write JUnit XML to this file"},
    "--daily": {**ON, "help": "what each target gets in a day"},
    "row": {"metavar": "ROW", "help": "a row such as F3"},
    "url": {"metavar": "URL", "help": "the link that the collector printed, in quotes"},
    "check": {"metavar": "check", "choices": ["check"], "help": "check the configuration"},
}
RUN = ("--json", "--ndjson", "--junit", "--timeout")
SITE = ("--profile", "--org", "--domain", "--interface", "--config", "--only", "--opt-in")
LINK = ("--codec", "--port-offset")
ONCE = ("--once", "--room", *SITE, *LINK, "--hold", *RUN)
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plan": ("Prints every check of a run, and those that cannot run with the reason. Sends nothing.",
             (*SITE, *LINK, "--daily", "--json")),
    "profiles": ("Lists the profiles that there are.", ("--config", "--json")),
    "explain": ("Explains one row in plain words.", ("row", "--profile", "--org", "--domain", "--config")),
    "config": ("Reads the configuration and the profiles and says whether they are right.", ("check", "--config")),
    "codec": ("Stands in for a Teamline 5141: listens on its ports, over IPv6, until Ctrl-C, and says who connects.",
              ("--interface", "--ports", "--port-offset", "--json", "--log")),
    "run": ("Judges the network on a schedule until it is told to stop; what systemd starts.",
            ("--profile", "--org", "--domain", "--room", "--interface", "--config", "--only", "--opt-in", *LINK, "--timeout")),
    "status": ("Asks the running daemon what it last found and how it is doing.", ("--json",)),
    "enrol": ("Attaches this box to a collector, with the link that `roomprobe collector enrol` printed there.", ("url",)),
    "collector": ("Takes the runs of many boxes and shows what works in which room.", ()),  # collector/command.py knows more
    "demo": ("Starts stand-in far ends on this machine, makes one run against them and prints the report.", RUN),
}  # fmt: skip
