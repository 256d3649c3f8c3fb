"""`roomprobe collector` and its sub-words: arguments in, exit status out. Mistakes are one sentence and status 3.

The sub-words work on the store beside a running collector; SQLite keeps the two apart.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from roomprobe.collector import arguments, first, listing, people, removal, tokens
from roomprobe.collector.database import NAME, open_to_write, writable
from roomprobe.collector.exporters import options
from roomprobe.collector.retention import Keep
from roomprobe.config import ConfigError
from roomprobe.enrol import invitation
from roomprobe.text import escape

T = TypeVar("T")


def main(given: Sequence[str]) -> int:
    """Runs `roomprobe collector` with these arguments; the exit status. ConfigError."""
    if given and not given[0].startswith("-"):
        if given[0] not in _WORDS:
            raise ConfigError(f'"{escape(given[0], 60)}" is none of {", ".join(_WORDS)}.')
        return _WORDS[given[0]](list(given[1:]))
    return _serve(list(given))


def _serve(words: list[str]) -> int:
    parser = arguments.parser(
        "",
        f"Takes the runs of many boxes; alone: on this machine. Sub-words: {', '.join(_WORDS)} (each has a --help).",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        type=arguments.listen,
        default=("127.0.0.1", 8080),
        help="where to listen (default 127.0.0.1:8080)",
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        type=arguments.url,
        help="what boxes and people reach it by, when that is something else",
    )
    parser.add_argument("--cert", metavar="FILE", type=options.path, help="serve HTTPS with this certificate (PEM)")
    parser.add_argument("--key", metavar="FILE", type=options.path, help="and its key")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="a proxy has the certificate: plain HTTP, X-Forwarded-* is believed from this machine",
    )
    parser.add_argument(
        "--keep-runs",
        metavar="DAYS",
        type=arguments.days,
        default=7,
        help="keep each run so long (default 7; 0: for ever)",
    )
    parser.add_argument(
        "--keep-aggregates",
        metavar="DAYS",
        type=arguments.days,
        default=31,
        help="keep round-trip times so long (default 31)",
    )
    parser.add_argument(
        "--keep-intervals",
        metavar="DAYS",
        type=arguments.days,
        default=730,
        help="keep what was said when so long (default 730)",
    )
    options.add(parser)
    given = parser.parse_args(words)
    if (given.cert is None) != (given.key is None):
        raise ConfigError("--cert and --key belong together.")
    from roomprobe.collector import serve

    keep = Keep(runs=given.keep_runs, aggregates=given.keep_aggregates, intervals=given.keep_intervals)
    address, port = given.listen
    return serve.main(
        serve.Serve(
            address=address, port=port, state=given.state, certificate=given.cert, key=given.key,
            behind_proxy=given.behind_proxy, url=given.url, keep=keep, export=options.chosen(given),
        ),
        _say,
    )  # fmt: skip


def _enrol(words: list[str]) -> int:
    parser = arguments.parser(
        " enrol", "Prints a link, and the same as a QR code, that enrols one box for a room. It works once."
    )
    parser.add_argument(
        "--room", metavar="NAME", required=True, type=arguments.name, help="the room that the box stands in"
    )
    parser.add_argument("--site", metavar="S", type=arguments.name, help="the room's site")
    parser.add_argument("--org", metavar="O", type=arguments.name, help="the room's organisation")
    parser.add_argument(
        "--minutes", metavar="N", type=arguments.minutes, default=60, help="how long the link is good (default 60)"
    )
    parser.add_argument("--url", metavar="URL", type=arguments.url, help="what the box reaches the collector by")
    given = parser.parse_args(words)

    def job(db: sqlite3.Connection) -> str:
        meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
        url = given.url or meta.get("url")
        if not url:
            raise ConfigError(
                f"No collector has run with the state directory {escape(str(given.state))}; start it, or give its --state or --url."
            )
        made = people.mint(db, _now(), given.room, minutes=given.minutes, site=given.site, org=given.org)
        pin = meta.get("pin", "")
        link = f"{url.rstrip('/')}/enrol#{made}{'.' + pin if pin else ''}"
        invitation(link)  # what no box would take is not handed out
        return link

    link = _write(given.state, job)
    _say(f"For {given.room}, once, within {given.minutes} minutes. On the box: roomprobe enrol '{link}'")
    _say(link)
    _code(link)
    return 0


def _token(words: list[str]) -> int:
    parser = arguments.parser(
        " token", "Makes a token for programs that read (API, Prometheus), or lists or revokes them."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--label", metavar="TEXT", type=arguments.name, help="make one, and what it is for")
    what.add_argument("--list", action="store_true", help="list them")
    what.add_argument("--revoke", metavar="N", type=arguments.number, help="revoke number N")
    return _handed_out("token", parser.parse_args(words), people.api_token)


def _share(words: list[str]) -> int:
    parser = arguments.parser(" share", "Makes a read-only link for the firewall team, or lists or revokes them.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--label", metavar="TEXT", type=arguments.name, help="make one, and who it is for")
    what.add_argument("--list", action="store_true", help="list them")
    what.add_argument("--revoke", metavar="N", type=arguments.number, help="revoke number N")
    parser.add_argument("--room", metavar="NAME", type=arguments.name, help="for this room only (default: all)")
    parser.add_argument(
        "--days", metavar="N", type=arguments.good_days, default=30, help="how long it is good (default 30)"
    )
    given = parser.parse_args(words)

    def make(db: sqlite3.Connection, now: int, label: str) -> tuple[int, str]:
        number, made = people.share(db, now, name=given.room, label=label, days=given.days)
        url = db.execute("SELECT value FROM meta WHERE name = 'url'").fetchone()
        return number, f"{url[0].rstrip('/') if url else ''}/share/{made}"

    return _handed_out("share", given, make)


def _handed_out(
    table: str, given: argparse.Namespace, make: Callable[[sqlite3.Connection, int, str], tuple[int, str]]
) -> int:
    if given.list:
        for line in _write(given.state, lambda db: listing.listed(db, _now(), table)):
            _say(line)
    elif given.revoke is not None:
        _write(given.state, lambda db: people.end(db, _now(), table, given.revoke))
        _say(f"Revoked {given.revoke}.")
    else:
        number, made = _write(given.state, lambda db: make(db, _now(), given.label))
        _say(f"Number {number}; it is not shown again:")
        _say(made)
    return 0


def _revoke(words: list[str]) -> int:
    parser = arguments.parser(
        " revoke", "Revokes the enrolment of a box, or of all boxes of a room: nothing more is taken from them."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--room", metavar="NAME", type=arguments.name, help="all boxes of this room")
    what.add_argument("--agent", metavar="ID", type=arguments.name, help="this box")
    given = parser.parse_args(words)
    done = _write(given.state, lambda db: people.revoke(db, _now(), room=given.room, agent=given.agent))
    _say("\n".join(f"Revoked {agent}." for agent in done) or "It was revoked before.")
    return 0


def _remove(words: list[str]) -> int:
    parser = arguments.parser(
        " remove", "Removes a room with all that was kept of it, for good. Nothing more is taken from its boxes."
    )
    parser.add_argument("--room", metavar="NAME", required=True, type=arguments.name, help="the room")
    given = parser.parse_args(words)
    _write(given.state, lambda db: removal.close(db, _now(), given.room))
    runs = 0
    said: str | None = None

    def job(db: sqlite3.Connection) -> tuple[int, str | None]:
        went, more = removal.bite(db, given.room)
        return went, None if more else removal.finish(db, _now(), given.room, runs + went)

    while said is None:
        went, said = _write(given.state, job)
        runs += went
        if said is None:
            time.sleep(removal.PAUSE_S)
    _say(said)
    return 0


def _password(words: list[str]) -> int:
    parser = arguments.parser(
        " password",
        "Sets the dashboard's password: a new one, or with --stdin the first line of stdin. Ends every session.",
    )
    parser.add_argument("--stdin", action="store_true", help="read it from stdin")
    given = parser.parse_args(words)
    made = sys.stdin.readline().rstrip("\n") if given.stdin else tokens.password()
    if not tokens.LEAST_PASSWORD <= len(made) <= tokens.MOST_PASSWORD or not made.isprintable():
        raise ConfigError(f"A password has {tokens.LEAST_PASSWORD} to {tokens.MOST_PASSWORD} printable characters.")
    stretched = tokens.stretch(made)
    _write(given.state, lambda db: people.set_password(db, _now(), stretched))
    first.forget(given.state)
    _say("The password is set." if given.stdin else f"The password is {made}")
    return 0


def _write(state: Path, job: Callable[[sqlite3.Connection], T]) -> T:
    """One job on the store, committed. ConfigError."""
    writable(state)
    db = open_to_write(state / NAME)
    try:
        db.execute("BEGIN IMMEDIATE")
        done = job(db)
        db.execute("COMMIT")
        return done
    except people.Nobody as error:
        raise ConfigError(f"{str(error).capitalize()}.") from None
    except sqlite3.Error as error:
        raise ConfigError(f"The store cannot be written now ({error}).") from None
    finally:
        db.close()


def _code(link: str) -> None:
    """The link as a QR code, on a terminal that can show it."""
    try:
        import segno
    except ImportError:
        raise ConfigError("The QR code needs segno; install roomprobe[collector].") from None
    if sys.stdout.isatty():
        segno.make(link, error="l").terminal(compact=True)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _say(text: str) -> None:
    print("\n".join(escape(line, 1000) for line in text.split("\n")), flush=True)


_WORDS = {
    "enrol": _enrol,
    "token": _token,
    "share": _share,
    "revoke": _revoke,
    "remove": _remove,
    "password": _password,
}
