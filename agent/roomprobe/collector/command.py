"""`roomprobe collector` and its sub-words: arguments in, exit status out. Mistakes are one sentence and status 3.

The sub-words work on the store beside a running collector; SQLite keeps the two apart.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from roomprobe.collector import first, people, tokens
from roomprobe.collector.database import NAME, open_to_write, writable
from roomprobe.collector.exporters import options
from roomprobe.collector.retention import Keep
from roomprobe.config import ConfigError
from roomprobe.enrol import invitation
from roomprobe.text import escape

T = TypeVar("T")
MOST_NAME = 200


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.rstrip('.')}; `{self.prog} --help` says what is allowed.")


def main(arguments: Sequence[str]) -> int:
    """Runs `roomprobe collector` with these arguments; the exit status. ConfigError."""
    words = {"enrol": _enrol, "token": _token, "revoke": _revoke, "share": _share, "password": _password}
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in words:
            raise ConfigError(f'"{escape(arguments[0], 60)}" is none of {", ".join(words)}.')
        return words[arguments[0]](list(arguments[1:]))
    return _serve(list(arguments))


def state_directory() -> Path:
    """Where the store is unless --state says otherwise: systemd's, root's, or the user's own (XDG)."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given.startswith("/"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/roomprobe-collector")
    base = os.environ.get("XDG_STATE_HOME", "")
    home = Path(base) if base.startswith("/") else Path("~/.local/state").expanduser()
    return home / "roomprobe-collector"


def _serve(arguments: list[str]) -> int:
    parser = _parser(
        "",
        "Takes the runs of many boxes; alone: on this machine. Sub-words: enrol, token, share, revoke, password (each has a --help).",
    )
    parser.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        type=_listen,
        default=("127.0.0.1", 8080),
        help="where to listen (default 127.0.0.1:8080)",
    )
    parser.add_argument(
        "--url", metavar="URL", type=_url, help="what boxes and people reach it by, when that is something else"
    )
    parser.add_argument("--cert", metavar="FILE", type=options.path, help="serve HTTPS with this certificate (PEM)")
    parser.add_argument("--key", metavar="FILE", type=options.path, help="and its key")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="a proxy has the certificate: plain HTTP, X-Forwarded-* is believed from this machine",
    )
    parser.add_argument(
        "--keep-runs", metavar="DAYS", type=_days, default=7, help="keep each run so long (default 7; 0: for ever)"
    )
    parser.add_argument(
        "--keep-aggregates", metavar="DAYS", type=_days, default=31, help="keep round-trip times so long (default 31)"
    )
    parser.add_argument(
        "--keep-intervals",
        metavar="DAYS",
        type=_days,
        default=730,
        help="keep what was said when so long (default 730)",
    )
    options.add(parser)
    given = parser.parse_args(arguments)
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


def _enrol(arguments: list[str]) -> int:
    parser = _parser(
        " enrol", "Prints a link, and the same as a QR code, that enrols one box for a room. It works once."
    )
    parser.add_argument("--room", metavar="NAME", required=True, type=_name, help="the room that the box stands in")
    parser.add_argument("--site", metavar="S", type=_name, help="the room's site")
    parser.add_argument("--org", metavar="O", type=_name, help="the room's organisation")
    parser.add_argument(
        "--minutes", metavar="N", type=_minutes, default=60, help="how long the link is good (default 60)"
    )
    parser.add_argument("--url", metavar="URL", type=_url, help="what the box reaches the collector by")
    given = parser.parse_args(arguments)

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


def _token(arguments: list[str]) -> int:
    parser = _parser(" token", "Makes a token for programs that read (API, Prometheus), or lists or revokes them.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--label", metavar="TEXT", type=_name, help="make one, and what it is for")
    what.add_argument("--list", action="store_true", help="list them")
    what.add_argument("--revoke", metavar="N", type=_number, help="revoke number N")
    return _handed_out("token", parser.parse_args(arguments), people.api_token)


