"""How long what is kept, and letting go of the rest: a little at a time, as jobs of the writer."""

from __future__ import annotations

import sqlite3

from roomprobe.collector.prepare import BUCKET_MS
from roomprobe.model import Frozen

DAY_MS = 86_400_000
A_BITE = 5_000  # rows of one job, so that no upload waits long


class Keep(Frozen, frozen=True, kw_only=True):
    """Days; 0 keeps for ever. `runs`: each run, and the documents behind changes; `aggregates`: round-trip times;
    `intervals`: what was said when, loss records and which numbers came."""

    runs: int = 7
    aggregates: int = 31  # what the pages show at most; they are nearly all of the bytes (docs/bench.md)
    intervals: int = 730


def let_go(db: sqlite3.Connection, now: int, keep: Keep) -> bool:
    """One bite of everything that is too old; True when there may be more."""
    more = False
    if keep.runs:
        old = now - keep.runs * DAY_MS
        more |= _bite(
            db,
            "DELETE FROM run WHERE (chain, seq) IN (SELECT chain, seq FROM run WHERE received < ? ORDER BY received LIMIT ?)",
            old,
        )
        # The newest document of an agent is what its room is shown by.
        more |= _bite(
            db,
            "DELETE FROM document WHERE id IN (SELECT document.id FROM span JOIN document ON document.chain = span.chain "
            "AND document.seq = span.doc JOIN chain ON chain.id = span.chain WHERE span.at_last < ? AND document.seq <> chain.doc "
            "LIMIT ?)",
            old,
        )
    if keep.aggregates:
        bucket = (now - keep.aggregates * DAY_MS) // BUCKET_MS
        for (agent,) in db.execute("SELECT id FROM agent").fetchall():
            more |= _bite(
                db,
                "DELETE FROM aggregate WHERE (agent, bucket, series) IN "
                f"(SELECT agent, bucket, series FROM aggregate WHERE agent = {int(agent)} AND bucket < ? LIMIT ?)",
                bucket,
            )
            if more:
                return True
    if keep.intervals:
        old = now - keep.intervals * DAY_MS
        # The last one stands whatever its age: it is what is so now. Spans stay too: they are few, and tell a repeat.
        more |= _bite(
            db, "DELETE FROM interval WHERE id IN (SELECT id FROM interval WHERE at < ? AND last = 0 LIMIT ?)", old
        )
        more |= _bite(db, "DELETE FROM loss WHERE id IN (SELECT id FROM loss WHERE received < ? LIMIT ?)", old)
    more |= _bite(
        db,
        "DELETE FROM enrolment WHERE hash IN (SELECT hash FROM enrolment WHERE expires < ? LIMIT ?)",
        now - 7 * DAY_MS,
    )
    more |= _bite(db, "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? LIMIT ?)", now - 730 * DAY_MS)
    return more


def _bite(db: sqlite3.Connection, query: str, old: int) -> bool:
    return db.execute(query, (old, A_BITE)).rowcount >= A_BITE
