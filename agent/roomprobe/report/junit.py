"""JUnit XML for build servers: a testsuite a profile, a testcase a service and a testcase a check.

What is not met is a failure, what cannot be told or was not run is skipped with the reason. A row that something else
makes up for, and an optional one, never fails: the file is red exactly when a service is.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from roomprobe.config import ConfigError
from roomprobe.meets import Meets, meets
from roomprobe.model import Result, Service
from roomprobe.outcome import Need, State
from roomprobe.report import met_otherwise
from roomprobe.report.run import Report
from roomprobe.text import escape

_LIMIT = 2000
# XML 1.0 section 2.2: what no document may hold, not even as a character reference; `escape` leaves none of the others.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: Report) -> str:
    """The run as a JUnit document, text of the network escaped so that every XML parser takes it."""
    root = ET.Element("testsuites", name="roomprobe", time=f"{report.run.duration_s:.3f}")
    for profile in dict.fromkeys(
        [service.profile for service in report.services] + [result.check.profile for result in report.results]
    ):
        _suite(root, profile, report)
    for count in ("tests", "failures", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    root.set("errors", "0")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def check_writable(path: str | Path) -> None:
    """Raises ConfigError, one sentence, when `write` could not write there. Leaves nothing behind."""
    target = Path(path)
    try:
        if target.is_dir():
            raise ConfigError(f"--junit {_clean(str(path))}: this is a directory; give the name of a file.")
        if _is_special(target):
            # Opening a pipe would wait for its reader.
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as problem:
        raise ConfigError(_unwritable(path, problem)) from problem


def write(path: str | Path, report: Report) -> None:
    """Writes the document so that a reader sees the old file or the whole new one. ConfigError when it cannot."""
    target = Path(path)
    text = '<?xml version="1.0" encoding="utf-8"?>\n' + to_junit(report)
    try:
        if _is_special(target):
            target.write_text(text, encoding="utf-8")
            return
        # A plain open, not mkstemp: the report gets the permissions that any new file of this user gets.
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as problem:
        raise ConfigError(_unwritable(path, problem)) from problem


def _is_special(target: Path) -> bool:
    """A pipe or a device has to be written in place: replacing it would take it away."""
    return target.exists() and not target.is_file()


def _unwritable(path: str | Path, problem: OSError) -> str:
    return f"--junit {_clean(str(path))}: cannot be written ({problem.strerror or problem})."


def _suite(root: ET.Element, profile: str, report: Report) -> None:
    suite = ET.SubElement(root, "testsuite", name=_clean(profile), timestamp=_clean(report.run.started))
    suite.set("time", f"{report.run.duration_s:.3f}")
    properties = ET.SubElement(suite, "properties")
    facts = {"run": report.run.id, "version": report.agent_version, "org": report.site.org, "room": report.site.room}
    for name, value in facts.items():
        if value is not None:
            ET.SubElement(properties, "property", name=name, value=_clean(value))
    for service in report.services:
        if service.profile == profile:
            _service(suite, service)
    for result in report.results:
        if result.check.profile == profile:
            _check(suite, result, report)
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("errors", "0")


def _service(suite: ET.Element, service: Service) -> None:
    case = ET.SubElement(suite, "testcase", name=_clean(service.title), classname=_clean(f"{service.profile}.services"))
    if service.state in (State.BROKEN, State.DEGRADED):
        _failure(case, service.state.value, service.reason.value, service.sentence)
    elif service.state is State.UNKNOWN:
        ET.SubElement(case, "skipped", message=_clean(f"{service.reason}: {service.sentence}"))


def _check(suite: ET.Element, result: Result, report: Report) -> None:
    check, verdict = result.check, result.verdict
    case = ET.SubElement(suite, "testcase", name=_clean(check.id), classname=_clean(f"{check.profile}.{check.row}"))
    duration = getattr(result.evidence, "duration_s", None)
    case.set("time", f"{duration:.3f}" if duration is not None else "0")
    said = f"{verdict.outcome}, {verdict.reason}: {verdict.sentence}"
    state = meets(verdict)
    if state is Meets.NOT_MET and check.need is Need.OPTIONAL:
        ET.SubElement(case, "skipped", message=_clean(f"optional; {said}"))
    elif state is Meets.NOT_MET and met_otherwise(result, report.results):
        ET.SubElement(case, "skipped", message=_clean(f"not needed, another way works; {said}"))
    elif state is Meets.NOT_MET:
        _failure(case, verdict.outcome.value, verdict.reason.value, verdict.sentence)
    elif state is not Meets.MET:
        ET.SubElement(case, "skipped", message=_clean(said))


def _failure(case: ET.Element, kind: str, reason: str, sentence: str) -> None:
    failure = ET.SubElement(case, "failure", type=kind, message=_clean(f"{kind}, {reason}"))
    failure.text = _clean(sentence)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", escape(text, _LIMIT))
