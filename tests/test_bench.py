"""The bench of the collector: its copied rooms are as good as real ones, and it runs to its end, or goes and leaves nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import collector, many
from bench.fleet import FLAPPING, Room, situation
from bench.uploads import Sender
from roomprobe.collector import command, people
from roomprobe.collector.intervals import Names
from roomprobe.report.document import document
from roomprobe.wire import upload
from roomprobe.wire.upload import Record
from tests.browser import filling
from tests.report import samples

ROOT = Path(__file__).resolve().parents[1]
REPORTS = {"open": document(samples.full()), "no-udp": document(samples.degraded())}
TINY = {"RUNS": "1", "ROOMS": "60", "DAYS": "1", "MEASURED": "4", "BOXES": "3"}
NUMBERS = {"id", "chain", "agent", "room"}
NAMES = {"name", "site", "uuid", "token_hash", "hostname"}


def held(db: sqlite3.Connection, number: int) -> dict[str, list[Any]]:
    """All rows of a room, its agent and its chain (one number), without what is its own."""
    found = {}
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'copy'").fetchall():
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        itself = table in ("room", "agent", "chain")
        by = "id" if itself else next((name for name in ("chain", "agent") if name in columns), None)
        if by is not None:
            said = [name for name in columns if name not in NUMBERS | (NAMES if itself else set())]
            rows = db.execute(f"SELECT {', '.join(said)} FROM {table} WHERE {by} = ?", (number,))
            found[table] = sorted(rows.fetchall(), key=repr)
    return found


def test_a_copied_room_is_as_one_that_sent_its_runs(tmp_path: Path) -> None:
    box = filling.enrol(tmp_path, "Room 1")
    so = {name: situation(report, 0) for name, report in REPORTS.items()}
    now = filling.now()
    runs = list(Room(box.agent, so, FLAPPING).runs(now // 1000 - 86_400, 1))
    sender = Sender(agent="another", token="another", site=0)

    def job(db: sqlite3.Connection) -> None:
        names = Names()
        indexes = "SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY 1"
        before = db.execute(indexes).fetchall()
        many.ingest(db, names, 1, runs[:-20])
        many.copied(db, [many.Copy(number=2, like=1, name="Room 2", site="S", sender=sender)], now)
        assert len(held(db, 1)["interval"]) > 50 and held(db, 1) == held(db, 2)
        assert db.execute(indexes).fetchall() == before
        again = [(at, _named(record, number)) for number, (at, record) in enumerate(runs[-20:])]
        many.ingest(db, names, 1, runs[-20:])
        many.ingest(db, names, 2, again)
        one, other = held(db, 1), held(db, 2)
        assert len(one.pop("document")) == len(other.pop("document"))  # a report holds its run's id
        assert one == other
        assert people.revoke(db, now, agent="another") == ["another"]

    command._write(tmp_path, job)


def _named(record: Record, number: int) -> Record:
    """The same run under another id: two boxes cannot have made one run."""
    made = upload.parse(upload.build(record))
    assert not isinstance(made, upload.Loss)
    made.run["id"] = f"00000000-0000-4000-8000-{number:012}"
    return made


def bench(place: Path, **more: str) -> subprocess.Popen[str]:
    env = {**os.environ, **TINY, **more, "PLACE": str(place)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "bench" / "main.py"), "collector"], env=env, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.lab
def test_it_runs_to_its_end(tmp_path: Path) -> None:
    running = bench(tmp_path)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0
    for part in ("accepted, flushed", "aggregate", "/checks/starleaf/F3", "accepted uploads from 3 boxes"):
        assert part in said, said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.lab
def test_it_leaves_nothing_when_it_is_ended(tmp_path: Path) -> None:
    running = bench(tmp_path, ROOMS="100000")
    assert running.stdout is not None
    until = iter(running.stdout.readline, "")
    assert any("uploads a second that" in line for line in until)  # it is at the large store now
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 3 and list(tmp_path.iterdir()) == []


def test_an_end_that_would_be_lost_comes_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[int] = []
    monkeypatch.setattr(signal, "alarm", later.append)

    class Old:
        def __del__(self) -> None:
            collector.end(signal.SIGTERM, sys._getframe())

    Old()
    assert later == [1]
    with pytest.raises(SystemExit):
        collector.end(signal.SIGTERM, sys._getframe())
