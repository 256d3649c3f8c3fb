"""The file of runs: whole lines, bounded, opened anew after logrotate, and never a reason to stop."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomprobe.sinks.ndjson import NdjsonFile
from tests.spool.helpers import run


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def moved(file: Path, to: Path) -> None:
    file.rename(to)


def names(directory: Path) -> list[str]:
    return [file.name for file in directory.iterdir()]


async def test_each_run_is_a_line(tmp_path: Path) -> None:
    file, given = tmp_path / "runs.ndjson", [run(number) for number in range(3)]
    sink = NdjsonFile(file)
    for made in given:
        assert await sink.write(made)
    sink.close()
    assert lines(file) == given and stat.S_IMODE(file.stat().st_mode) & 0o137 == 0
    assert await NdjsonFile(file).write(given[0])
    assert len(lines(file)) == 4, "appended, not overwritten"


async def test_the_half_line_that_a_kill_left_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "runs.ndjson"
    one, other = run(1), run(2)
    assert await NdjsonFile(file).write(one)
    with file.open("ab") as opened:
        opened.write(b'{"id":"half of it')
    assert await NdjsonFile(file).write(other)
    assert lines(file) == [one, other]


async def test_what_is_not_its_own_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("no newline at the end")
    one = run(1)
    assert await NdjsonFile(file).write(one)
    first, second = file.read_text().splitlines()
    assert (first, json.loads(second)) == ("no newline at the end", one)


async def test_after_logrotate_a_new_file_is_written(tmp_path: Path) -> None:
    file = tmp_path / "runs.ndjson"
    sink = NdjsonFile(file)
    assert await sink.write(run(1))
    moved(file, tmp_path / "old")
    assert await sink.write(run(2))
    moved(file, tmp_path / "older")
    (tmp_path / "runs.ndjson").touch()  # logrotate's "create"
    assert await sink.write(run(3))
    moved(file, tmp_path / "gone")
    assert await sink.write(run(4))
    assert [len(lines(tmp_path / name)) for name in ("old", "older", "runs.ndjson")] == [1, 1, 1]
    os.truncate(file, 0)  # logrotate's "copytruncate"
    assert await sink.write(run(5))
    assert len(lines(file)) == 1


async def test_it_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "runs.ndjson"
    sink = NdjsonFile(file, most_bytes=100_000)
    for number in range(200):
        assert await sink.write(run(number))
        assert file.stat().st_size <= 100_000
    assert sorted(names(tmp_path)) == ["runs.ndjson", "runs.ndjson.1"]
    both = lines(tmp_path / "runs.ndjson.1") + lines(file)
    assert [made["run"]["started"] for made in both] == [  # type: ignore[index]
        run(number)["run"]["started"] for number in range(200 - len(both), 200)
    ]


async def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    sink = NdjsonFile(tmp_path / "none" / "runs.ndjson")
    assert not await sink.write(run())
    assert sink.trouble == f"{tmp_path}/none/runs.ndjson cannot be written (No such file or directory)."
    (tmp_path / "none").mkdir()
    assert await sink.write(run()) and sink.trouble is None
    assert not await NdjsonFile(tmp_path).write(run())
    os.mkfifo(tmp_path / "fifo")
    fifo = NdjsonFile(tmp_path / "fifo")
    assert not await fifo.write(run()) and "cannot be written" in (fifo.trouble or "")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.lab
async def test_a_full_disk_leaves_no_half_a_line(tiny_disk: Path) -> None:
    sink = NdjsonFile(tiny_disk / "runs.ndjson")
    written = [await sink.write(run(number, size=9_000)) for number in range(12)]
    assert True in written and False in written
    assert sink.trouble == f"{tiny_disk}/runs.ndjson cannot be written (No space left on device)."
    assert len(lines(tiny_disk / "runs.ndjson")) == written.count(True)
    sink.close()
