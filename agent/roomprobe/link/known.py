"""Certificates of codecs seen at earlier runs: one small file of this user's, so that a change can be told.

Only fingerprints and dates are kept, under the codec's address without its interface. A file that cannot be read counts as
empty; one that cannot be written is said in one sentence and never stops a run.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from roomprobe.link.evidence import ControllerEvidence
from roomprobe.report.run import Report
from roomprobe.text import escape

FILE = "codecs.json"
MOST_BYTES = 64 * 1024
MOST_CODECS = 256


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A codec's certificate (SHA-256, hex) and the day when it was last seen (RFC 3339 date)."""

    sha256: str
    day: str


def directory(env: Mapping[str, str]) -> Path | None:
    """Where state is kept: what systemd gave, /var/lib/roomprobe for root, else the XDG state directory; None without any."""
    given = env.get("STATE_DIRECTORY", "").partition(":")[0]
    if given.startswith("/"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/roomprobe")
    base = env.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):
        base = env["HOME"] + "/.local/state" if env.get("HOME", "").startswith("/") else ""
    return Path(base) / "roomprobe" if base else None


def read(place: Path | None) -> dict[str, Seen]:
    """What is known, by address; empty when there is nothing that can be read."""
    if place is None:
        return {}
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would otherwise wait for ever.
        with os.fdopen(os.open(place / FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return {}
            data = file.read(MOST_BYTES + 1)
        return msgspec.json.decode(data, type=dict[str, Seen]) if len(data) <= MOST_BYTES else {}
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return {}


def shown(report: Report) -> dict[str, Seen]:
    """The certificates that real codecs showed in a run; an emulator makes a new one at every start."""
    found = {}
    for result in report.results:
        seen = result.evidence
        if isinstance(seen, ControllerEvidence) and seen.certificate is not None and not seen.named_emulator:
            address = (result.check.address or "").partition("%")[0]
            found[address] = Seen(sha256=seen.certificate.sha256, day=report.run.started[:10])
    return found


def remember(place: Path | None, before: Mapping[str, Seen], now: Mapping[str, Seen]) -> str | None:
    """Writes `before` with `now` laid over it, whole or not at all; gives a sentence when that was not possible."""
    if dict(before) | dict(now) == dict(before):
        return None
    cannot = "The codec's certificate could not be remembered, so that the next run cannot tell whether it changed"
    if place is None:
        return f"{cannot} (there is no directory for it: neither HOME nor XDG_STATE_HOME is set)."
    kept = dict(sorted({**before, **now}.items(), key=lambda entry: entry[1].day)[-MOST_CODECS:])
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place, prefix=f".{FILE}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(msgspec.to_builtins(kept), file, indent=1)
            Path(name).replace(place / FILE)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        return f"{cannot} ({escape(str(place), 100)}: {error.strerror})."
    return None
