"""Runs as such: stopped, killed, out of time, held against the schema, light, and clean under asyncio's debug mode."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import jsonschema
import pytest

from roomprobe.report.document import schema

from . import faults, peers
from .network import Lab
from .product import Run, finish
from .scenario import ONE_EACH, UDP_ROWS, calls, only, told, udp_outcomes


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """IPv4 only, one address a name, a far end that is silent on UDP: a run takes some seconds."""
    with Lab(families=(4,)) as made:
        peers.dns(made, hosts=ONE_EACH)
        peers.tls(made)
        peers.udp(made, answer=(), silent=faults.TUNNEL_PORTS)
        yield made


@pytest.fixture(autouse=True)
def _mended(lab: Lab) -> Iterator[None]:
    yield
    lab.mend()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.6, 2.2])
def test_a_stopped_run_reports_what_it_knows(lab: Lab, number: signal.Signals, after: float) -> None:
    faults.udp_drop(lab, "fw")
    child = lab.popen("--once", "--json")
    time.sleep(after)
    child.send_signal(number)
    done = finish(child, 10)
    assert done.returncode == 3 and done.stderr == "", done.stderr
    report = json.loads(done.stdout)
    jsonschema.validate(report, schema())
    assert report["run"]["interrupted"] is True
    rows = {check["row"]: check for check in report["checks"]}
    assert set(UDP_ROWS) <= set(rows)
    assert not {rows[row]["outcome"] for row in UDP_ROWS} & {"filtered", "passes", "open"}
    stopped = {check["reason"] for check in report["checks"] if check["outcome"] == "skipped"}
    assert after > 1 or "interrupted" in stopped


@pytest.mark.parametrize("between", [0.0, 0.003, 0.015, 0.05])
def test_impatience_does_not_cost_the_report(lab: Lab, between: float) -> None:
    faults.udp_drop(lab, "fw")
    child = lab.popen("--once", "--json")
    time.sleep(1.0)
    for _ in range(5):
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        time.sleep(between)
    done = finish(child, 10)
    assert done.returncode == 3 and done.stderr == ""
    assert json.loads(done.stdout)["run"]["interrupted"] is True


def test_a_killed_run_leaves_nothing(lab: Lab) -> None:
    child = lab.popen("--once", "--json")
    time.sleep(0.8)
    child.kill()
    finish(child, 10)
    assert lab.exec("room", "ss", "-Huanp") == ""
    run = lab.roomprobe()
    assert udp_outcomes(run) == {"passes"}, told(run)


def test_the_time_limit_bounds_the_run_and_says_so(lab: Lab) -> None:
    faults.udp_drop(lab, "fw")
    begun = time.monotonic()
    run = lab.roomprobe("--timeout", "1")
    assert time.monotonic() - begun < 4
    assert {only_reason(run, row) for row in UDP_ROWS} == {("skipped", "time")}, told(run)
    calls(run, "unknown", at_least="degraded")
    assert run.returncode == 3


def only_reason(run: Run, row: str) -> tuple[str, str]:
    (check,) = [c for c in run.rows(row) if c["reason"] != "no-family"]
    return check["outcome"], check["reason"]


def test_output_holds_against_the_schema_in_both_forms(lab: Lab) -> None:
    faults.udp_drop(lab, "isp")
    done = lab.run("--once", "--json")
    report = json.loads(done.stdout)
    jsonschema.validate(report, schema())
    assert report["paths"][0]["complete"] is True
    lines = [json.loads(line) for line in lab.run("--once", "--ndjson").stdout.splitlines()]
    line_schema = {"$ref": "#/$defs/line", "$defs": schema()["$defs"]}
    for line in lines:
        jsonschema.validate(line, line_schema)
    assert {"run", "service", "check", "path"} == {line["type"] for line in lines}


def test_check_ids_are_unique_and_the_same_in_every_run(lab: Lab) -> None:
    first, second = lab.roomprobe(), lab.roomprobe()
    ids = [check["id"] for check in first.report["checks"]]
    assert len(ids) == len(set(ids)) and ids == [check["id"] for check in second.report["checks"]]


def test_a_ladder_is_at_most_a_hundred_packets(lab: Lab) -> None:
    faults.loss(lab, "isp", 40)
    run = lab.roomprobe()
    assert all(len(flow["steps"]) <= 100 for path in run.report["paths"] for flow in path["flows"])


def test_clean_under_debug_mode_and_warnings_as_errors(lab: Lab) -> None:
    done = lab.run("--once", "--json", env={"PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "error"})
    assert done.returncode == 0 and "Traceback" not in done.stderr and "never" not in done.stderr, done.stderr


def test_only_some_rows(lab: Lab) -> None:
    run = lab.roomprobe("--only", "F3")
    assert only(run, "F3")["outcome"] == "passes" or only(run, "F3")["outcome"] == "unanswered", told(run)
    assert not run.rows("F4") and not run.rows("F1")


def test_the_walk_is_told_in_the_room_systems_order(lab: Lab) -> None:
    faults.udp_drop(lab, "fw")
    walk = calls(lab.roomprobe(), "degraded")["walk"]
    assert [step["transport"] for step in walk["steps"]] == [
        *("udp/24704", "udp/3478", "udp/1194", "udp/500", "udp/123"),
        "tcp/443",
    ]
    assert walk["duration_s"] > 5 and "not published" in walk["sentence"]
