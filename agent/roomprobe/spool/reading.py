"""What is read from the spool's tables: the next batch, and the state for `status`. Nothing is written here.

`gone` maps the numbers that have arrived to their revision: they may still stand in the tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Set

from roomprobe.model import Frozen
from roomprobe.spool import ledger, schema
from roomprobe.spool.records import Position


class Queued(Frozen, frozen=True, kw_only=True):
    """A record on its way: its position, to be acknowledged, and its line."""

    position: Position
    line: bytes


class Batch(Frozen, frozen=True, kw_only=True):
    """Records in the order in which they are to be sent, and numbers of rows that could not be read."""

    queued: tuple[Queued, ...] = ()
    damaged: tuple[int, ...] = ()


class Counts(Frozen, frozen=True, kw_only=True):
    """`oldest`: when the oldest run began. `lost`: runs of all loss records here, None when one does not know."""

    depth: int = 0
    oldest: str | None = None
    bytes: int = 0
    lost: int | None = 0
    rejected: int = 0
    last_refusal: str | None = None


class Reader:
    """Reads for one agent and epoch; `aside` are numbers that are about to be set aside."""

    def __init__(
        self, db: sqlite3.Connection, agent: str, epoch: str, gone: Mapping[int, int], aside: Set[int]
    ) -> None:
        self._db, self._agent, self._epoch = db, agent, epoch
        self._gone, self._aside = gone, aside
        self._damaged: list[int] = []

    def oldest(self, most_records: int, most_bytes: int) -> Batch:
        """Loss records first, then the oldest runs, within the limits; at least one record when there is any."""
        found = self._losses()[:most_records]
        total = sum(len(queued.line) for queued in found)
        for seq, size in self._db.execute("SELECT seq, size FROM record ORDER BY seq"):
            if self._settled(seq):
                continue
            total += size
            if found and (len(found) >= most_records or total > most_bytes):
                break
            found += self._run(seq)
        return Batch(queued=tuple(found), damaged=tuple(self._damaged))

    def newest(self) -> Batch:
        """The newest whole run, and the newest run if that is another: what a dashboard wants first."""
        query = "SELECT max(seq) FROM record WHERE kind = 'full' UNION SELECT max(seq) FROM record ORDER BY 1"
        numbers = [row[0] for row in self._db.execute(query).fetchall() if row[0] is not None]
        found = [queued for seq in numbers if not self._settled(seq) for queued in self._run(seq)]
        return Batch(queued=tuple(found), damaged=tuple(self._damaged))

    def counts(self) -> Counts:
        """The numbers for `status`."""
        one = self._db.execute
        depth = sum(1 for (seq,) in one("SELECT seq FROM record") if not self._settled(seq))
        began = (began for seq, began in one("SELECT seq, began FROM record ORDER BY seq") if not self._settled(seq))
        losses = [
            count for seq, revision, count in one("SELECT seq, revision, count FROM loss") if self._open(seq, revision)
        ]
        refusal = one("SELECT reason FROM rejected ORDER BY seq DESC LIMIT 1").fetchone()
        return Counts(
            depth=depth,
            oldest=next(began, None),
            bytes=schema.used_pages(self._db) * schema.PAGE,
            lost=None if None in losses else sum(losses),
            rejected=one("SELECT count(*) FROM rejected").fetchone()[0],
            last_refusal=refusal[0] if refusal else None,
        )

    def is_loss(self, seq: int) -> bool:
        """Whether this is the number of a loss record that is still here."""
        return self._db.execute("SELECT 1 FROM loss WHERE seq = ?", (seq,)).fetchone() is not None

    def _losses(self) -> list[Queued]:
        query = "SELECT revision, seq, of, first, last, count, since, until, reason FROM loss ORDER BY seq"
        return [
            Queued(
                position=Position(epoch=self._epoch, seq=row[0], revision=revision),
                line=ledger.loss_line(self._agent, self._epoch, tuple(row)),
            )
            for revision, *row in self._db.execute(query).fetchall()
            if self._open(row[0], revision)
        ]

    def _open(self, seq: int, revision: int) -> bool:
        """Whether a loss record, as it is now, has still to arrive."""
        return self._gone.get(seq) != revision and seq not in self._aside

    def _settled(self, seq: int) -> bool:
        return seq in self._gone or seq in self._aside

    def _run(self, seq: int) -> list[Queued]:
        (body,) = self._db.execute("SELECT body FROM record WHERE seq = ?", (seq,)).fetchone()
        try:
            return [Queued(position=Position(epoch=self._epoch, seq=seq), line=ledger.unpacked(body))]
        except ValueError:
            self._damaged.append(seq)
            return []
