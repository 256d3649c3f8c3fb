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
from typing import Any, NoReturn, TextIO

from roomprobe import __version__
from roomprobe.flags import COMMANDS, FLAGS, ONCE
from roomprobe.text import escape

# Never argparse's own 2, which would look like a broken room, nor Python's 1, which would look like a degraded one.
FAILED = 3

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
