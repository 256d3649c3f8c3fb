"""The arguments of `roomprobe collector` and its sub-words: a parser that ends in one sentence, and what a value may be."""

from __future__ import annotations

import argparse
import ipaddress
import os
from functools import partial
from pathlib import Path
from typing import NoReturn

from roomprobe.collector import people
from roomprobe.collector.exporters import options
from roomprobe.config import ConfigError

MOST_NAME = 200


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.rstrip('.')}; `{self.prog} --help` says what is allowed.")


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


def parser(word: str, text: str) -> argparse.ArgumentParser:
    """The parser of a sub-word, with the --state that each has."""
    made = _Parser(prog=f"roomprobe collector{word}", description=text, allow_abbrev=False)
    made.add_argument("--state", metavar="DIR", type=options.path, default=state_directory(), help="where its store is")
    return made


def listen(text: str) -> tuple[str, int]:
    """An address and a port."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if not (port.isascii() and port.isdigit() and 0 <= int(port) <= 65_535):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError("must be an address and a port: 0.0.0.0:8443 or [::]:8443") from None
    return str(address), int(port)


def url(text: str) -> str:
    """A URL that a path can be added to."""
    if not text.startswith(("https://", "http://")) or any(c.isspace() or c in "#?'\"" for c in text):
        raise argparse.ArgumentTypeError("must begin with https:// or http:// and hold no blank, # or ?")
    return text


def name(text: str) -> str:
    """A name or a label."""
    found = text.strip()
    if not 0 < len(found) <= MOST_NAME or not found.isprintable() or found in (".", ".."):
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_NAME} printable characters, and not . or ..")
    return found


def _whole(text: str, low: int, high: int) -> int:
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1
    if not low <= found <= high:
        raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}")
    return found


days = partial(_whole, low=0, high=36_500)
good_days = partial(_whole, low=1, high=people.MOST_DAYS)
minutes = partial(_whole, low=1, high=43_200)
number = partial(_whole, low=1, high=99_999_999)