def _share(arguments: list[str]) -> int:
    parser = _parser(" share", "Makes a read-only link for the firewall team, or lists or revokes them.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--label", metavar="TEXT", type=_name, help="make one, and who it is for")
    what.add_argument("--list", action="store_true", help="list them")
    what.add_argument("--revoke", metavar="N", type=_number, help="revoke number N")
    parser.add_argument("--room", metavar="NAME", type=_name, help="for this room only (default: all)")
    parser.add_argument("--days", metavar="N", type=_good_days, default=30, help="how long it is good (default 30)")
    given = parser.parse_args(arguments)

    def make(db: sqlite3.Connection, now: int, label: str) -> tuple[int, str]:
        number, made = people.share(db, now, name=given.room, label=label, days=given.days)
        url = db.execute("SELECT value FROM meta WHERE name = 'url'").fetchone()
        return number, f"{url[0].rstrip('/') if url else ''}/share/{made}"

    return _handed_out("share", given, make)


def _handed_out(
    table: str, given: argparse.Namespace, make: Callable[[sqlite3.Connection, int, str], tuple[int, str]]
) -> int:
    if given.list:
        rows: list[Any] = _write(
            given.state, lambda db: db.execute(f"SELECT id, label, revoked FROM {table} ORDER BY id").fetchall()
        )
        for number, label, revoked in rows:
            _say(f"{number}  {label}{'  (revoked)' if revoked else ''}")
    elif given.revoke is not None:
        _write(given.state, lambda db: people.end(db, _now(), table, given.revoke))
        _say(f"Revoked {given.revoke}.")
    else:
        number, made = _write(given.state, lambda db: make(db, _now(), given.label))
        _say(f"Number {number}; it is not shown again:")
        _say(made)
    return 0


def _revoke(arguments: list[str]) -> int:
    parser = _parser(
        " revoke", "Revokes the enrolment of a box, or of all boxes of a room: nothing more is taken from them."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--room", metavar="NAME", type=_name, help="all boxes of this room")
    what.add_argument("--agent", metavar="ID", type=_name, help="this box")
    given = parser.parse_args(arguments)
    done = _write(given.state, lambda db: people.revoke(db, _now(), room=given.room, agent=given.agent))
    _say("\n".join(f"Revoked {agent}." for agent in done) or "It was revoked before.")
    return 0


def _password(arguments: list[str]) -> int:
    parser = _parser(
        " password",
        "Sets the dashboard's password: a new one, or with --stdin the first line of stdin. Ends every session.",
    )
    parser.add_argument("--stdin", action="store_true", help="read it from stdin")
    given = parser.parse_args(arguments)
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


def _parser(word: str, text: str) -> _Parser:
    parser = _Parser(prog=f"roomprobe collector{word}", description=text, allow_abbrev=False)
    parser.add_argument(
        "--state", metavar="DIR", type=options.path, default=state_directory(), help="where its store is"
    )
    return parser


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if not (port.isascii() and port.isdigit() and 0 <= int(port) <= 65_535):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError("must be an address and a port: 0.0.0.0:8443 or [::]:8443") from None
    return str(address), int(port)


def _url(text: str) -> str:
    if not text.startswith(("https://", "http://")) or any(c.isspace() or c in "#?'\"" for c in text):
        raise argparse.ArgumentTypeError("must begin with https:// or http:// and hold no blank, # or ?")
    return text


def _name(text: str) -> str:
    name = text.strip()
    if not 0 < len(name) <= MOST_NAME or not name.isprintable() or name in (".", ".."):
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_NAME} printable characters, and not . or ..")
    return name


def _whole(text: str, low: int, high: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}")
    return number


_days = partial(_whole, low=0, high=36_500)
_good_days = partial(_whole, low=1, high=people.MOST_DAYS)
_minutes = partial(_whole, low=1, high=43_200)
_number = partial(_whole, low=1, high=99_999_999)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _say(text: str) -> None:
    print("\n".join(escape(line, 1000) for line in text.split("\n")), flush=True)
