"""Records may come in any order, in any batches and more than once: what is stored is the same, and it is right."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomprobe.collector import prepare, store
from roomprobe.collector.database import open_to_write
from roomprobe.collector.intervals import Names
from roomprobe.wire.upload import Full, Loss, Record
from tests.collector.making import AGENT, BEGIN, STEP, full, loss, run, same

ROWS = ("F0", "F1", "F3")
OUTCOMES = ("open", "filtered/path-ends", "skipped/interval", "skipped/opt-in")
EPOCHS = ("00112233aabbccdd", "ffeeddccbbaa9988")
RECEIVED = BEGIN + 1000 * STEP


def fresh(place: Path | str = ":memory:") -> sqlite3.Connection:
    db = open_to_write(Path(place)) if place != ":memory:" else _memory()
    db.execute("INSERT INTO room (id, name, created) VALUES (1, 'Boardroom 4', 0)")
    db.execute("INSERT INTO agent (id, uuid, room, token_hash, enrolled) VALUES (1, ?, 1, x'00', ?)", (AGENT, BEGIN))
    return db


def _memory() -> sqlite3.Connection:
    from importlib import resources

    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(resources.files("roomprobe.collector").joinpath("schema.sql").read_text())
    return db


def put(db: sqlite3.Connection, names: Names, records: list[Record]) -> store.Stored:
    ready = [prepare.prepare(r, received=RECEIVED, sent=None, enrolled=BEGIN) for r in records]
    return store.upload(db, names, 1, ready, received=RECEIVED, every_ms=STEP)


def dump(db: sqlite3.Connection) -> dict[str, list[Any]]:
    """Everything that must not depend on the order, without the numbers that the store gives to names."""
    ask = {
        "runs": "SELECT hex(epoch), seq, hex(run.id), at, full FROM run JOIN chain ON chain.id = chain",
        "spans": "SELECT hex(epoch), first, last, hex(hash), at_first, at_last, span.doc FROM span "
        "JOIN chain ON chain.id = chain",
        "intervals": "SELECT hex(epoch), kind, row, name, seq, at, outcome, confidence, reason, where_, at_least, "
        "sentence, evidence, i.doc, last FROM interval i JOIN chain ON chain.id = chain JOIN subject s ON s.id = subject",
        "aggregates": "SELECT bucket, name, n, sum, least, most FROM aggregate JOIN series ON series.id = series",
        "documents": "SELECT hex(epoch), seq, body FROM document JOIN chain ON chain.id = document.chain",
        "losses": "SELECT hex(epoch), seq, first, loss.last, count, reason FROM loss JOIN chain ON chain.id = chain",
        "chains": "SELECT hex(epoch), top_seq, top_at, doc, version FROM chain",
        "agent": "SELECT hex(epoch), rank FROM agent JOIN chain ON chain.id = agent.chain",
    }
    return {name: sorted(db.execute(query).fetchall(), key=repr) for name, query in ask.items()}


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """What one agent produced in one or two epochs, some of it never to arrive."""
    records: list[Record] = []
    for number, epoch in enumerate(EPOCHS[: draw(st.integers(1, 2))]):
        base: Full | None = None
        for seq in range(draw(st.integers(1, 14))):
            at = BEGIN + STEP * (50 * number + seq)
            kind = draw(st.sampled_from(("full", "full", "same", "same", "same", "loss", "quick")))
            if kind == "loss":
                records.append(loss(seq, max(0, seq - 2), seq, epoch=epoch))
            elif kind == "same" and base is not None:
                numbers = {f"starleaf/{row}/x": draw(st.integers(0, 9)) / 8 for row in ROWS[:2]}
                records.append(same(seq, base, numbers, at=at))
            else:
                rows = ROWS[:2] if kind == "quick" else draw(st.sampled_from((ROWS, ROWS[1:])))
                said = {row: draw(st.sampled_from(OUTCOMES)) for row in rows}
                state = draw(st.sampled_from(("full", "broken")))
                trigger = "quick" if kind == "quick" else "schedule"
                one = full(seq, said, state=state, epoch=epoch, at=at, trigger=trigger)
                records.append(one)
                base = base if kind == "quick" else one
    return [record for record in records if draw(st.integers(0, 9))]


def expected(records: list[Record]) -> dict[tuple[str, str, str], list[tuple[int, str | None]]]:
    """(epoch, kind, id) → where each interval begins and what it says: worked out the slow way, from the records sorted."""
    stands = {r.hash: r.document for r in records if isinstance(r, Full)}
    for record in records:  # the whole plan holds against a quick run that happens to say the same
        if isinstance(record, Full) and record.run["trigger"] != "quick":
            stands[record.hash] = record.document
    found: dict[tuple[str, str, str], list[tuple[int, str | None]]] = {}
    value: dict[tuple[str, str, str], Any] = {}
    before: Record | None = None
    for record in sorted((r for r in records if not isinstance(r, Loss)), key=lambda r: (r.epoch, r.seq)):
        whole = stands.get(record.hash)
        joined = before is not None and (before.epoch, before.seq, before.hash) == (
            record.epoch,
            record.seq - 1,
            record.hash,
        )
        before = record
        if whole is None or joined:
            continue
        said = {(record.epoch, "service", s["id"]): (s["state"], s["reason"]) for s in whole["services"]}
        said |= {(record.epoch, "check", c["id"]): (c["outcome"], c["reason"]) for c in whole["checks"]}
        for key in value:
            if key not in said and key[0] == record.epoch and whole["run"]["trigger"] != "quick":
                said[key] = (None, None)
        for key, new in said.items():
            if new != ("skipped", "interval") and value.get(key) != new:
                value[key] = new
                found.setdefault(key, []).append((record.seq, new[0]))
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.randoms(use_true_random=False))
def test_any_order_any_batches_any_repetition(records: list[Record], chance: random.Random) -> None:
    reference = fresh()
    names = Names()
    for record in records:
        put(reference, names, [record])
    other = fresh()
    names = Names()
    again = [*records, *(r for r in records if chance.random() < 0.4)]
    chance.shuffle(again)
    while again:
        size = chance.randint(1, 6)
        put(other, names, again[:size])
        del again[:size]
        if chance.random() < 0.2:
            names.forget()
    assert dump(other) == dump(reference)
    stored = {}
    for epoch, kind, name, seq, outcome in other.execute(
        "SELECT lower(hex(epoch)), kind, name, seq, outcome FROM interval JOIN chain ON chain.id = chain "
        "JOIN subject ON subject.id = subject ORDER BY seq"
    ):
        stored.setdefault((epoch, kind, name), []).append((seq, outcome))
    assert stored == expected(records)
    told = {(r.epoch, r.seq) for r in records}
    assert {
        (e, n)
        for e, first, last in other.execute(
            "SELECT lower(hex(epoch)), first, last FROM span JOIN chain ON chain.id = chain"
        )
        for n in range(first, last + 1)
    } == told
    for table in (reference, other):
        table.close()


def test_the_evidence_of_a_change_is_that_of_the_run_that_saw_it_first() -> None:
    one, two = full(1, {"F1": "open"}), full(2, {"F1": "filtered/path-ends"})
    later = full(4, {"F1": "filtered/path-ends"})
    db, names = fresh(), Names()
    for record in (later, same(3, two), one):
        put(db, names, [record])
    ask = (
        "SELECT seq, sentence, doc FROM interval JOIN subject ON subject.id = subject WHERE kind = 'check' ORDER BY seq"
    )
    assert db.execute(ask).fetchall() == [(1, "F1 open as of run 1", 1), (3, "F1 filtered as of run 4", 4)]
    put(db, names, [two])
    assert db.execute(ask).fetchall() == [(1, "F1 open as of run 1", 1), (2, "F1 filtered as of run 2", 2)]
    assert [n for (n,) in db.execute("SELECT seq FROM document ORDER BY seq")] == [1, 2, 4]


def test_the_receipt_counts_and_asks_for_what_is_unknown() -> None:
    db, names = fresh(), Names()
    one = full(0, {"F1": "open"})
    assert put(db, names, [same(1, one)]) == store.Stored(stored=1, repeated=0, want_full=True)
    assert put(db, names, [same(1, one), one, one]) == store.Stored(stored=1, repeated=2, want_full=False)


def test_a_number_taken_by_another_run_is_a_conflict_and_nothing_is_stored() -> None:
    db, names = fresh(), Names()
    one = full(0, {"F1": "open"})
    put(db, names, [one])
    cloned = same(0, one, id="00000000-0000-4000-8000-000000000000")
    db.execute("BEGIN")
    with pytest.raises(store.Conflict) as caught:
        put(db, names, [same(1, one), cloned])
    db.execute("ROLLBACK")
    assert [index for index, _ in caught.value.faults] == [1]


def test_a_repeat_is_known_even_when_its_run_was_let_go() -> None:
    db, names = fresh(), Names()
    one = full(0, {"F1": "open"})
    put(db, names, [one])
    db.execute("DELETE FROM run")
    assert put(db, names, [one]).repeated == 1


def test_a_loss_record_only_grows() -> None:
    db, names = fresh(), Names()
    for last in (3, 9, 5):
        put(db, names, [loss(10, 1, last)])
    assert db.execute("SELECT count(*), max(last) FROM loss").fetchone() == (1, 9)


@pytest.mark.parametrize(
    ("started", "more", "at"),
    [
        (100, {"synced": True}, 100),
        (100, {"synced": False}, 100),
        (-400_000, {"synced": True}, 900_000),  # before it was enrolled
        (2_000_000, {"synced": True}, 900_000),  # after it was received
        (900_100, {"synced": True}, 900_000),
        (500_000, {"synced": False, "sent": 500_100}, 899_900),  # the clock is 400 s slow
        (500_000, {"synced": True, "sent": 500_100}, 500_000),
        (500_000, {"synced": False, "sent": 880_000}, 500_000),  # a clock that is about right is left alone
        (-40_000_000_000, {"synced": False, "sent": -39_999_999_000}, 899_000),  # a year slow, rebased
    ],
)
def test_a_run_is_placed_where_it_can_have_been(started: int, more: dict[str, Any], at: int) -> None:
    more = {"sent": None, **more}
    more["sent"] = None if more["sent"] is None else BEGIN + more["sent"]
    assert prepare.place(BEGIN + started, received=BEGIN + 900_000, enrolled=BEGIN, **more) == BEGIN + at


def test_a_run_id_of_another_agent_is_refused() -> None:
    db, names = fresh(), Names()
    one = full(0, {"F1": "open"})
    put(db, names, [one])
    db.execute("INSERT INTO agent (id, uuid, room, token_hash, enrolled) VALUES (2, 'x', 1, x'01', ?)", (BEGIN,))
    ready = [prepare.prepare(one, received=RECEIVED, sent=None, enrolled=BEGIN)]
    with pytest.raises(store.Conflict):
        store.upload(db, names, 2, ready, received=RECEIVED, every_ms=STEP)


def test_a_run_part_is_what_the_report_has() -> None:
    assert set(run(0)) == set(full(0, {"F1": "open"}).document["run"])
