"""The file of codec certificates: kept between runs, never in the way of one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from roomprobe.link import known
from roomprobe.link.known import Seen
from tests.verdicts.linking import judged, real

A, B = Seen(sha256="aa" * 32, day="2026-11-20"), Seen(sha256="bb" * 32, day="2026-11-21")


def test_what_was_remembered_is_read_again(tmp_path: Path) -> None:
    place = tmp_path / "state" / "roomprobe"
    assert known.remember(place, {}, {"fe80::1": A}) is None
    assert known.remember(place, known.read(place), {"fe80::2": B}) is None
    assert known.read(place) == {"fe80::1": A, "fe80::2": B}
    assert stat.S_IMODE((place / known.FILE).stat().st_mode) == 0o600
    assert [path.name for path in place.iterdir()] == [known.FILE]


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    assert known.remember(tmp_path / "a", {"x": A}, {"x": A}) is None
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"fe80::1": 1}', b"\xff", b"{" * 70_000])
def test_a_file_that_cannot_be_read_counts_as_empty(tmp_path: Path, data: bytes) -> None:
    (tmp_path / known.FILE).write_bytes(data)
    assert known.read(tmp_path) == {}


@pytest.mark.parametrize("kind", ["deep", "fifo", "link-to-fifo", "directory"])
def test_a_hostile_file_neither_hangs_nor_breaks_a_run(tmp_path: Path, kind: str) -> None:
    file = tmp_path / known.FILE
    if kind == "deep":
        file.write_text('{"a":' * 10_000 + "1" + "}" * 10_000)
    elif kind == "directory":
        file.mkdir()
    else:
        os.mkfifo(tmp_path / "fifo" if kind == "link-to-fifo" else file)
        if kind == "link-to-fifo":
            file.symlink_to(tmp_path / "fifo")
    assert known.read(tmp_path) == {}


def test_the_oldest_go_first(tmp_path: Path) -> None:
    many = {f"fd00::{n:x}": A for n in range(known.MOST_CODECS)}
    known.remember(tmp_path, many, {"fe80::1": B})
    kept = known.read(tmp_path)
    assert len(kept) == known.MOST_CODECS and kept["fe80::1"] == B


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = known.remember(tmp_path / "file" / "in", {}, {"fe80::1": A})
    assert said is not None and "could not be remembered" in said and said.endswith("Not a directory).")
    assert known.remember(None, {}, {"fe80::1": A}) is not None


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known.directory({"STATE_DIRECTORY": "/run/state:/other"}) == Path("/run/state")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert known.directory({"HOME": "/home/a"}) == Path("/var/lib/roomprobe")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert known.directory({"HOME": "/home/a"}) == Path("/home/a/.local/state/roomprobe")
    assert known.directory({"HOME": "/home/a", "XDG_STATE_HOME": "/s"}) == Path("/s/roomprobe")
    assert known.directory({"HOME": "/home/a", "XDG_STATE_HOME": "relative"}) == Path("/home/a/.local/state/roomprobe")
    assert known.directory({}) is None


@pytest.mark.parametrize("emulator", [False, True])
def test_only_a_real_codecs_certificate_is_kept(emulator: bool) -> None:
    """An emulator makes a new one at every start."""
    results = judged({"I2": msgspec.structs.replace(real("I2"), named_emulator=emulator)}, None)
    report = SimpleNamespace(results=tuple(results.values()), run=SimpleNamespace(started="2026-11-20T10:00:00Z"))
    assert known.shown(report) == ({} if emulator else {"fe80::20": Seen(sha256="ab" * 32, day="2026-11-20")})
