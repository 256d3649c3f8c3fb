"""Which numbers of a chain have come, as spans: numbers without a hole between them, all with the same hash.

A span never reaches over a hole, so a late record only ever adds, lengthens or joins: nothing has to be split, and the same
records give the same spans in whatever order they come.
"""

from __future__ import annotations

import sqlite3

from roomprobe.model import Frozen


class Span(Frozen, frozen=True, kw_only=True):
    """`hash` None: numbers that hold no run (loss records, repeats). `doc`: the number of its earliest document."""

    first: int
    last: int
    hash: bytes | None
    at_first: int
    at_last: int
    doc: int | None


def covered(db: sqlite3.Connection, chain: int, seq: int) -> bool:
    """Whether this number has come."""
    left = _left(db, chain, seq)
    return left is not None and left.last >= seq


def insert(
    db: sqlite3.Connection, chain: int, seq: int, *, hash_: bytes | None, at: int, body: bytes | None
) -> tuple[int, int] | None:
    """Adds a number that has not come yet. What comes back is the range in which intervals may have changed, or None."""
    left, right = _left(db, chain, seq), _span(db, chain, "first = ?", seq + 1)
    own = Span(first=seq, last=seq, hash=hash_, at_first=at, at_last=at, doc=None if body is None else seq)
    before = left if left is not None and left.last == seq - 1 and left.hash == hash_ else None
    after = right if right is not None and right.hash == hash_ else None
    parts = [part for part in (before, own, after) if part is not None]
    docs = [part.doc for part in parts if part.doc is not None]
    made = Span(
        first=parts[0].first,
        last=parts[-1].last,
        hash=hash_,
        at_first=parts[0].at_first,
        at_last=parts[-1].at_last,
        doc=docs[0] if docs else None,
    )
    if before is not None:
        db.execute(
            "UPDATE span SET last = ?, at_last = ?, doc = ? WHERE chain = ? AND first = ?",
            (made.last, made.at_last, made.doc, chain, before.first),
        )
    else:
        db.execute(
            "INSERT INTO span (chain, first, last, hash, at_first, at_last, doc) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (chain, made.first, made.last, made.hash, made.at_first, made.at_last, made.doc),
        )
    if after is not None:
        db.execute("DELETE FROM span WHERE chain = ? AND first = ?", (chain, after.first))
    _keep(db, chain, seq, body, made.doc, [doc for doc in docs if doc != made.doc])
    if hash_ is None or (before is not None and after is None and before.doc == made.doc):
        return None
    return made.first, max(seq, after.first if after is not None else seq)


def _keep(
    db: sqlite3.Connection, chain: int, seq: int, body: bytes | None, kept: int | None, others: list[int]
) -> None:
    """Two documents stay: the earliest of each span, and the newest of the chain."""
    newest = db.execute("SELECT doc FROM chain WHERE id = ?", (chain,)).fetchone()[0]
    if body is not None and (seq == kept or newest is None or seq > newest):
        db.execute("INSERT INTO document (chain, seq, body) VALUES (?, ?, ?)", (chain, seq, body))
    if body is not None and (newest is None or seq > newest):
        db.execute("UPDATE chain SET doc = ? WHERE id = ?", (seq, chain))
        if newest is not None:
            others.append(newest)
        newest = seq
    for doc in others:
        span = _left(db, chain, doc)
        if doc != newest and (span is None or span.doc != doc):
            db.execute("DELETE FROM document WHERE chain = ? AND seq = ?", (chain, doc))


def _left(db: sqlite3.Connection, chain: int, seq: int) -> Span | None:
    return _span(db, chain, "first <= ? ORDER BY first DESC LIMIT 1", seq)


def _span(db: sqlite3.Connection, chain: int, which: str, seq: int) -> Span | None:
    row = db.execute(
        f"SELECT first, last, hash, at_first, at_last, doc FROM span WHERE chain = ? AND {which}", (chain, seq)
    ).fetchone()
    return None if row is None else Span(**dict(zip(Span.__struct_fields__, row, strict=True)))
