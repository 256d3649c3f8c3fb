"""From spans to intervals: where a service or a check of a chain begins to say something else.

What is stored is where each interval begins. That is a function of the spans and of what their hashes stand for, and nothing else:
`rebuild` works it out again from the first place that a record touched to where old and new agree again.
"""

from __future__ import annotations

import functools
import json
import sqlite3
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from roomprobe.collector.prepare import Content, pack, subjects, unpack

# outcome, confidence, reason, where, at_least
Value = tuple[str | None, str | None, str | None, str | None, str | None]
GONE: Value = (None, None, None, None, None)
# Skipped for these says nothing about the network: what was known stands.
_STANDS = frozenset({"interval", "interrupted"})


class Names:
    """Numbers of names, remembered; `forget` after a rollback, which may have taken rows with it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing is remembered any more."""
        self._subjects: dict[tuple[str, ...], int] = {}
        self._series: dict[str, int] = {}
        self._contents: dict[int, tuple[bool, dict[int, Value | None]]] = {}

    def subject(self, db: sqlite3.Connection, key: tuple[str, str, str, str]) -> int:
        """The number of (kind, profile, row, name)."""
        if len(self._subjects) > 200_000:
            self._subjects.clear()
        where = "kind = ? AND profile = ? AND row = ? AND name = ?"
        make = "INSERT INTO subject (kind, profile, row, name) VALUES (?, ?, ?, ?)"
        return _number(
            self._subjects,
            key,
            lambda: _found(db, f"SELECT id FROM subject WHERE {where}", key) or _made(db, make, key),
        )

    def series(self, db: sqlite3.Connection, name: str) -> int:
        """The number of a check id whose round-trip times are kept."""
        if len(self._series) > 200_000:
            self._series.clear()
        make = "INSERT INTO series (name) VALUES (?)"
        return _number(
            self._series,
            name,
            lambda: _found(db, "SELECT id FROM series WHERE name = ?", (name,)) or _made(db, make, (name,)),
        )

    def content(self, db: sqlite3.Connection, number: int) -> tuple[bool, dict[int, Value | None]]:
        """Whether it is the whole plan, and subject → what is said of it (None: what was known stands)."""
        if number not in self._contents:
            if len(self._contents) > 2_000:
                self._contents.clear()
            body = db.execute("SELECT body FROM content WHERE id = ?", (number,)).fetchone()[0]
            whole, said = json.loads(zlib.decompress(body))
            self._contents[number] = (
                whole,
                {self.subject(db, tuple(one[:4])): _value(one[4:]) for one in said},
            )
        return self._contents[number]


def _number(known: dict[Any, int], key: Any, find: Callable[[], int]) -> int:
    if key not in known:
        known[key] = find()
    return known[key]


def _found(db: sqlite3.Connection, query: str, key: tuple[Any, ...]) -> int | None:
    row = db.execute(query, key).fetchone()
    return None if row is None else int(row[0])


def _made(db: sqlite3.Connection, query: str, key: tuple[Any, ...]) -> int:
    return int(db.execute(query, key).lastrowid or 0)


def _value(said: list[Any]) -> Value | None:
    outcome, confidence, reason, where, at_least = said
    return None if outcome == "skipped" and reason in _STANDS else (outcome, confidence, reason, where, at_least)


def learn(db: sqlite3.Connection, agent: int, hash_: bytes, content: Content) -> bool:
    """Notes what an agent's hash stands for; True when spans with that hash have to be looked at again."""
    row = db.execute("SELECT content FROM known WHERE agent = ? AND hash = ?", (agent, hash_)).fetchone()
    found = _found(db, "SELECT id FROM content WHERE digest = ?", (content.digest,))
    number = found or _made(db, "INSERT INTO content (digest, body) VALUES (?, ?)", (content.digest, content.body))
    if row is not None and row[0] != number and _whole(db, row[0]) >= _whole(db, number):
        return False
    if row is not None and row[0] == number:
        return False
    db.execute("INSERT OR REPLACE INTO known (agent, hash, content) VALUES (?, ?, ?)", (agent, hash_, number))
    return True


def _whole(db: sqlite3.Connection, number: int) -> tuple[bool, bytes]:
    digest, body = db.execute("SELECT digest, body FROM content WHERE id = ?", (number,)).fetchone()
    return bool(json.loads(zlib.decompress(body))[0]), digest


def again(db: sqlite3.Connection, names: Names, agent: int, hash_: bytes) -> None:
    """Rebuilds every chain of an agent where spans with this hash stand."""
    where = "JOIN chain ON chain.id = span.chain WHERE span.hash = ? AND chain.agent = ? GROUP BY span.chain"
    for chain, low, high in db.execute(
        f"SELECT span.chain, min(first), max(first) FROM span {where}", (hash_, agent)
    ).fetchall():
        rebuild(db, names, chain, agent, low, high)


