"""The queue itself: order, full and same, what leaves when, limits, refusals, restarts, modes of files."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from roomprobe import changes
from roomprobe.spool.disk import Files, SpoolError
from roomprobe.spool.records import Position
from roomprobe.spool.store import Store
from roomprobe.wire import upload
from roomprobe.wire.upload import Full, Same
from tests.spool.helpers import AGENT, ALL, OTHER_AGENT, Clock, drained, everything, losses, run, runs, store


def test_a_run_comes_out_as_it_went_in(tmp_path: Path) -> None:
    spool, given = store(tmp_path), run()
    position = spool.append(given)
    (record,) = everything(spool)
    assert isinstance(record, Full)
    assert (record.agent, record.epoch, record.seq) == (AGENT, spool.epoch, 0) == (AGENT, position.epoch, position.seq)
    assert record.document["agent"]["id"] == AGENT
    assert record.run == {**given["run"], "epoch": spool.epoch, "seq": 0}
    assert {**record.document, "agent": given["agent"], "run": given["run"]} == given
    assert record.hash == changes.outcome_hash(given) == changes.outcome_hash(record.document)


def test_the_same_again_is_short_and_a_change_is_whole(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for outcome in (None, None, "fault", "fault", None):
        spool.append(run(outcome=outcome))
    kinds = [type(record) for record in everything(spool)]
    assert kinds == [Full, Same, Full, Same, Full]
    same = everything(spool)[1]
    assert isinstance(same, Same) and same.hash == runs(everything(spool))[0].hash
    given = run()
    assert same.numbers == {c["id"]: c["rtt_ms"] for c in given["checks"] if c["rtt_ms"] is not None} != {}


def test_whole_once_an_hour_after_a_start_and_when_asked(tmp_path: Path) -> None:
    clock = Clock()
    spool = store(tmp_path, clock)
    spool.append(run())
    clock.now += 3599
    spool.append(run())
    clock.now += 1
    spool.append(run())
    spool.append(run())
    spool.want_full()
    spool.append(run())
    spool.close()
    spool = store(tmp_path, clock)
    spool.append(run())
    assert [type(record) for record in everything(spool)] == [Full, Same, Full, Same, Full, Full]
    assert [record.seq for record in everything(spool)] == list(range(6))


def test_rows_leave_only_after_the_acknowledgement(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(3):
        spool.append(run(number))
    batch = spool.next_batch(2, 1 << 20)
    assert [item.position.seq for item in batch] == [0, 1]
    assert spool.next_batch(2, 1 << 20) == batch
    spool.acknowledge([batch[1].position])
    assert [record.seq for record in everything(spool)] == [0, 2]
    spool.acknowledge([Position(epoch="f" * 16, seq=0)])
    assert [record.seq for record in everything(spool)] == [0, 2]


def test_a_crash_sends_what_arrived_again_and_loses_nothing(tmp_path: Path) -> None:
    """The deletion waits for the next append; the collector knows the repeat by its run.id."""
    spool = store(tmp_path)
    spool.append(run())
    spool.acknowledge([Position(epoch=spool.epoch or "", seq=0)])
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("spool.db", "spool.db-wal", "spool.mark"):  # as kill -9 leaves them
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    assert [record.seq for record in everything(store(copy))] == [0]
    spool.append(run())
    for name in ("spool.db", "spool.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    again = Store(Files(copy / "again"), AGENT, clock=Clock(), wall=lambda: "")
    (copy / "again").mkdir()
    for name in ("spool.db", "spool.db-wal"):
        (copy / "again" / name).write_bytes((tmp_path / name).read_bytes())
    again.open()
    assert [record.seq for record in everything(again)] == [1]


def test_numbers_go_on_after_everything_has_left(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(5):
        spool.append(run(number))
    epoch = spool.epoch
    assert len(drained(spool)) == 5
    spool.close()
    spool = store(tmp_path)
    assert everything(spool) == [] and spool.epoch == epoch
    assert spool.append(run()) == Position(epoch=epoch or "", seq=5)


def test_the_limits_of_a_batch(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(5):
        spool.append(run(number, outcome="fault" if number % 2 else None))
    length = len(spool.next_batch(1, 1)[0].line)
    assert len(spool.next_batch(1, 1)) == 1, "one at least, or nothing would ever move"
    assert len(spool.next_batch(100, length * 2 + 100)) == 2
    assert len(spool.next_batch(3, 1 << 30)) == 3
    assert len(spool.next_batch(*ALL)) == 5


def test_the_newest_first(tmp_path: Path) -> None:
    spool = store(tmp_path)
    assert spool.next_batch(*ALL, newest=True) == ()
    for outcome in (None, "fault", "fault", "fault"):
        spool.append(run(outcome=outcome))
    batch = spool.next_batch(*ALL, newest=True)
    assert [item.position.seq for item in batch] == [1, 3]
    spool.acknowledge(item.position for item in batch)
    assert [record.seq for record in everything(spool)] == [0, 2]


def test_a_refused_run_is_out_of_the_way_kept_and_counted(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(4):
        spool.append(run(number))
    positions = [item.position for item in spool.next_batch(*ALL)]
    spool.set_aside({positions[1]: "$.hash is not as it should be"})
    spool.set_aside({positions[2]: "nor this"})
    left = everything(spool)
    assert [record.seq for record in left] == [4, 0, 3], "one loss record, and it grew"
    (loss,) = losses(left)
    assert (loss.reason, loss.first, loss.last, loss.count, loss.of) == ("rejected", 1, 2, 2, spool.epoch)
    assert (loss.since, loss.until) == ("2026-11-20T00:00:01Z", "2026-11-20T00:00:02Z")
    state = spool.state()
    assert (state.rejected, state.last_refusal, state.lost, state.depth) == (2, "nor this", 2, 2)
    assert spool.append(run()).seq == 5


def test_a_loss_record_that_grew_since_it_was_sent_stays(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(4):
        spool.append(run(number))
    positions = [item.position for item in spool.next_batch(*ALL)]
    spool.set_aside({positions[1]: "no"})
    sent = spool.next_batch(1, 1 << 20)
    spool.set_aside({positions[2]: "no"})
    spool.acknowledge(item.position for item in sent)
    spool.append(run(8))
    (loss,) = losses(everything(spool))
    assert (loss.seq, loss.count) == (4, 2)
    spool.acknowledge(item.position for item in spool.next_batch(1, 1 << 20))
    assert losses(everything(spool)) == []
    spool.append(run(9))
    spool.set_aside({positions[3]: "no"})
    (loss,) = losses(everything(spool))
    assert (loss.seq, loss.count, loss.first) == (7, 1, 3), "a new one, as that one has arrived"


def test_a_refused_loss_record_does_not_block_the_queue(tmp_path: Path) -> None:
    spool = store(tmp_path)
    spool.append(run())
    spool.set_aside({spool.next_batch(*ALL)[0].position: "no"})
    for _ in range(2):  # at first it is given another number
        spool.set_aside({spool.next_batch(*ALL)[0].position: "what is a loss?"})
    assert everything(spool) == []
    assert spool.state().last_refusal == "what is a loss?"


def test_a_copy_of_a_spool_gets_an_epoch_of_its_own(tmp_path: Path) -> None:
    """Somebody has used these numbers before, and a refused loss record is how it shows."""
    spool = store(tmp_path)
    given = [run(number, outcome="fault" if number % 2 else None) for number in range(12)]
    for made in given:
        spool.append(made)
    old = spool.epoch
    batch = spool.next_batch(*ALL)
    spool.acknowledge(item.position for item in batch[9:11])
    spool.set_aside({batch[11].position: "another run has this number"})
    (loss, *_) = spool.next_batch(*ALL)
    spool.set_aside({loss.position: "another run has this number", batch[6].position: "another run has this number"})
    assert spool.epoch not in (old, None)
    found = everything(spool)
    assert [record.seq for record in found] == list(range(9)) and {record.epoch for record in found} == {spool.epoch}
    (told,) = losses(found)
    assert (told.of, told.first, told.last, told.count, told.reason) == (old, 6, 11, 2, "rejected")
    wanted = [made["run"]["id"] for number, made in enumerate(given) if number < 9 and number != 6]
    assert [record.run_id for record in runs(found)] == wanted
    assert spool.append(run()).seq == 9
    spool.acknowledge(item.position for item in batch)  # receipts for the old epoch mean nothing now
    assert len(everything(spool)) == 10
    spool.close()
    again = store(tmp_path)
    assert again.epoch == spool.epoch and len(drained(again)) == 10


def test_refused_runs_are_kept_within_bounds(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(40):
        spool.append(run(number, outcome="fault" if number % 2 else None, size=20_000))
        spool.set_aside(
            {
                item.position: "no"
                for item in spool.next_batch(*ALL)
                if item.position.seq < 1000 and item.position.revision == 0
            }
        )
    assert 1 <= spool.state().rejected <= 16
    assert spool.state().bytes < 1 << 20


def test_a_whole_run_that_was_refused_is_not_referred_to(tmp_path: Path) -> None:
    spool = store(tmp_path)
    spool.append(run())
    spool.set_aside({spool.next_batch(*ALL)[0].position: "no"})
    spool.append(run())
    assert [type(record) for record in runs(everything(spool))] == [Full]


def test_a_long_run_goes_without_evidence_and_one_too_long_is_counted(tmp_path: Path) -> None:
    spool = store(tmp_path)
    long = run()
    long["paths"] = [{"x": "y" * upload.MOST_LINE}]
    spool.append(long)
    longer = run()
    longer["checks"][0].update(evidence={"x": "y" * upload.MOST_LINE}, outcome="fault")
    spool.append(longer)
    longest = run()
    longest["notes"] = ["y" * upload.MOST_LINE]
    assert spool.append(longest).seq == 2
    found = everything(spool)
    assert [record.seq for record in found] == [3, 0, 1]
    assert losses(found)[0].count == 1 and losses(found)[0].first == 2
    first, second = runs(found)
    assert isinstance(first, Full) and first.document["paths"] == [] and first.document["checks"][0]["evidence"]
    assert isinstance(second, Full) and second.document["checks"][0]["evidence"] is None
    assert changes.outcome_hash(second.document) == second.hash
    assert spool.append(run()).seq == 4


def test_text_that_is_no_unicode_is_kept_all_the_same(tmp_path: Path) -> None:
    spool = store(tmp_path)
    odd = run()
    odd["site"]["room"] = "R\udce4ume"
    spool.append(odd)
    (record,) = everything(spool)
    assert isinstance(record, Full) and record.document["site"]["room"] == "R?ume"


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "spool"
    spool = store(directory)
    spool.append(run())
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
    assert {"spool.db", "spool.db-wal", "spool.lock", "spool.mark", "spool.reserve"} == set(files)
    assert set(files.values()) == {0o600}
    directory.chmod(0o755)
    spool.close()
    store(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = store(tmp_path)
    with pytest.raises(SpoolError, match="in use by another roomprobe"):
        store(tmp_path)
    first.close()
    store(tmp_path).close()


def test_a_directory_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"^The spool in .*file/spool cannot be used \(.*\)\.$"):
        store(tmp_path / "file" / "spool")
    (tmp_path / "spool" / "spool.db").mkdir(parents=True)
    with pytest.raises(SpoolError, match=r"^The spool in .* cannot be opened \(Is a directory\)\.$"):
        store(tmp_path / "spool")


def test_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    spool = store(tmp_path)
    db = spool._db
    assert db is not None
    told = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "locking_mode")
    }
    assert told == {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}
    assert db.execute("PRAGMA max_page_count").fetchone()[0] == (4 << 20) // 4096
    assert db.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 64


def test_another_agent_begins_anew_and_says_what_was_left(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(5):
        spool.append(run(number))
    epoch = spool.epoch
    spool.set_aside({spool.next_batch(1, 1)[0].position: "no"})
    spool.close()
    spool = store(tmp_path, agent=OTHER_AGENT)
    assert spool.epoch != epoch
    (loss,) = everything(spool)
    assert losses([loss]) == [loss]
    told = losses([loss])[0]
    assert (told.agent, told.epoch, told.seq, told.of) == (OTHER_AGENT, spool.epoch, 0, epoch)
    assert (told.reason, told.first, told.last, told.count) == ("reset", 0, 4, 5)
    assert spool.append(run()).seq == 1
    spool.close()
    assert len(everything(store(tmp_path, agent=OTHER_AGENT))) == 2


def test_the_file_is_sqlite_s_own_and_whole(tmp_path: Path) -> None:
    spool = store(tmp_path)
    for number in range(100):
        spool.append(run(number))
        if number % 10 == 9:
            drained(spool)
    spool.close()
    db = sqlite3.connect(tmp_path / "spool.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
