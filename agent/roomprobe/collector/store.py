"""One upload into the store: what is new, what came before, and what follows from it. Runs inside the writer's transaction.

The order in which records come does not matter (tests/collector/test_order.py holds it; docs/decisions/0004-collector.md says why).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from roomprobe.collector import intervals, spans
from roomprobe.collector.intervals import Names
from roomprobe.collector.prepare import BUCKET_MS, Prepared, rank
from roomprobe.collector.writer import Refused
from roomprobe.model import Frozen
from roomprobe.wire.upload import Loss


class Conflict(Refused):
    """Records that contradict what is stored: (index, sentence) of each. Nothing of the upload is stored."""

    def __init__(self, faults: Sequence[tuple[int, str]]) -> None:
        super().__init__(f"{len(faults)} records contradict what is stored")
        self.faults = tuple(faults)


class Stored(Frozen, frozen=True, kw_only=True):
    """What the receipt says."""

    stored: int
    repeated: int
    want_full: bool


def upload(
    db: sqlite3.Connection, names: Names, agent: int, records: Sequence[Prepared], *, received: int, every_ms: int
) -> Stored:
    """Stores all records of one agent, or none (Conflict). The commit is the writer's."""
    stored = 0
    faults: list[tuple[int, str]] = []
    chains: dict[bytes, int] = {}
    changed = False
    for index, record in enumerate(records):
        chain = chains.get(record.epoch)
        if chain is None:
            chain = chains[record.epoch] = _chain(db, agent, record.epoch)
        why = _known(db, agent, chain, record)
        if why is None:
            stored += 1
            changed |= _insert(db, names, agent, chain, record, received)
        elif why:
            faults.append((index, why))
    if faults:
        raise Conflict(faults)
    newest = _state(db, agent, changed, received, every_ms)
    count(db, {"records_stored": stored, "records_repeated": len(records) - stored})
    return Stored(
        stored=stored,
        repeated=len(records) - stored,
        want_full=_lacks(db, agent, newest) or any(_unknown(db, agent, record) for record in records),
    )


def count(db: sqlite3.Connection, counts: dict[str, int]) -> None:
    """Adds to the counters that last."""
    db.executemany(
        "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        [(name, value) for name, value in counts.items() if value],
    )


def _chain(db: sqlite3.Connection, agent: int, epoch: bytes) -> int:
    row = db.execute("SELECT id FROM chain WHERE agent = ? AND epoch = ?", (agent, epoch)).fetchone()
    if row is not None:
        return int(row[0])
    return int(db.execute("INSERT INTO chain (agent, epoch) VALUES (?, ?)", (agent, epoch)).lastrowid or 0)


def _known(db: sqlite3.Connection, agent: int, chain: int, record: Prepared) -> str | None:
    """None: it is new. "": it came before. Otherwise why it cannot be stored."""
    if record.loss is None:
        row = db.execute(
            "SELECT agent, chain, seq FROM run JOIN chain ON chain.id = run.chain WHERE run.id = ?", (record.run_id,)
        ).fetchone()
        if row is not None:
            if row[0] != agent:
                return "another agent has sent a run with this id"
            if (row[1], row[2]) != (chain, record.seq) and not spans.covered(db, chain, record.seq):
                spans.insert(
                    db, chain, record.seq, hash_=None, at=record.at, body=None
                )  # no hole: it is there elsewhere
            return ""
    if not spans.covered(db, chain, record.seq):
        return None
    if db.execute("SELECT 1 FROM run WHERE chain = ? AND seq = ?", (chain, record.seq)).fetchone() is not None:
        return "another run has this number; is this box's storage a copy of another's?"
    if record.loss is not None:
        _lost(db, chain, record.seq, record.loss, record.at)
    elif db.execute("SELECT 1 FROM loss WHERE chain = ? AND seq = ?", (chain, record.seq)).fetchone() is not None:
        return "a loss record has this number; is this box's storage a copy of another's?"
    return ""  # its run was let go when its time was over


