"""The command line: arguments in, exit status out. Every mistake is one sentence on stderr and status 3.

Imports nothing heavy: each command brings what it needs when it runs, so that `--version` and a typing error are quick.
docs/command-line.md is the page for people.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from roomprobe import __version__
from roomprobe.farend.limits import PORTS
from roomprobe.text import escape

# Never argparse's own 2, which would look like a broken room, nor Python's 1, which would look like a degraded one.
FAILED = 3
MOST_TIMEOUT_S = 600.0
MOST_HOLD_S = 14_400.0
MOST_OFFSET = 65_535 - max(PORTS)  # the highest port of the controller link must stay one

SUMMARY = """\
Says whether the network at this jack lets the room system work, where it does not, and which firewall rule to ask for.

  roomprobe --once --org ORG     judge the network now
  roomprobe plan --org ORG       what a run would send, without sending it
  roomprobe profiles             the kinds of room system that it knows
  roomprobe explain ROW          everything about one row, in plain words
  roomprobe config check         is the configuration right
  roomprobe codec                stand in for the codec that a room's touch controller talks to
  roomprobe run                  judge it again and again, as a service does; roomprobe status asks how it stands
  roomprobe enrol URL            attach this box to a collector
  roomprobe collector            take the runs of many boxes and show what works in which room
  roomprobe demo                 a whole run against stand-ins on this machine

Exit status of --once: 0 all that was tested works, 1 degraded, 2 broken, 3 cannot tell (or bad arguments or configuration)."""


class Usage(Exception):
    """A command line that cannot be understood: one sentence."""


class Parser(argparse.ArgumentParser):
    """argparse without its own way out: a mistake raises Usage."""

    def error(self, message: str) -> NoReturn:
        raise Usage(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        sys.stdout.write(message)  # argparse's own drops what cannot be written without a word


def _timeout(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= MOST_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 1 to {MOST_TIMEOUT_S:.0f}")
    return seconds


def _hold(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= MOST_HOLD_S:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 1 to {MOST_HOLD_S:.0f}")
    return seconds


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
        "type": _timeout,
        "default": 20.0,
        "help": "the most seconds a run may take (default 20)",
    },
    "--codec": {
        "metavar": "ADDR%IF",
        "help": "the Teamline 5141 of the controller link: fe80::1%%eth0, fd00::1 or a name",
    },
    "--hold": {"metavar": "S", "type": _hold, "help": "hold the controller link idle for S seconds; does it last?"},
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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter is no reason to fail
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except Usage as error:
        command = f"{arguments[0]} " if arguments and arguments[0] in COMMANDS else ""
        sentence = escape(str(error), 1000)
        return _failed(f"{sentence}{'' if sentence.endswith('?') else '.'}\nTry `roomprobe {command}--help`.")
    except KeyboardInterrupt:
        return _failed("interrupted.")
    except Exception as error:
        why = _unwritable() if isinstance(error, OSError) else None
        if isinstance(why, BrokenPipeError):
            return FAILED  # whoever read our output has gone
        if why is not None:
            return _failed(f"The report could not be written: {why.strerror}.")
        import logging  # only for our own bugs

        logging.getLogger("roomprobe").exception("roomprobe: internal error; the network was not judged.")
        return FAILED


def _open_streams() -> None:
    """A closed stdout or stderr becomes /dev/null, so that no socket is opened in its place and written to."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)


def _unwritable() -> OSError | None:
    """Whether it is stdout that cannot be written: one more byte tells. Then /dev/null takes its place."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError as error:
        _to_null(sys.stdout)  # Python would complain once more when it closes stdout
        return error
    return None


def _to_null(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _failed(sentence: str) -> int:
    try:
        print(f"roomprobe: {sentence}", file=sys.stderr, flush=True)
    except OSError:
        _to_null(sys.stderr)  # nobody can be told; the status still says it
    return FAILED


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        print(SUMMARY)
        return 0
    try:
        if not arguments[0].startswith("-"):
            return _command(arguments[0], arguments[1:])
        return _once(arguments)
    except SystemExit as error:  # argparse leaves this way after --help and --version
        return FAILED if error.code else 0


def _parser(name: str, flags: Sequence[str], text: str) -> Parser:
    parser = Parser(
        prog=name,
        description=text,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for flag in flags:
        parser.add_argument(flag, **FLAGS[flag])
    return parser


def _parse(parser: Parser, flags: Sequence[str], arguments: list[str]) -> argparse.Namespace:
    parsed, rest = parser.parse_known_args(arguments)
    if {"json", "ndjson"} <= vars(parsed).keys() and parsed.json and parsed.ndjson:
        raise Usage("--json and --ndjson exclude each other")
    if rest:
        near = difflib.get_close_matches(rest[0].partition("=")[0], [f for f in flags if f.startswith("--")], 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        word = escape(rest[0], 60)
        if rest[0] in COMMANDS:
            hint = f"; a command comes first: roomprobe {word}"
        raise Usage(f'"{word}" is not an argument of {parser.prog}{hint}')
    return parsed


def _once(arguments: list[str]) -> int:
    parser = _parser("roomprobe", ONCE, SUMMARY)
    parser.add_argument("--version", action="version", version=f"roomprobe {__version__}")
    parsed = _parse(parser, ONCE, arguments)
    if not parsed.once:
        raise Usage("say --once to judge the network now, or name a command first")
    return _run("once", parsed)


def _command(name: str, arguments: list[str]) -> int:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise Usage(f'there is no command "{escape(name, 60)}"{hint}; the commands are {", ".join(COMMANDS)}')
    if name == "collector":
        return _collector(arguments)
    text, flags = COMMANDS[name]
    return _run(name, _parse(_parser(f"roomprobe {name}", flags, text), flags, arguments))


def _collector(arguments: list[str]) -> int:
    """An extra: found by its name, so that nothing else needs it."""
    from roomprobe.config import ConfigError

    try:
        return int(importlib.import_module("roomprobe.collector.command").main(arguments))
    except ConfigError as error:
        return _failed(str(error))
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "segno"):
            raise
        return _failed(f"the collector needs {error.name}, which is not installed; install roomprobe[collector].")


def _run(name: str, parsed: argparse.Namespace) -> int:
    from roomprobe.config import ConfigError
    from roomprobe.options import Options

    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in vars(parsed).items() if k not in ("once", "check")
    }
    options = Options(command=name, **given)
    try:
        if name == "once":
            from roomprobe import pipeline

            return pipeline.once(options)
        if name == "demo":
            from roomprobe import demo

            return demo.main(options)
        if name == "codec":
            from roomprobe.farend import codec

            return codec.main(options)
        if name == "run":
            from roomprobe.daemon import run

            return run.main(options)
        if name == "status":
            from roomprobe.daemon import status

            return status.main(options)
        if name == "enrol":
            from roomprobe import enrol

            print(enrol.enrol(options.url or "", os.environ))
            return 0
        from roomprobe import commands

        return commands.COMMANDS[name](options)
    except ConfigError as error:
        return _failed(str(error))
