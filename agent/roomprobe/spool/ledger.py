"""What happens to the tables inside one transaction: runs come in, delivered ones leave, lost ones are counted.

Nothing here commits; numbers taken in a transaction that is rolled back are taken again by the next one.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping

from roomprobe.model import Frozen
from roomprobe.spool import schema
from roomprobe.wire import upload
from roomprobe.wire.upload import LossReason

MOST_REJECTED = 16
MOST_REJECTED_BYTES = 256 * 1024
# Pages that a transaction may need beside those of the run's own body: leaves, an interior page, the list of free pages.
SLACK_PAGES = 8


class Lost(Frozen, frozen=True, kw_only=True):
    """Runs that are gone: numbers both included, None unknown; times when the first and the last of them began."""

    first: int | None
    last: int | None
    count: int | None
    since: str | None = None
    until: str | None = None


class Refusal(Frozen, frozen=True, kw_only=True):
    """Why a record will never be sent, for the loss record and for people."""

    reason: LossReason
    sentence: str


class Ledger:
    """One transaction. `number` is the next one to be taken; `dropped` the highest one that had to be dropped, or None."""

    def __init__(self, db: sqlite3.Connection, epoch: str, number: int) -> None:
        self.db = db
        self.epoch = epoch
        self.number = number
        self.dropped: int | None = None

    def take(self) -> int:
        """The next number."""
        self.number += 1
        return self.number - 1

    def settle(self, acknowledged: Mapping[int, int], aside: Mapping[int, Refusal], dropped: int) -> None:
        """Deletes what has arrived (number → revision), and moves what was refused out of the queue, into a loss record.

        A loss record that has grown since it was sent stays. What was dropped, up to the number `dropped`, while it was on its way
        and has arrived is not lost.
        """
        losses = {seq for (seq,) in self.db.execute("SELECT seq FROM loss")}
        for seq in acknowledged:
            if seq <= dropped and seq not in losses:
                self.db.execute(
                    "UPDATE loss SET revision = revision + 1, count = max(count - 1, 0) "
                    "WHERE reason = 'spool-full' AND of = ?1 AND ?2 BETWEEN first AND last",
                    (self.epoch, seq),
                )
        self.db.executemany("DELETE FROM record WHERE seq = ?", [(seq,) for seq in acknowledged])
        self.db.executemany("DELETE FROM loss WHERE seq = ? AND revision = ?", acknowledged.items())
        for seq, refusal in aside.items():
            self._reject(seq, refusal)
        if aside:
            self._trim_rejected()

    def _reject(self, seq: int, refusal: Refusal) -> None:
        kept = (seq, refusal.sentence)
        row = self.db.execute("SELECT kind, began FROM record WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            # A collector that refuses a loss record cannot be told of a loss: `rejected` alone says so.
            self.db.execute(
                "INSERT OR REPLACE INTO rejected SELECT seq, 'loss', ?2, x'' FROM loss WHERE seq = ?1", kept
            )
            self.db.execute("DELETE FROM loss WHERE seq = ?", (seq,))
            return
        self.db.execute("INSERT OR REPLACE INTO rejected SELECT seq, kind, ?2, body FROM record WHERE seq = ?1", kept)
        self.db.execute("DELETE FROM record WHERE seq = ?", (seq,))
        self.lose(refusal.reason, Lost(first=seq, last=seq, count=1, since=row[1], until=row[1]), self.epoch)

    def _trim_rejected(self) -> None:
        """Keeps the newest refused records, within bounds of number and size; the newest in any case."""
        total = 0
        rows = self.db.execute("SELECT seq, length(body) FROM rejected ORDER BY seq DESC").fetchall()
        for index, (seq, size) in enumerate(rows):
            total += size
            if index >= MOST_REJECTED or (index and total > MOST_REJECTED_BYTES):
                self.db.execute("DELETE FROM rejected WHERE seq = ?", (seq,))

    def make_room(self, size: int, most_pages: int, *, grow: bool) -> None:
        """Drops the oldest runs, as few as possible, until `size` bytes more fit into `most_pages`.

        Not `grow`: until they fit into pages that the file has already, as the disk has none to give.
        """
        need = -(-size // (schema.PAGE - 4)) + SLACK_PAGES
        while not self._fits(need, most_pages, grow=grow) and self._drop(size):
            pass

    def _fits(self, need: int, most_pages: int, *, grow: bool) -> bool:
        free = int(self.db.execute("PRAGMA freelist_count").fetchone()[0])
        return schema.used_pages(self.db) + need <= most_pages and (grow or free >= need)

    def _drop(self, size: int) -> bool:
        """Drops the oldest runs, about `size` bytes of them; whether there were any."""
        oldest = self.db.execute("SELECT seq, began, length(body) FROM record ORDER BY seq LIMIT 16").fetchall()
        chosen, freed = 0, 0
        while chosen < len(oldest) and freed < size:
            freed += oldest[chosen][2]
            chosen += 1
        if not chosen:
            return False
        (first, since, _), (last, until, _) = oldest[0], oldest[chosen - 1]
        self.db.execute("DELETE FROM record WHERE seq <= ?", (last,))
        self.dropped = last
        self.lose("spool-full", Lost(first=first, last=last, count=chosen, since=since, until=until), self.epoch)
        return True

    def lose(self, reason: LossReason, lost: Lost, of: str | None) -> None:
        """Counts runs as lost: in the loss record for that reason which is still here, or in a new one."""
        row = self.db.execute(
            "SELECT seq, first, last, count, since, until FROM loss WHERE reason = ? AND of IS ? ORDER BY seq DESC",
            (reason, of),
        ).fetchone()
        if row is None:
            values = (self.take(), 0, of, lost.first, lost.last, lost.count, lost.since, lost.until, reason)
            self.db.execute("INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            return
        seq, first, last, count, since, until = row
        self.db.execute(
            "UPDATE loss SET revision = revision + 1, first = ?, last = ?, count = ?, since = ?, until = ? WHERE seq = ?",
            (
                None if first is None or lost.first is None else min(first, lost.first),
                None if last is None or lost.last is None else max(last, lost.last),
                None if count is None or lost.count is None else count + lost.count,
                since or lost.since,
                lost.until or until,
                seq,
            ),
        )

    def insert(self, seq: int, kind: str, began: str, size: int, body: bytes) -> None:
        """Puts a run at the end of the queue."""
        self.db.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?)", (seq, kind, began, size, body))

    def remember_number(self) -> None:
        """Writes the next number down; needed only where the row with the highest number may just have left."""
        self.db.execute("UPDATE meta SET value = ? WHERE key = 'next'", (self.number,))

    def begin_anew(self, epoch: str, agent: str) -> None:
        """Another agent: a new epoch, and what was queued for the old one is counted as lost (it could not be sent as this one)."""
        first, last, count, since, until = self.db.execute(
            "SELECT min(seq), max(seq), count(*), min(began), max(began) FROM record"
        ).fetchone()
        losses = self.db.execute("SELECT first, last, count, since, until FROM loss").fetchall()
        old = self.epoch
        for table in ("record", "loss", "rejected"):
            self.db.execute(f"DELETE FROM {table}")
        self.epoch, self.number = epoch, 0
        self.db.executemany(
            "UPDATE meta SET value = ? WHERE key = ?", [(epoch, "epoch"), (agent, "agent"), (0, "next")]
        )
        if count:
            self.lose("reset", Lost(first=first, last=last, count=count, since=since, until=until), old)
        for row in losses:
            self.lose("reset", Lost(first=row[0], last=row[1], count=row[2], since=row[3], until=row[4]), old)


def packed(line: bytes) -> bytes:
    """A line as it lies in the spool."""
    return zlib.compress(line, 6)


def unpacked(body: bytes) -> bytes:
    """The line back; ValueError when it is damaged."""
    coder = zlib.decompressobj()
    try:
        line = coder.decompress(body, upload.MOST_LINE)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not coder.eof:
        raise ValueError("cut")
    return line


def loss_line(
    agent: str, epoch: str, row: tuple[int, str | None, int | None, int | None, int | None, str, str, str]
) -> bytes:
    """A row of `loss` (seq, of, first, last, count, since, until, reason) as a record's line."""
    seq, of, first, last, count, since, until, reason = row
    return upload.build(
        upload.Loss(
            agent=agent,
            epoch=epoch,
            seq=seq,
            of=of,
            first=first,
            last=last,
            count=count,
            since=since,
            until=until,
            reason=reason,  # type: ignore[arg-type]
        )
    )
