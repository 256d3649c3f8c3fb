"""`roomprobe run` as the process it is, as nobody in the room of a real network: signals, reload, kill -9, what it weighs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import roomprobe
from tests.lab import faults, peers
from tests.lab.network import Lab

pytestmark = pytest.mark.lab

MOST_RESIDENT = 58 << 20  # the service, compiled as scripts/install does it, is held to 56: tests/systemd
AGENT = "0f0e0d0c-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        peers.everything(made)
        yield made


class Process:
    """A daemon of nobody's, with its directories and what it says."""

    def __init__(self, lab: Lab, place: Path, **tables: Any) -> None:
        self.lab, self.place = lab, place
        self.config = place / "r.toml"
        self.state, self.runtime = place / "state", place / "run"
        for folder in (place, self.state, self.runtime):
            folder.mkdir(exist_ok=True)
            os.chown(folder, 65534, 65534)
        tables.setdefault("daemon", {"metrics": "off", "ndjson": str(place / "state/runs.ndjson")})
        self.write(lab.config(**tables))
        self.child: subprocess.Popen[str] | None = None

    def write(self, text: str) -> None:
        self.config.write_text(text)
        self.config.chmod(0o644)

    def start(self) -> None:
        env = {
            "STATE_DIRECTORY": str(self.state),
            "RUNTIME_DIRECTORY": str(self.runtime),
            "XDG_CONFIG_HOME": str(self.place),
        }
        self.child = self.lab.popen("run", "--config", str(self.config), env=env)
        assert self.child.stderr is not None
        os.set_blocking(self.child.stderr.fileno(), False)
        self.said = ""

    def hear(self) -> str:
        assert self.child is not None and self.child.stderr is not None
        with contextlib.suppress(TypeError, BlockingIOError):
            self.said += self.child.stderr.read() or ""
        return self.said

    def until(self, true: Callable[[], object], patience_s: float = 60.0) -> None:
        end = time.monotonic() + patience_s
        while not true():
            assert self.child is not None and self.child.poll() is None, self.hear()
            assert time.monotonic() < end, self.hear()
            time.sleep(0.05)

    @property
    def documents(self) -> list[dict[str, Any]]:
        file = self.state / "runs.ndjson"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """The exit status, and the seconds that it took."""
        assert self.child is not None
        begun = time.monotonic()
        self.child.send_signal(number)
        status = self.child.wait(20)
        took = time.monotonic() - begun
        self.close()
        return status, took

    def close(self) -> None:
        """Ends it if need be, and reads what it said last."""
        if self.child is None:
            return
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.hear()
        for pipe in (self.child.stdout, self.child.stderr):
            if pipe is not None:
                pipe.close()
        self.child = None


@pytest.fixture
def process(lab: Lab) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def make(**tables: Any) -> Process:
        place = lab.work / f"daemon-{len(list(lab.work.glob('daemon-*')))}"
        made.append(Process(lab, place, **tables))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_run_a_reload_and_the_end(process: Callable[..., Process]) -> None:
    one = process(site={"room": "Boardroom 4"})
    one.until(lambda: one.documents)
    assert {s["id"]: s["state"] for s in one.documents[0]["services"]}["sign-in"] == "full"
    assert one.documents[0]["site"]["room"] == "Boardroom 4"
    good = one.config.read_text()
    one.write("[site]\norgg = 1\n")
    assert one.child is not None
    one.child.send_signal(signal.SIGHUP)
    one.until(lambda: '"event": "reload"' in one.hear())
    assert "unknown key" in one.hear() and '"stage": "failed"' in one.hear()
    one.write(good.replace("Boardroom 4", "Boardroom 5"))
    one.child.send_signal(signal.SIGHUP)
    one.until(lambda: one.documents[-1]["site"]["room"] == "Boardroom 5")
    status, took = one.end()
    assert (status, took < 2) == (0, True)


def test_stopped_in_the_midst_of_a_run_it_ends_within_two_seconds(process: Callable[..., Process]) -> None:
    one = process()
    one.until(lambda: '"event": "daemon"' in one.hear())
    status, took = one.end()
    assert (status, took < 2) == (0, True), one.said
    assert all(not d["run"]["interrupted"] for d in one.documents)


def test_killed_again_and_again_nothing_is_asked_too_often(process: Callable[..., Process]) -> None:
    one = process()
    one.until(lambda: one.documents)
    for _ in range(3):
        before = len(one.documents)
        one.end(signal.SIGKILL)
        one.start()
        one.until(lambda: len(one.documents) > before)  # noqa: B023
    one.end()
    asked = [[c for c in d["checks"] if c["rtt_ms"] is not None] for d in one.documents]
    assert asked[0] and not any(asked[1:])
    states = [[(s["id"], s["state"]) for s in d["services"]] for d in one.documents]
    assert all(found == states[0] for found in states)


