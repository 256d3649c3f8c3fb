"""The writer, opening and migrating the store, and letting go of what is old."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roomprobe.collector import boxes, database, history, ledger, people, queries, retention, store
from roomprobe.collector.database import open_to_read, open_to_write
from roomprobe.collector.intervals import Names
from roomprobe.collector.retention import DAY_MS, Keep, let_go
from roomprobe.collector.writer import MOST_WAITING, Refused, Unavailable, Writer
from roomprobe.config import ConfigError
from tests.collector.making import BEGIN, STEP, full, loss, same
from tests.collector.test_order import RECEIVED, dump, fresh, put


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    found = Writer(open_to_write(tmp_path / database.NAME))
    yield found
    found.close()


def insert(name: str) -> Any:
    return lambda db: db.execute("INSERT INTO counter (name, value) VALUES (?, 1)", (name,)).lastrowid


def names(path: Path) -> list[str]:
    db = open_to_read(path)
    found = [row[0] for row in db.execute("SELECT name FROM counter ORDER BY name")]
    db.close()
    return found


def test_one_job_that_fails_takes_nothing_of_the_others_with_it(writer: Writer, tmp_path: Path, caplog: Any) -> None:
    hold = threading.Event()
    first = writer.submit(lambda db: hold.wait(10))

    def refused(db: sqlite3.Connection) -> None:
        insert("refused")(db)
        raise Refused("no")

    def bug(db: sqlite3.Connection) -> None:
        insert("bug")(db)
        raise KeyError("bug")

    def wrong(db: sqlite3.Connection) -> None:
        insert("wrong")(db)
        db.execute("SELECT nonsense")

    jobs = [writer.submit(job) for job in (insert("a"), refused, insert("b"), wrong, bug, insert("c"))]
    hold.set()
    assert first.result(10)
    assert [type(job.exception(10)) for job in jobs] == [
        type(None),
        Refused,
        type(None),
        Unavailable,
        KeyError,
        type(None),
    ]
    assert names(tmp_path / database.NAME) == ["a", "b", "c"]
    assert "internal error" in caplog.text


def test_jobs_that_wait_together_share_a_commit(writer: Writer) -> None:
    hold = threading.Event()
    writer.submit(lambda db: hold.wait(10))
    jobs = [writer.submit(insert(f"{number}")) for number in range(50)]
    hold.set()
    for job in jobs:
        job.result(10)
    assert writer.jobs == 51 and writer.commits <= 3


def test_nothing_is_answered_before_its_commit(writer: Writer, tmp_path: Path) -> None:
    for number in range(20):
        writer.submit(insert(f"{number:02d}")).result(10)
        assert len(names(tmp_path / database.NAME)) == number + 1


def test_too_many_waiting_and_a_closed_writer_are_unavailable(writer: Writer) -> None:
    hold = threading.Event()
    writer.submit(lambda db: hold.wait(10))
    while writer._jobs.qsize():
        time.sleep(0.01)
    jobs = [writer.submit(lambda db: None) for _ in range(MOST_WAITING + 1)]
    assert isinstance(jobs[-1].exception(0), Unavailable)
    hold.set()
    jobs[-2].result(10)
    writer.close()
    assert isinstance(writer.submit(lambda db: None).exception(0), Unavailable)


def test_the_store_is_durable_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / database.NAME
    db = open_to_write(path)
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert path.stat().st_mode & 0o777 == 0o600
    db.close()
    again = open_to_write(path)
    assert again.execute("PRAGMA user_version").fetchone()[0] == len(database.MIGRATIONS)
    again.close()


def test_a_migration_is_done_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / database.NAME
    open_to_write(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    scripts = tmp_path / "steps"
    scripts.mkdir()
    (scripts / "good.sql").write_text("CREATE TABLE more (x);")
    (scripts / "bad.sql").write_text("CREATE TABLE half (x); CREATE TABLE room (x);")
    with pytest.raises(sqlite3.Error):
        database._migrate(db, "x", (database.MIGRATIONS[0], str(scripts / "bad.sql")))
    assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    database._migrate(db, "x", (database.MIGRATIONS[0], str(scripts / "good.sql")))
    assert db.execute("PRAGMA user_version").fetchone()[0] == 2
    with pytest.raises(ConfigError, match="newer roomprobe"):
        database._migrate(db, "x")
    db.close()


def aged() -> tuple[sqlite3.Connection, Names, list[Any]]:
    """An agent with three changes and a loss record; the last change is open."""
    db, known = fresh(), Names()
    db.row_factory = None
    first = full(0, {"F1": "open"})
    second = full(2, {"F1": "filtered/path-ends"}, state="broken")
    third = full(4, {"F1": "open"})
    records = [first, same(1, first), second, loss(3, 3, 3), third, same(5, third)]
    put(db, known, records)
    return db, known, records


def count(db: sqlite3.Connection) -> dict[str, int]:
    tables = ("run", "document", "aggregate", "interval", "loss", "span")
    return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def test_what_is_old_is_let_go_and_what_is_so_now_stands() -> None:
    db, known, records = aged()
    before = count(db)
    assert let_go(db, RECEIVED, Keep()) is False
    assert count(db) == before
    let_go(db, RECEIVED + 8 * DAY_MS, Keep())
    assert count(db) == before | {"run": 0, "document": 1}
    let_go(db, RECEIVED + 401 * DAY_MS, Keep())
    assert count(db)["aggregate"] == 0
    let_go(db, RECEIVED + 731 * DAY_MS, Keep())
    after = count(db)
    assert (after["interval"], after["loss"], after["span"]) == (2, 0, before["span"])
    assert put(db, known, records[:3]).repeated == 3  # the numbers that came are still known
    following = full(6, {"F1": "filtered/path-ends"}, state="broken")
    put(db, known, [following])
    ask = (
        "SELECT seq, outcome, last FROM interval JOIN subject ON subject.id = subject WHERE kind = 'check' ORDER BY seq"
    )
    assert db.execute(ask).fetchall() == [(4, "open", 0), (6, "filtered", 1)]


def test_zero_days_keep_for_ever() -> None:
    db, _, _ = aged()
    before = count(db)
    let_go(db, RECEIVED + 100_000 * DAY_MS, Keep(runs=0, aggregates=0, intervals=0))
    assert count(db) == before


def test_a_bite_is_small_and_says_that_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    db, _, _ = aged()
    monkeypatch.setattr(retention, "A_BITE", 2)
    assert let_go(db, RECEIVED + 8 * DAY_MS, Keep()) is True
    assert count(db)["run"] == 3
    while let_go(db, RECEIVED + 8 * DAY_MS, Keep()):
        pass
    assert count(db)["run"] == 0


def test_late_records_still_fit_when_the_runs_around_them_were_let_go() -> None:
    whole, known = fresh(), Names()
    first = full(0, {"F1": "open"})
    middle = full(5, {"F1": "filtered/path-ends"}, state="broken")
    last = full(9, {"F1": "open"})
    parts = [first, *(same(n, first) for n in range(1, 5)), middle, *(same(n, middle) for n in range(6, 9)), last]
    put(whole, known, parts)
    late, names_ = fresh(), Names()
    put(late, names_, [last, first])
    late.execute("DELETE FROM run")
    put(late, names_, parts)
    assert dump(late)["spans"] == dump(whole)["spans"]
    assert [row[:8] for row in dump(late)["intervals"]] == [row[:8] for row in dump(whole)["intervals"]]


def test_a_conflict_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / database.NAME
    fresh(path).close()
    writer, known = Writer(open_to_write(path)), Names()
    first = full(0, {"F1": "open"})
    assert writer.submit(lambda db: put(db, known, [first])).result(10).stored == 1
    clone = same(0, first, id="00000000-0000-4000-8000-000000000000")
    failed = writer.submit(lambda db: put(db, known, [full(1, {"F7": "open"}), clone]))
    assert isinstance(failed.exception(10), store.Conflict)
    assert writer.submit(count).result(10)["run"] == 1
    writer.close()


def test_queries_of_an_empty_store(tmp_path: Path) -> None:
    path = tmp_path / database.NAME
    open_to_write(path).close()
    db = open_to_read(path)
    assert queries.fleet(db, BEGIN).rooms == () and queries.fleet(db, BEGIN).pages == 1
    assert queries.summary(db, BEGIN).total == 0
    assert history.changes(db) == []
    with pytest.raises(boxes.UnknownRoom):
        queries.room(db, BEGIN, "x")
    assert queries.document(db, "x") is None and queries.room_of_run(db, "x") is None
    db.close()


def test_a_room_whose_document_never_came_is_unknown_not_healthy() -> None:
    db, known = fresh(), Names()
    put(db, known, [same(1, full(0, {"F1": "open"}))])
    db.row_factory = sqlite3.Row
    (room,) = queries.fleet(db, RECEIVED + STEP).rooms
    assert (room.state, room.services, room.silent) == ("unknown", (), False)


def test_what_was_handed_out_is_listed_without_its_secret() -> None:
    db = fresh()
    db.row_factory = sqlite3.Row
    _, link = people.share(db, BEGIN, name="Boardroom 4", label="firewall team", days=7)
    _, token = people.api_token(db, BEGIN, "prometheus")
    (share,), (given,) = ledger.shares(db), ledger.api_tokens(db)
    assert (share.label, share.room, share.expires) == ("firewall team", "Boardroom 4", BEGIN + 7 * DAY_MS)
    assert (given.label, given.room, given.revoked) == ("prometheus", None, None)
    said = str([share, given, *ledger.audit(db)])
    assert link not in said and token not in said and "share link 1 for Boardroom 4" in said
