"""JUnit XML that a real parser takes, whatever the network said."""

from __future__ import annotations

import os
import stat
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest

from roomprobe.config import ConfigError
from roomprobe.outcome import Need, Outcome, Reason
from roomprobe.report import junit
from tests.report import samples


def cases(name: str) -> dict[str, ET.Element]:
    root = ET.fromstring(junit.to_junit(samples.ALL[name]()))
    return {f"{case.get('classname')} {case.get('name')}": case for case in root.iter("testcase")}


def kind(case: ET.Element) -> str:
    (child,) = [child.tag for child in case] or ["passed"]
    return child


@pytest.mark.parametrize("name", samples.ALL)
def test_parses_and_counts(name: str) -> None:
    report = samples.ALL[name]()
    (suite,) = ET.fromstring(junit.to_junit(report))
    found = suite.findall("testcase")
    assert suite.get("tests") == str(len(found)) == str(len(report.services) + len(report.results))
    assert suite.get("failures") == str(sum(kind(case) == "failure" for case in found))
    assert suite.get("skipped") == str(sum(kind(case) == "skipped" for case in found))


def test_services_and_checks_have_their_state() -> None:
    found = cases("degraded")
    assert kind(found["starleaf.services Sign-in"]) == "passed"
    assert kind(found["starleaf.services Calls"]) == "failure"
    assert kind(found["starleaf.services Standby"]) == "skipped"
    assert {kind(case) for name, case in found.items() if name.startswith("starleaf.F3")} == {"failure"}
    assert {kind(case) for name, case in found.items() if name.startswith("starleaf.F2")} == {"passed"}
    (administrator,) = [case for name, case in found.items() if name.startswith("starleaf.P2")]
    assert "tick it in the config" in administrator[0].get("message", "")


def test_what_cannot_be_told_is_skipped_not_failed() -> None:
    assert {kind(case) for name, case in cases("broken").items() if name.startswith("starleaf.F4")} == {"skipped"}


def test_a_port_that_another_makes_up_for_does_not_fail() -> None:
    results = (
        samples.udp("F3", Outcome.FILTERED, Reason.PATH_ENDS),
        samples.udp("F7", Outcome.OPEN, Reason.ANSWERED),
    )
    root = ET.fromstring(junit.to_junit(samples.report((), results)))
    assert [kind(case) for case in root.iter("testcase")] == ["skipped", "passed"]


def test_an_optional_row_does_not_fail() -> None:
    result = samples.tls("F1", "config.starleaf.com", Outcome.CLOSED, Reason.RESET)
    result = msgspec.structs.replace(result, check=msgspec.structs.replace(result.check, need=Need.OPTIONAL))
    root = ET.fromstring(junit.to_junit(samples.report((), (result,))))
    assert [kind(case) for case in root.iter("testcase")] == ["skipped"]


def test_writes_whole_files_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "result.xml"
    target.write_text("old")
    junit.check_writable(target)
    assert target.read_text() == "old"
    junit.write(target, samples.full())
    assert ET.parse(target).getroot().tag == "testsuites"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.xml"]
    assert stat.S_IMODE(target.stat().st_mode) & 0o444 == 0o444


@pytest.mark.parametrize("name", ["missing/result.xml", "."])
def test_unwritable_is_one_sentence_before_the_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^--junit .*[.)]$"):
        junit.check_writable(tmp_path / name)
    with pytest.raises(ConfigError, match=r"^--junit "):
        junit.write(tmp_path / name, samples.full())
    assert not list(tmp_path.iterdir())


def test_an_open_pipe_is_writable_where_no_file_could_be_made() -> None:
    reader, writer = os.pipe()
    try:
        junit.check_writable(f"/dev/fd/{writer}")
        junit.write(f"/dev/fd/{writer}", samples.report((), ()))
        assert os.read(reader, 65536).startswith(b"<?xml")
    finally:
        os.close(reader)
        os.close(writer)


def test_a_device_is_written_in_place(tmp_path: Path) -> None:
    reader = tmp_path / "pipe"
    os.mkfifo(reader)
    handle = os.open(reader, os.O_RDONLY | os.O_NONBLOCK)
    try:
        junit.check_writable(reader)
        junit.write(reader, samples.report((), ()))
        assert os.read(handle, 65536).startswith(b"<?xml")
    finally:
        os.close(handle)
    assert stat.S_ISFIFO(reader.stat().st_mode)
