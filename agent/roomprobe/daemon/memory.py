"""What a daemon that is started anew within the same boot has to know: when each row was asked, and what is reported of it.

Kept where it ends with the boot (the runtime directory, in memory), because times since boot mean nothing after it; an SD card is
not written to. Anything that cannot be read counts as absent.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from roomprobe.daemon.schedule import Asked
from roomprobe.model import Check, Frozen, Result, Verdict
from roomprobe.probes import Evidence

FILE = "memory.json"
MOST_BYTES = 8 << 20
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Kept(Frozen, frozen=True, kw_only=True):
    """A result that is reported."""

    check: Check
    evidence: Evidence | None
    verdict: Verdict


class Memory(Frozen, frozen=True, kw_only=True):
    """All of it. `asked` by key of the schedule; `network` as told by steady.network, as text."""

    boot: str
    asked: dict[str, Asked]
    reported: tuple[Kept, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """What was reported."""
        return tuple(Result(check=k.check, evidence=k.evidence, verdict=k.verdict) for k in self.reported)


def recall(place: Path | None) -> Memory | None:
    """What was kept in this boot."""
    if place is None:
        return None
    try:
        with (place / FILE).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        found = msgspec.json.decode(data, type=Memory) if len(data) <= MOST_BYTES else None
    except (OSError, ValueError):
        return None
    return found if found is not None and found.boot == boot() else None


def keep(place: Path | None, asked: dict[str, Asked], reported: tuple[Result, ...]) -> None:
    """Writes it down, whole or not at all."""
    if place is None:
        return
    kept = tuple(Kept(check=r.check, evidence=r.evidence, verdict=r.verdict) for r in reported)
    name = None
    try:
        place.mkdir(mode=0o750, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place, prefix=f".{FILE}.")
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(Memory(boot=boot(), asked=asked, reported=kept)))
        Path(name).replace(place / FILE)
    except OSError:
        if name is not None:
            Path(name).unlink(missing_ok=True)


def boot() -> str:
    """The id of this boot; empty when the kernel does not say."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
