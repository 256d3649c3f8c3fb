"""Whether a time source keeps the clock right, where the kernel may not be asked."""

from __future__ import annotations

from pathlib import Path

from roomprobe import synced


def test_timesyncd_is_not_there_then_runs_then_has_set_the_clock(tmp_path: Path) -> None:
    place = tmp_path / "timesync"
    assert synced.timesyncd(place) is None
    place.mkdir()
    assert synced.timesyncd(place) is False
    (place / "synchronized").touch()
    assert synced.timesyncd(place) is True


def test_a_place_that_cannot_be_looked_into_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "timesync").touch()
    assert synced.timesyncd(tmp_path / "timesync") is None