def _insert(db: sqlite3.Connection, names: Names, agent: int, chain: int, record: Prepared, received: int) -> bool:
    """A record that is new; whether intervals of its chain did change."""
    if record.loss is not None:
        _lost(db, chain, record.seq, record.loss, received)
        spans.insert(db, chain, record.seq, hash_=None, at=record.at, body=None)
        return False
    db.execute(
        "INSERT INTO run (chain, seq, id, at, started, received, full, trigger_, duration_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            chain,
            record.seq,
            record.run_id,
            record.at,
            record.started,
            received,
            record.full,
            record.trigger,
            record.duration_ms,
        ),
    )
    assert record.hash is not None
    learnt = record.content is not None and intervals.learn(db, agent, record.hash, record.content)
    dirty = spans.insert(db, chain, record.seq, hash_=record.hash, at=record.at, body=record.document)
    db.execute(
        "UPDATE chain SET top_seq = ?, top_at = ? WHERE id = ? AND (top_seq IS NULL OR top_seq < ?)",
        (record.seq, record.at, chain, record.seq),
    )
    if record.version is not None:
        db.execute("UPDATE chain SET version = ? WHERE id = ? AND doc = ?", (record.version, chain, record.seq))
    db.executemany(
        "INSERT INTO aggregate (agent, bucket, series, n, sum, least, most) VALUES (?, ?, ?, 1, ?, ?, ?) "
        "ON CONFLICT (agent, bucket, series) DO UPDATE SET n = n + 1, sum = sum + excluded.sum, "
        "least = min(least, excluded.least), most = max(most, excluded.most)",
        [(agent, record.at // BUCKET_MS, names.series(db, name), us, us, us) for name, us in record.numbers],
    )
    if learnt:
        intervals.again(db, names, agent, record.hash)
    return (dirty is not None and intervals.rebuild(db, names, chain, agent, *dirty)) or learnt


def _lost(db: sqlite3.Connection, chain: int, seq: int, loss: Loss, received: int) -> None:
    """A loss record can only grow: of two with one number the one with the larger count holds."""
    said = (
        None if loss.of is None else bytes.fromhex(loss.of),
        *(loss.first, loss.last, loss.count),
        *(loss.since, loss.until, loss.reason),
    )
    query = "SELECT of, first, last, count, since, until, reason FROM loss WHERE chain = ? AND seq = ?"
    row = db.execute(query, (chain, seq)).fetchone()
    if row is None or _size(said) > _size(tuple(row)):
        db.execute(
            "INSERT OR REPLACE INTO loss (chain, seq, of, first, last, count, since, until, reason, received) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (chain, seq, *said, received),
        )


def _size(said: tuple[object, ...]) -> tuple[int, str]:
    number = said[3]
    return (number if isinstance(number, int) else -1, msgspec.json.encode([repr(one) for one in said]).decode())


def _state(db: sqlite3.Connection, agent: int, changed: bool, received: int, every_ms: int) -> tuple[int, int] | None:
    """The agent's row after an upload; (chain, number) of its newest run."""
    # A loss record says which epoch its own came after; only where none does, the times have to tell.
    newest = db.execute(
        "SELECT id, top_seq FROM chain WHERE agent = :agent AND top_seq IS NOT NULL ORDER BY EXISTS (SELECT 1 FROM chain later "
        "JOIN loss ON loss.chain = later.id WHERE later.agent = :agent AND later.id <> chain.id AND later.top_seq IS NOT NULL "
        "AND loss.of = chain.epoch), top_at DESC, epoch DESC LIMIT 1",
        {"agent": agent},
    ).fetchone()
    before, room = db.execute("SELECT chain, room FROM agent WHERE id = ?", (agent,)).fetchone()
    db.execute(
        "UPDATE agent SET last_seen = ?, every_ms = ? WHERE id = ?",
        (received, every_ms, agent),
    )
    if newest is not None and (newest[0] != before or changed):
        db.execute("UPDATE agent SET chain = ?, rank = ? WHERE id = ?", (newest[0], _rank(db, newest[0]), agent))
    if before is None and newest is not None:
        db.execute("UPDATE room SET agent = ? WHERE id = ? AND (agent IS NULL OR agent < ?)", (agent, room, agent))
    found: tuple[int, int] | None = newest
    return found


def _rank(db: sqlite3.Connection, chain: int) -> int:
    states = db.execute(
        "SELECT outcome, reason FROM interval JOIN subject ON subject.id = interval.subject "
        "WHERE chain = ? AND last = 1 AND kind = 'service' AND outcome IS NOT NULL",
        (chain,),
    ).fetchall()
    return rank([(state, reason) for state, reason in states]) if states else -1


def _lacks(db: sqlite3.Connection, agent: int, newest: tuple[int, int] | None) -> bool:
    """Whether the newest run stands in a span without any document: what it found is not known in full."""
    if newest is None:
        return False
    row = db.execute(
        "SELECT doc FROM span WHERE chain = ? AND first <= ? ORDER BY first DESC LIMIT 1", (newest[0], newest[1])
    ).fetchone()
    return row is None or row[0] is None


def _unknown(db: sqlite3.Connection, agent: int, record: Prepared) -> bool:
    if record.hash is None or record.full:
        return False
    row = db.execute("SELECT 1 FROM known WHERE agent = ? AND hash = ?", (agent, record.hash)).fetchone()
    return row is None
