"""No room: the page cap and the full disk. What is lost is counted exactly, in one loss record, and the newest runs are kept."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roomprobe.spool.disk import RESERVE_BYTES
from roomprobe.spool.store import NotKept, Store
from roomprobe.wire.upload import Full, Same
from tests.disks import disk, stuff
from tests.spool.helpers import drained, everything, losses, records, run, runs, store


def fill(spool: Store, numbers: range, size: int = 160_000) -> list[str]:
    """Appends changing runs; the run ids of those that were kept."""
    kept = []
    for number in numbers:
        made = run(number, outcome="fault" if number % 2 else "open", size=size)
        try:
            spool.append(made)
        except NotKept:
            continue
        kept.append(made["run"]["id"])
    return kept


def test_the_oldest_give_way_and_are_counted(tmp_path: Path) -> None:
    spool = store(tmp_path)
    given = fill(spool, range(100))
    state = spool.state()
    assert state.bytes <= state.most_bytes == 4 << 20 and state.trouble is None
    assert (tmp_path / "spool.db").stat().st_size <= 4 << 20
    assert (tmp_path / "spool.db-wal").stat().st_size < 1 << 20
    found = everything(spool)
    (loss,), kept = losses(found), runs(found)
    assert len(kept) > 20 and loss.count == 100 - len(kept) == state.lost
    assert [record.run_id for record in kept] == given[-len(kept) :]
    assert (loss.reason, loss.first, loss.of) == ("spool-full", 0, spool.epoch)
    assert loss.last == kept[0].seq - 1
    assert (loss.since, loss.until) == (
        "2026-11-20T00:00:00Z",
        f"2026-11-20T00:0{(loss.count - 1) // 60}:{(loss.count - 1) % 60:02}Z",
    )
    numbers = {record.seq for record in found} | set(range(loss.last + 1))
    assert numbers == set(range(101)), "consecutive, the loss record's own number among them"


def test_the_loss_record_is_not_dropped_itself(tmp_path: Path) -> None:
    spool = store(tmp_path)
    fill(spool, range(100))
    number = losses(everything(spool))[0].seq
    fill(spool, range(100, 200))
    (loss,) = losses(everything(spool))
    assert loss.seq == number and loss.count == 200 - len(runs(everything(spool)))
    spool.close()
    (again,) = losses(everything(store(tmp_path)))
    assert again == loss


@pytest.mark.parametrize("many", [5, 40])
def test_what_had_to_make_room_while_it_was_on_its_way_is_not_lost_once_it_has_arrived(
    tmp_path: Path, many: int
) -> None:
    spool = store(tmp_path)
    fill(spool, range(60))
    on_its_way = spool.next_batch(many, 1 << 30)
    arrived = {record.run_id for record in runs(records(on_its_way))}
    fill(spool, range(60, 75))
    there = {record.run_id for record in runs(everything(spool))}
    assert arrived - there, "some have made room"
    spool.acknowledge(item.position for item in on_its_way)
    found = everything(spool)
    (loss,) = losses(found)
    assert arrived.isdisjoint(record.run_id for record in runs(found))
    assert loss.count == 75 - len(arrived) - len(runs(found)) == spool.state().lost
    assert loss.count < (loss.last or 0) - (loss.first or 0) + 1
    spool.close()
    assert losses(everything(store(tmp_path))) == [loss]


def test_after_the_receipt_a_new_loss_record_begins(tmp_path: Path) -> None:
    spool = store(tmp_path)
    fill(spool, range(50))
    found = drained(spool)
    fill(spool, range(50, 100))
    found += drained(spool)
    told = losses(found)
    assert len(told) == 2 and sum(loss.count or 0 for loss in told) + len(runs(found)) == 100
    assert len({record.run_id for record in runs(found)}) == len(runs(found))


def test_a_smaller_cap_lets_the_oldest_go_at_once_and_gives_the_disk_back(tmp_path: Path) -> None:
    spool = store(tmp_path, most_bytes=16 << 20)
    given = fill(spool, range(150))
    assert losses(everything(spool)) == []
    spool.close()
    assert (tmp_path / "spool.db").stat().st_size > 8 << 20
    spool = store(tmp_path, most_bytes=4 << 20)
    found = everything(spool)
    (loss,), kept = losses(found), runs(found)
    assert len(kept) > 20 and (loss.first, loss.last, loss.count) == (0, kept[0].seq - 1, 150 - len(kept))
    assert [record.run_id for record in kept] == given[-len(kept) :]
    assert sum(file.stat().st_size for file in tmp_path.glob("spool.db*")) <= 4 << 20
    fill(spool, range(150, 200))
    assert (tmp_path / "spool.db").stat().st_size <= 4 << 20
    found = drained(spool)
    assert sum(loss.count or 0 for loss in losses(found)) + len(runs(found)) == 200
    assert sorted(r.seq for r in found if r.seq > (losses(found)[0].last or 0)) == list(
        range((losses(found)[0].last or 0) + 1, spool.state().next_seq)
    )


def test_when_the_whole_run_was_dropped_the_next_one_is_whole(tmp_path: Path) -> None:
    spool, chance = store(tmp_path), random.Random(1)

    def many(number: int) -> dict[str, Any]:
        made = run(number)
        first = made["checks"][0]
        made["checks"] = [{**first, "id": f"{first['id']}/{n}", "rtt_ms": chance.random()} for n in range(600)]
        return made

    spool.append(many(0))
    number = 1
    while not losses(records(spool.next_batch(1, 1))):
        spool.append(many(number))
        number += 1
    assert {type(record) for record in runs(everything(spool))} == {Same}, "what they refer to has just been dropped"
    spool.append(many(number))
    spool.append(many(number))
    assert [type(record) for record in runs(everything(spool))][-2:] == [Full, Same]


# --- a disk of its own ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    with disk(tmp_path / "disk", 12) as place:
        yield place


@pytest.mark.lab
def test_a_disk_that_others_have_filled(small_disk: Path) -> None:
    spool = store(small_disk / "spool", most_bytes=64 << 20)
    kept = fill(spool, range(20))
    stuffing = stuff(small_disk)
    assert os.statvfs(small_disk).f_bavail == 0
    kept += fill(spool, range(20, 120))
    assert len(kept) == 120, "the reserve was given back: each run is written, in the place of an older one"
    assert spool.state().trouble == "The disk is full: the oldest runs are dropped to make room for new ones."
    found = everything(spool)
    (loss,) = losses(found)
    assert loss.count == 120 - len(runs(found)) > 80
    assert [record.run_id for record in runs(found)] == kept[-len(runs(found)) :]
    spool.close()
    spool = store(small_disk / "spool", most_bytes=64 << 20)
    assert everything(spool) == found, "and it opens again on a full disk"
    kept += fill(spool, range(120, 130))
    assert len(kept) == 130
    stuffing.unlink()
    kept += fill(spool, range(130, 140))
    assert spool.state().trouble is None
    assert (small_disk / "spool" / "spool.reserve").stat().st_size == RESERVE_BYTES
    found = drained(spool)
    assert sum(loss.count or 0 for loss in losses(found)) + len(runs(found)) == 140
    assert everything(spool) == []


@pytest.mark.lab
def test_a_disk_that_stays_full_whatever_is_given_back(small_disk: Path) -> None:
    """Somebody takes what the spool gives back: nothing can be written, and all of it is counted once there is room."""
    spool = store(small_disk / "spool", most_bytes=64 << 20)
    kept = fill(spool, range(20))
    number = 0

    def thief() -> None:
        nonlocal number
        number += 1
        while os.statvfs(small_disk).f_bavail:
            with (small_disk / f"more{number}").open("ab", buffering=0) as file:
                try:
                    file.write(bytes(65536))
                except OSError:
                    break

    stuff(small_disk)
    ways = spool.files.ways_to_free()
    spool.files.ways_to_free = lambda: tuple(lambda way=way: (way(), thief())[0] for way in ways)  # type: ignore[method-assign]
    kept += fill(spool, range(20, 200))
    lost = 200 - len(kept)
    state = spool.state()
    assert lost > 50 and state.unwritten == lost == state.lost
    assert state.trouble is not None and "full" in state.trouble
    assert runs(everything(spool))[0].seq == 0, "what is there can be read and sent all the same"
    for file in [*small_disk.glob("more*"), small_disk / "stuffing"]:
        file.unlink()
    kept += fill(spool, range(200, 210))
    found = drained(spool)
    assert {record.run_id for record in runs(found)} == set(kept)
    (loss,) = losses(found)
    assert loss.count == lost and loss.reason == "spool-full"
    numbers = sorted(record.seq for record in found)
    assert numbers == [seq for seq in range(numbers[-1] + 1) if not (loss.first or 0) <= seq <= (loss.last or 0)]


@pytest.mark.lab
def test_a_start_on_a_full_disk(small_disk: Path) -> None:
    stuffing = stuff(small_disk, leave=8192)
    spool = store(small_disk / "spool")
    assert fill(spool, range(5)) == []
    assert spool.next_batch(10, 1 << 20) == () and spool.state().unwritten == 5 and spool.state().epoch is None
    stuffing.unlink()
    kept = fill(spool, range(5, 8))
    found = drained(spool)
    assert len(kept) == 3 == len(runs(found)) and losses(found)[0].count == 5
    spool.close()
    assert fill(store(small_disk / "spool"), range(1))


@pytest.mark.lab
def test_a_read_only_disk(small_disk: Path) -> None:
    spool = store(small_disk / "spool")
    kept = fill(spool, range(3))
    spool.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    try:
        with pytest.raises(Exception, match="cannot be used"):
            store(small_disk / "spool")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert [record.run_id for record in runs(drained(store(small_disk / "spool")))] == kept
