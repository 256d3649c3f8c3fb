"""A spool that was damaged, lost or is somebody else's: set aside once, a new epoch, and a loss record that says what is known."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from roomprobe.spool.store import Store
from tests.spool.helpers import Clock, drained, everything, losses, run, runs, store


def used(directory: Path, count: int = 60, arrived: int = 0) -> str:
    """A closed spool with runs in it, the first `arrived` of them delivered; its epoch."""
    spool = store(directory)
    for number in range(count):
        spool.append(run(number, outcome="fault" if number % 2 else None, size=4000))
    spool.acknowledge(item.position for item in spool.next_batch(arrived, 1 << 30) if arrived)
    spool.close()
    return spool.epoch or ""


def overwrite(file: Path, how: str) -> None:
    data = bytearray(file.read_bytes())
    if how == "header":
        data[:16] = b"not an SQLite fi"
    elif how == "zeros":
        data[:] = bytes(len(data))
    elif how == "cut":
        data = data[: len(data) // 2]
    elif how == "cut odd":
        data = data[: len(data) // 2 + 1000]
    elif how == "emptied":
        data = bytearray()
    elif how == "text":
        data = bytearray(b"hello")
    elif how == "pages":
        for page in range(1, len(data) // 4096):
            data[page * 4096 : page * 4096 + 64] = random.Random(page).randbytes(64)
    file.write_bytes(data)


@pytest.mark.parametrize("how", ["header", "zeros", "cut", "cut odd", "emptied", "text", "pages"])
def test_a_damaged_spool_is_set_aside(tmp_path: Path, how: str) -> None:
    epoch = used(tmp_path, arrived=20)
    overwrite(tmp_path / "spool.db", how)
    damaged = (tmp_path / "spool.db").read_bytes()
    spool = store(tmp_path)
    assert spool.epoch not in (epoch, None)
    (loss,) = losses(everything(spool))
    assert (loss.reason, loss.seq, loss.count, loss.last) == ("spool-corrupt", 0, None, None)
    assert (loss.of, loss.first) == (epoch, 20), "all up to 19 had arrived"
    assert spool.state().lost is None
    if how != "emptied":
        assert (tmp_path / "spool.db.corrupt").read_bytes() == damaged
    assert spool.append(run()).seq == 1
    assert len(drained(spool)) == 2
    spool.close()
    assert store(tmp_path).epoch == spool.epoch


def test_without_a_mark_it_is_not_known_after_which(tmp_path: Path) -> None:
    used(tmp_path)
    (tmp_path / "spool.mark").write_text('{"epoch": "../..", "delivered": -1}')
    overwrite(tmp_path / "spool.db", "zeros")
    (loss,) = losses(everything(store(tmp_path)))
    assert (loss.reason, loss.of, loss.first, loss.last, loss.count) == ("spool-corrupt", None, None, None, None)


def test_one_is_kept_and_not_more(tmp_path: Path) -> None:
    for round_ in range(3):
        used(tmp_path, count=5 + round_)
        overwrite(tmp_path / "spool.db", "text")
    store(tmp_path).close()
    assert sorted(file.name for file in tmp_path.glob("*corrupt*")) == ["spool.db.corrupt"]


def test_a_spool_that_is_gone_began_anew(tmp_path: Path) -> None:
    epoch = used(tmp_path)
    (tmp_path / "spool.db").unlink()
    spool = store(tmp_path)
    (loss,) = losses(everything(spool))
    assert (loss.reason, loss.of, loss.first, loss.count) == ("reset", epoch, 0, None)


def test_the_first_start_has_lost_nothing(tmp_path: Path) -> None:
    assert everything(store(tmp_path)) == []
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "spool.db").touch()  # as a crash in the first instant leaves it
    assert everything(store(tmp_path / "second")) == []


def test_the_log_of_a_lost_spool_is_not_replayed(tmp_path: Path) -> None:
    spool = store(tmp_path)
    spool.append(run())
    log = (tmp_path / "spool.db-wal").read_bytes()
    epoch = spool.epoch
    spool.close()
    (tmp_path / "spool.db").unlink()
    (tmp_path / "spool.db-wal").write_bytes(log)
    spool = store(tmp_path)
    assert spool.epoch != epoch and runs(everything(spool)) == []


def test_another_program_s_database_is_set_aside(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "spool.db")
    db.execute("CREATE TABLE record (seq INTEGER)")
    db.commit()
    db.close()
    spool = store(tmp_path)
    assert spool.append(run()).seq == 1 and losses(everything(spool))[0].of is None


def test_a_spool_that_another_program_reads_is_not_set_aside(tmp_path: Path) -> None:
    used(tmp_path)
    db = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Exception, match=r"cannot be opened \(database is locked\)"):
        store(tmp_path)
    db.close()
    assert len(runs(everything(store(tmp_path)))) == 60


def damage_under(spool: Store, directory: Path) -> None:
    """Overwrites the file while it is in use, and lets SQLite see it."""
    db = spool._db
    assert db is not None
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite(directory / "spool.db", "pages")
    db.execute("PRAGMA shrink_memory")
    db.execute("PRAGMA cache_size=0")


def test_damage_that_shows_while_running(tmp_path: Path) -> None:
    clock = Clock()
    spool = store(tmp_path, clock)
    for number in range(60):
        spool.append(run(number, outcome="fault" if number % 2 else None, size=4000))
    epoch = spool.epoch
    damage_under(spool, tmp_path)
    positions = [spool.append(run(number, outcome="fault" if number % 2 else None, size=4000)) for number in range(9)]
    found = drained(spool)
    assert spool.epoch != epoch and losses(found)[0].of == epoch and losses(found)[0].reason == "spool-corrupt"
    assert [record.seq for record in runs(found)] == [p.seq for p in positions if p.epoch == spool.epoch] != []


def test_damage_that_shows_when_reading(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(60):
        spool.append(run(number, outcome="fault" if number % 2 else None, size=4000))
    damage_under(spool, tmp_path)
    found = everything(spool)
    assert losses(found) or runs(found)
    assert spool.state().lost is None
    spool.append(run())


def test_a_single_damaged_row_is_counted_and_passed_over(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(3):
        spool.append(run(number))
    assert spool._db is not None
    spool._db.execute("UPDATE record SET body = x'0102' WHERE seq = 1")
    assert [record.seq for record in everything(spool)] == [0, 2]
    spool.append(run(3))
    (loss,) = losses(everything(spool))
    assert (loss.reason, loss.first, loss.last, loss.count, loss.of) == ("spool-corrupt", 1, 1, 1, spool.epoch)
