"""The queue: runs are appended, sent, acknowledged, set aside, and counted where they are lost. From one thread; engine.py has the file.

"Produced" means that the commit returned; rows leave only after the acknowledgement. Deletions wait for the next append's commit,
so that a run costs one commit: a crash in between sends what had arrived once more, and the collector knows it by its run.id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from roomprobe.spool import ledger, records, schema
from roomprobe.spool.disk import SpoolError
from roomprobe.spool.engine import Engine
from roomprobe.spool.ledger import Ledger, Lost, Refusal
from roomprobe.spool.reading import Batch, Counts, Queued, Reader
from roomprobe.spool.records import Last, Position
from roomprobe.spool.renumber import renumber
from roomprobe.wire import upload

MOST_WAITING = 32  # acknowledgements that wait for the next append


class NotKept(Exception):
    """A run could not be written down: it is counted, and the count goes into a loss record as soon as one can be."""


class State(Counts, frozen=True, kw_only=True):
    """The spool for `status`. `bytes` of `most_bytes` are in use. `lost` are runs that no loss record has told the collector yet,
    None when their number is unknown; `unwritten` those of them that could not even be written down.
    `trouble` is one sentence, None when all is well.
    """

    epoch: str | None
    next_seq: int
    most_bytes: int
    unwritten: int
    trouble: str | None


class Store(Engine):
    """One spool. Every method from the same thread; `clock` is monotonic seconds, `wall` the time as RFC 3339."""

    def close(self) -> None:
        """Writes down what can be, and gives the directory back."""
        if self._db is not None:
            self._flush()
        if self._db is not None:
            self._write_mark()
        self._shut()
        self.files.unlock()

    # --- writing

    def append(self, document: Mapping[str, Any]) -> Position:
        """Keeps a report document; its position once the commit has returned. NotKept: it could not be written, and is counted."""
        digest, began = records.prepared(document)
        try:
            position = self._retried(lambda: self._write(lambda book: self._append(book, document, digest, began)))
        except upload.TooLarge:
            return self._append_nothing(began)
        except SpoolError as error:
            self._squeeze.failure = str(error)
            position = None
        return position if position is not None else self._give_up(began)

    def _give_up(self, began: str) -> NoReturn:
        before = self._unwritten
        count, since = (before.count or 0) + 1, before.since or began
        self._unwritten = Lost(first=None, last=None, count=count, since=since, until=began)
        raise NotKept(self._squeeze.failure or "The spool cannot be written.")

    def _append(self, book: Ledger, document: Mapping[str, Any], digest: str, began: str) -> Position:
        unwritten = self._count_unwritten(book)
        seq, now = book.take(), self._clock()
        full = records.full_wanted(self._last, digest, now)
        line = records.line(records.record(document, digest, self.agent, book.epoch, seq, full=full))
        body = ledger.packed(line)
        book.make_room(len(body), self._pages, grow=not self._squeeze.tight)
        book.insert(seq, "full" if full else "same", began, len(line), body)
        if unwritten is not None:
            book.lose("spool-full", unwritten, book.epoch)
        if full:
            self._last, self._last_seq = Last(hash=digest, at=now), seq
        return Position(epoch=book.epoch, seq=seq)

    def _count_unwritten(self, book: Ledger) -> Lost | None:
        """What could not be written before takes its numbers now."""
        if not self._unwritten.count:
            return None
        first = book.number
        book.number += self._unwritten.count
        lost = self._unwritten
        return Lost(first=first, last=book.number - 1, count=lost.count, since=lost.since, until=lost.until)

    def _append_nothing(self, began: str) -> Position:
        """A run that fits into no record: its number is taken, and a loss record says so."""

        def work(book: Ledger) -> Position:
            seq = book.take()
            book.lose("rejected", Lost(first=seq, last=seq, count=1, since=began, until=began), book.epoch)
            book.remember_number()
            return Position(epoch=book.epoch, seq=seq)

        position = self._retried(lambda: self._write(work))
        return position if position is not None else self._give_up(began)

    def acknowledge(self, positions: Iterable[Position]) -> None:
        """These have arrived. Positions of an epoch that is gone mean nothing any more."""
        self._acknowledged.update({p.seq: p.revision for p in positions if p.epoch == self.epoch})
        # What was dropped while it was on its way is counted as lost, until this is written down.
        if len(self._acknowledged) >= MOST_WAITING or any(seq <= self._dropped for seq in self._acknowledged):
            self._flush()

    def set_aside(self, refused: Mapping[Position, str]) -> None:
        """These will never be taken: out of the queue, kept with the sentence that says why, counted in a loss record.

        A refused loss record means that its number was used before, by a copy of this spool: once in the life of a process that is
        answered with a new epoch, so that the count is not lost.
        """
        renumber_ = False
        for position, sentence in refused.items():
            if position.epoch != self.epoch or position.seq in self._acknowledged:
                continue
            if not self._renumbered and self._is_loss(position.seq):
                renumber_ = True
            else:
                self._aside[position.seq] = Refusal(reason="rejected", sentence=sentence[:500])
        self._flush()
        if renumber_:
            self._renumber()

    def _is_loss(self, seq: int) -> bool:
        found = self._read(lambda reader: reader.is_loss(seq))
        return bool(found)

    def _renumber(self) -> None:
        epoch, self._renumbered = self._opener.new_epoch(), True

        def work(book: Ledger) -> bool:
            renumber(book, epoch)
            book.remember_number()
            return True

        if self._retried(lambda: self._write(work)):
            self._last, self._dropped = None, -1
            self._write_mark()

    def want_full(self) -> None:
        """The next run is to be kept whole."""
        self._last = None

    def _flush(self) -> None:
        """Writes down what has arrived and what was refused. When it cannot be, it stays in memory until the next append."""

        def work(book: Ledger) -> bool:
            unwritten = self._count_unwritten(book)
            if unwritten is not None:
                book.lose("spool-full", unwritten, book.epoch)
            book.remember_number()
            return True

        if self._acknowledged or self._aside or self._unwritten.count:
            self._retried(lambda: self._write(work))

    # --- reading

    def next_batch(self, most_records: int, most_bytes: int, *, newest: bool = False) -> tuple[Queued, ...]:
        """What is to be sent next: `Reader.oldest`, or `Reader.newest`. The same again until it is acknowledged or set aside."""

        def work(reader: Reader) -> Batch:
            return reader.newest() if newest else reader.oldest(most_records, most_bytes)

        batch = self._read(work) or Batch()
        damaged = Refusal(reason="spool-corrupt", sentence="The row was damaged in the spool.")
        self._aside.update(dict.fromkeys(batch.damaged, damaged))
        return batch.queued

    def state(self) -> State:
        """What `status` shows."""
        counts = self._read(Reader.counts) or Counts()
        unwritten = self._unwritten.count or 0
        told = {name: getattr(counts, name) for name in counts.__struct_fields__}
        return State(
            **{**told, "lost": None if counts.lost is None else counts.lost + unwritten},
            epoch=self.epoch,
            next_seq=self._next,
            most_bytes=self._pages * schema.PAGE,
            unwritten=unwritten,
            trouble=self._squeeze.trouble,
        )
