"""A new epoch for a spool whose numbers somebody else has used: a copied SD card, a machine set back to a snapshot.

The runs keep their identity, so what had arrived under its old number is known there, and stored once.
"""

from __future__ import annotations

import msgspec

from roomprobe.spool import ledger
from roomprobe.spool.ledger import Ledger, Lost


def renumber(book: Ledger, epoch: str) -> None:
    """Numbers everything in the queue anew from 0, in its order, loss records first; those still speak of the old epoch."""
    old, book.epoch, book.number = book.epoch, epoch, 0
    losses = book.db.execute("SELECT of, first, last, count, since, until, reason FROM loss ORDER BY seq").fetchall()
    book.db.execute("DELETE FROM loss")
    book.db.execute(
        "UPDATE rejected SET seq = seq - 1 - (SELECT max(seq, 0) FROM (SELECT max(seq) AS seq FROM rejected))"
    )
    for of, first, last, count, since, until, reason in losses:
        book.lose(reason, Lost(first=first, last=last, count=count, since=since, until=until), of)
    # Twice, as the new numbers are among the old ones: at first below zero.
    for (seq,) in book.db.execute("SELECT seq FROM record ORDER BY seq").fetchall():
        kind, began, body = book.db.execute("SELECT kind, began, body FROM record WHERE seq = ?", (seq,)).fetchone()
        book.db.execute("DELETE FROM record WHERE seq = ?", (seq,))
        try:
            line = _readdressed(ledger.unpacked(body), epoch, book.number)
        except (ValueError, KeyError):
            book.lose("spool-corrupt", Lost(first=seq, last=seq, count=1, since=began, until=began), old)
            continue
        book.insert(-1 - book.take(), kind, began, len(line), ledger.packed(line))
    book.db.execute("UPDATE record SET seq = -1 - seq WHERE seq < 0")
    book.db.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))


def _readdressed(line: bytes, epoch: str, seq: int) -> bytes:
    """The same record under another number. ValueError or KeyError when it is none."""
    record = msgspec.json.decode(line)
    run = record["run"] if record["kind"] == "same" else record["document"]["run"]
    for part in (record, run):
        part.update(epoch=epoch, seq=seq)
    return msgspec.json.encode(record) + b"\n"