def test_the_cable_is_pulled_and_put_back(process: Callable[..., Process], lab: Lab) -> None:
    one = process()

    def found(trigger: str, wanted: set[str], since: int) -> bool:
        later = [d for d in one.documents[since:] if d["run"]["trigger"] == trigger]
        return any({s["state"] for s in d["services"] if s["id"] in ("sign-in", "calls")} == wanted for d in later)

    one.until(lambda: found("full", {"full"}, 0))
    with faults.no_carrier(lab):
        one.until(lambda: found("network", {"broken"}, 0))
        broken = len(one.documents)
        reasons = {s["reason"] for s in one.documents[-1]["services"] if s["state"] == "broken"}
        assert reasons == {"no-carrier"}
    one.until(
        lambda: found("network", {"full"}, broken)
    )  # by the next sweep after the link event, not by the next full one
    assert one.end()[0] == 0


def intervals(one: Process, udp_s: int, tcp_s: int) -> None:
    """The shipped profile with other intervals, as a site's own; it counts from the next start."""
    text = (Path(roomprobe.__file__).parent / "profiles/starleaf.toml").read_text()
    text = text.replace("min_interval_s = 900", f"min_interval_s = {tcp_s}")
    profiles = one.place / "roomprobe/profiles"
    profiles.mkdir(parents=True)
    (profiles / "starleaf.toml").write_text(text.replace("min_interval_s = 300", f"min_interval_s = {udp_s}"))


def test_a_block_is_placed_while_the_port_that_works_is_not_due(process: Callable[..., Process], lab: Lab) -> None:
    one = process(schedule={"full_s": 5})
    one.until(lambda: one.documents)
    one.end()
    intervals(one, udp_s=1, tcp_s=900)
    with faults.udp_drop(lab, "fw"):
        one.start()
        one.until(lambda: [s["state"] for s in one.documents[-1]["services"] if s["id"] == "calls"] != ["full"])
    found = one.documents[-1]
    assert {c["outcome"] for c in found["checks"] if c["row"] == "F3"} == {"filtered"}
    assert {c["rtt_ms"] for c in found["checks"] if c["row"] == "F2"} == {None}
    assert "degraded" in {s["state"] for s in found["services"] if s["id"] == "calls"}
    one.end()


def test_that_nothing_leaves_is_said_in_the_sweeps_that_ask_nothing_too(
    process: Callable[..., Process], lab: Lab
) -> None:
    one = process(schedule={"full_s": 5})
    one.until(lambda: one.documents)
    one.end()
    intervals(one, udp_s=12, tcp_s=12)

    def reasons() -> list[str]:
        return [s["reason"] for d in one.documents for s in d["services"] if s["id"] == "calls"]

    with faults.uplink_down(lab, "fw"):
        one.start()
        one.until(lambda: "no-egress" in reasons())
        begun = reasons().index("no-egress")
        one.until(lambda: len(reasons()) >= begun + 4, patience_s=90)
    assert set(reasons()[begun:]) == {"no-egress"}
    asked = [any(c["rtt_ms"] for c in d["checks"]) or d["paths"] for d in one.documents[begun:]]
    assert not all(asked)
    one.end()


def test_two_at_once_are_one_too_many(process: Callable[..., Process], lab: Lab) -> None:
    one = process()
    one.until(lambda: one.documents)
    env = {"STATE_DIRECTORY": str(one.state), "RUNTIME_DIRECTORY": str(one.runtime)}
    with lab.popen("run", "--config", str(one.config), env=env) as second:
        assert second.wait(30) == 3
        assert second.stderr is not None and "Another roomprobe runs already" in second.stderr.read()
    one.end()


def test_what_it_weighs_with_every_profile_and_a_collector(process: Callable[..., Process], lab: Lab) -> None:
    token = lab.work / "token"
    token.write_text("x" * 43)
    token.chmod(0o644)
    collector = {
        "url": f"https://{lab.address('codec')}:8443",
        "agent": AGENT,
        "token_file": str(token),
        "pin": "a" * 64,
    }
    one = process(profiles={"enabled": ["starleaf", "teamline-5141"]}, collector=collector, schedule={"full_s": 5})
    one.until(lambda: len(one.documents) >= 3)  # the push has tried by now
    assert one.child is not None
    status = Path(f"/proc/{one.child.pid}/status").read_text()
    resident = int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) << 10
    before = cpu_ticks(one.child.pid)
    time.sleep(5)
    used = cpu_ticks(one.child.pid) - before
    print(f"\nresident {resident / 2**20:.1f} MiB, {used} ticks in 5 s between runs")
    assert resident <= MOST_RESIDENT
    assert (one.state / "spool/spool.db").exists()
    one.end()


def cpu_ticks(pid: int) -> int:
    """User and system time of a process (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
