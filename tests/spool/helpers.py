"""Documents to put into a spool, a store with a clock of its own, and the records that it gives back."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roomprobe.report.document import document
from roomprobe.spool.disk import Files
from roomprobe.spool.reading import Queued
from roomprobe.spool.store import Store
from roomprobe.wire import upload
from roomprobe.wire.upload import Full, Loss, Same
from tests.report import samples

AGENT = "5f0c2c3e-8a51-4bb1-9c55-0d6f3f1b2a01"
OTHER_AGENT = "5f0c2c3e-8a51-4bb1-9c55-0d6f3f1b2a02"
ALL = (2_000, 32 << 20)


class Clock:
    """Monotonic seconds that stand still until they are told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(number: int = 0, *, outcome: str | None = None, size: int = 0) -> dict[str, Any]:
    """A report document: number tells when it began; `outcome` changes what it says; `size` bytes that do not compress."""
    made = document(samples.degraded())
    at = f"2026-11-20T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    made["run"].update(id=str(uuid.uuid4()), started=at, trigger="schedule")
    if outcome is not None:
        made["checks"][0]["outcome"] = outcome
    if size:
        made["notes"] = [random.Random(number).randbytes(size // 2).hex()]
    return made


def store(directory: Path, clock: Clock | None = None, agent: str = AGENT, most_bytes: int = 4 << 20) -> Store:
    """A store that is open."""
    made = Store(
        Files(directory), agent, most_bytes=most_bytes, clock=clock or Clock(), wall=lambda: "2026-11-21T00:00:00Z"
    )
    made.open()
    return made


def records(queued: Iterable[Queued]) -> list[upload.Record]:
    return [upload.parse(item.line) for item in queued]


def everything(of: Store) -> list[upload.Record]:
    """All that is queued, without acknowledging it."""
    return records(of.next_batch(1_000_000, 1 << 40))


def drained(of: Store) -> list[upload.Record]:
    """All that is queued, acknowledged batch by batch."""
    found: list[upload.Record] = []
    while batch := of.next_batch(50, 1 << 20):
        found += records(batch)
        of.acknowledge(item.position for item in batch)
    return found


def runs(of: Iterable[upload.Record]) -> list[Full | Same]:
    return [record for record in of if not isinstance(record, Loss)]


def losses(of: Iterable[upload.Record]) -> list[Loss]:
    return [record for record in of if isinstance(record, Loss)]
