"""What a large fleet is asked for comes off indexes that hold all of it: intervals are long with evidence and lie far apart."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from roomprobe.collector import across, metrics
from roomprobe.collector.database import NAME, open_to_read, open_to_write
from roomprobe.collector.pages import reads

NOW = 1_790_000_000_000
WRITER = {"commits": 0, "jobs": 0, "waiting": 0}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A store that knows one row; how a question is answered does not depend on how much there is."""
    with closing(open_to_write(tmp_path / NAME)) as made:
        made.execute("INSERT INTO subject (kind, profile, row, name) VALUES ('check', 'starleaf', 'F3', 'starleaf/F3')")
    with closing(open_to_read(tmp_path / NAME)) as found:
        yield found


@pytest.mark.parametrize(
    ("ask", "times"),
    [
        (lambda db: across.check_across(db, NOW, "starleaf", "F3"), 2),
        (lambda db: reads.spread(db, NOW, "starleaf", "F3"), 1),
        (lambda db: metrics.text(db, NOW, {}, WRITER, checks=True, only=["F3"]), 2),
    ],
)
def test_what_all_rooms_say_is_read_off_the_index_alone(
    db: sqlite3.Connection, ask: Callable[[sqlite3.Connection], Any], times: int
) -> None:
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    ask(db)
    db.set_trace_callback(None)
    found = 0
    for statement in asked:
        plan = [row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
        if "CROSS JOIN interval i" in statement:
            found += 1
            assert "SEARCH i USING COVERING INDEX interval_across (subject=?)" in plan, plan
            assert not any(line.startswith("SCAN") and line not in ("SCAN room", "SCAN page") and "json_each" not in line
                           for line in plan), plan  # fmt: skip
    assert found == times