def rebuild(db: sqlite3.Connection, names: Names, chain: int, agent: int, low: int, high: int) -> bool:
    """Works out where intervals begin, from `low` at least to `high`; whether any did change."""
    new = _before(db, chain, low)
    old = dict(new)
    touched: set[int] = set()
    spans = db.execute(
        "SELECT first, at_first, doc, known.content FROM span LEFT JOIN known ON known.agent = ? AND known.hash = span.hash "
        "WHERE chain = ? AND first >= ? AND span.hash IS NOT NULL ORDER BY first",
        (agent, chain, low),
    )
    at = low
    for first, since, doc, number in spans:
        _orphans(db, chain, at, first - 1, old, touched)
        _one(db, names, chain, (first, since, doc, number), old, new, touched)
        at = first + 1
        if first >= high and new == old:
            break
    else:
        _orphans(db, chain, at, None, old, touched)
    for subject in touched:
        key = (chain, subject)
        db.execute("UPDATE interval SET last = 0 WHERE chain = ? AND subject = ? AND last = 1", key)
        last = "SELECT max(seq) FROM interval WHERE chain = ? AND subject = ?"
        db.execute(f"UPDATE interval SET last = 1 WHERE chain = ? AND subject = ? AND seq = ({last})", key + key)
    return bool(touched)


def _before(db: sqlite3.Connection, chain: int, seq: int) -> dict[int, Value]:
    """What was said of every subject just before a number."""
    newest = db.execute("SELECT max(seq) FROM interval WHERE chain = ?", (chain,)).fetchone()[0]
    select = "SELECT subject, outcome, confidence, reason, where_, at_least, kind"
    source = "FROM interval JOIN subject ON subject.id = interval.subject WHERE chain = ?"
    if newest is None or newest < seq:  # nearly always: what is so now, without the years before
        rows = db.execute(f"{select} {source} AND last = 1", (chain,))
    else:  # SQLite takes the other columns from the row of max
        rows = db.execute(f"{select}, max(seq) {source} AND seq < ? GROUP BY subject", (chain, seq))
    return {row[0]: _sign(row[1:6], row[6]) for row in rows}


def _sign(columns: Any, kind: str) -> Value:
    outcome, confidence, reason, where, at_least = columns
    return (outcome, None if kind == "service" else confidence, reason, where, at_least)


def _orphans(
    db: sqlite3.Connection, chain: int, low: int, high: int | None, old: dict[int, Value], touched: set[int]
) -> None:
    """Takes away what begins where no span begins any more."""
    upper = (1 << 62) if high is None else high
    for subject, value in _rows(db, chain, low, upper):
        old[subject] = value[0]
        touched.add(subject)
    db.execute("DELETE FROM interval WHERE chain = ? AND seq BETWEEN ? AND ?", (chain, low, upper))


def _rows(db: sqlite3.Connection, chain: int, low: int, high: int) -> list[tuple[int, tuple[Value, int, int | None]]]:
    rows = db.execute(
        "SELECT subject, outcome, confidence, reason, where_, at_least, kind, at, doc FROM interval "
        "JOIN subject ON subject.id = interval.subject WHERE chain = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        (chain, low, high),
    ).fetchall()
    return [(row[0], (_sign(row[1:6], row[6]), row[7], row[8])) for row in rows]


def _one(
    db: sqlite3.Connection,
    names: Names,
    chain: int,
    span: tuple[int, int, int | None, int | None],
    old: dict[int, Value],
    new: dict[int, Value],
    touched: set[int],
) -> None:
    """The intervals that begin with one span."""
    first, at, doc, number = span
    wanted: dict[int, Value] = {}
    if number is not None:
        whole, said = names.content(db, number)
        wanted = {subject: value for subject, value in said.items() if value is not None and new.get(subject) != value}
        if whole:
            wanted.update({s: GONE for s, value in new.items() if s not in said and value != GONE})
    there = dict(_rows(db, chain, first, first))
    for subject, (value, _, _) in there.items():
        old[subject] = value
        if subject not in wanted:
            db.execute("DELETE FROM interval WHERE chain = ? AND seq = ? AND subject = ?", (chain, first, subject))
            touched.add(subject)
    evidence = functools.cache(lambda: _evidence(db, names, chain, doc))
    for subject, value in wanted.items():
        if there.get(subject) != (value, at, doc):
            one = evidence().get(subject) if value != GONE else None
            confidence, sentence, body = _words(one) if one is not None else (None, None, None)
            db.execute(
                "INSERT OR REPLACE INTO interval (chain, subject, seq, at, outcome, confidence, reason, where_, at_least, "
                "sentence, evidence, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (chain, subject, first, at, value[0], value[1] or confidence, *value[2:], sentence, body, doc),
            )
            touched.add(subject)
    new.update(wanted)


def _evidence(db: sqlite3.Connection, names: Names, chain: int, doc: int | None) -> dict[int, Mapping[str, Any]]:
    """Subject → service or check of one document; empty when it is not there (lost, or too old)."""
    if doc is None:
        return {}
    row = db.execute("SELECT body FROM document WHERE chain = ? AND seq = ?", (chain, doc)).fetchone()
    found = {} if row is None else subjects(unpack(row[0]))
    return {names.subject(db, key): one for key, one in found.items()}


_DETAIL = ("purpose", "host", "address", "port", "transport", "source", "hop", "rtt_ms", "walk", "evidence")


def _words(one: Mapping[str, Any]) -> tuple[str, str, bytes]:
    """Confidence, sentence and evidence as an interval keeps them."""
    return one["confidence"], one["sentence"], pack({key: one[key] for key in _DETAIL if key in one})
