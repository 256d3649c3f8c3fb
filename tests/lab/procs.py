"""Commands and long-running processes of the lab: started, waited for until ready, stopped by pid.

Everything that runs for longer than a moment is a `Process` in a namespace; nothing is ever ended by name.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
WORK = "roomprobe-lab-"
NETNS = Path("/run/netns")
READY_S = 15.0
STOP_S = 3.0
_OWNED = re.compile(r"rp(\d+)-\d+-")


class LabError(Exception):
    """The lab cannot be built or used; one sentence saying what is missing or failed."""


def program(name: str, package: str) -> str:
    """The path of a program, or LabError naming the Debian package that brings it."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise LabError(f"{name} is not installed: the lab needs the Debian package {package}")
    return found


def run(argv: Sequence[str], stdin: str = "") -> str:
    """Run a short command to its end and give its output; LabError with what it said when it fails."""
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, env={**os.environ, "PATH": PATH}, check=False
    )
    if done.returncode != 0:
        raise LabError(f"`{' '.join(argv)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), field 22); None when it is gone or a zombie.

    A pid alone may have been given to somebody else since; together with its start time it is one process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


Ready = tuple[str, int, int]  # protocol, port, sockets that must be bound to it


@dataclass(frozen=True)
class Spec:
    """What to start: `role` is unique in a lab; `ready` says which ports and on how many addresses; `end` is the signal."""

    role: str
    ns: str
    argv: tuple[str, ...]
    ready: tuple[Ready, ...] = ()
    end: int = signal.SIGTERM


class Process:
    """A running process of the lab, alone in its own session, so that its children go with it."""

    def __init__(self, spec: Spec, pid: int, started: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.spec, self.pid, self.started, self.child = spec, pid, started, child

    def alive(self) -> bool:
        """Whether this very process still runs (not another one that was given its pid)."""
        return start_time(self.pid) == self.started

    def stop(self, first: int | None = None) -> None:
        """End it: asked first (by its own signal unless told otherwise), then made to."""
        if self.alive():
            self._signal(first or self.spec.end)
            end = time.monotonic() + STOP_S
            while self.alive() and time.monotonic() < end:
                time.sleep(0.003)
        if self.child is not None:
            # Not yet reaped, so the group's number still belongs to it: what it left behind goes too.
            self._signal(signal.SIGKILL)
            self.child.wait()
            self.child = None
        elif self.alive():
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def saved(self) -> dict[str, Any]:
        """What `restored` needs to find it again from another process."""
        return {"spec": asdict(self.spec), "pid": self.pid, "started": self.started}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> Process:
        """The process that `saved` described."""
        spec = saved["spec"]
        ready = tuple((protocol, port, count) for protocol, port, count in spec["ready"])
        found = Spec(spec["role"], spec["ns"], tuple(spec["argv"]), ready, spec["end"])
        return cls(found, saved["pid"], saved["started"])


def launch(spec: Spec, netns: str, log: Path, outlive: bool) -> Process:
    """Start `spec` in the namespace `netns` and return once its ports are bound; LabError with its last words else.

    Unless it may `outlive` this process, the kernel ends it when this process dies, even by SIGKILL.
    """
    tether = [] if outlive else [program("setpriv", "util-linux"), "--pdeathsig", "TERM", "--"]
    with log.open("wb") as out:
        child = subprocess.Popen(
            [*tether, program("ip", "iproute2"), "netns", "exec", netns, *spec.argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )
    process = Process(spec, child.pid, start_time(child.pid) or 0, child)
    end = time.monotonic() + READY_S
    while not _bound(child.pid, netns, spec.ready):
        if child.poll() is not None or time.monotonic() > end:
            process.stop()
            words = " / ".join(log.read_text(errors="replace").strip().splitlines()[-4:])
            raise LabError(f"{spec.role} did not get ready in {spec.ns}: {words or 'it said nothing'}")
        time.sleep(0.004)
    return process


def _bound(pid: int, netns: str, ready: Sequence[Ready]) -> bool:
    """Whether the sockets are bound, read from the process's own view of its namespace."""
    try:
        if Path(f"/proc/{pid}/ns/net").stat().st_ino != (NETNS / netns).stat().st_ino:
            return False  # still on its way in: its sockets would be those of the machine
        for protocol, port, count in ready:
            tables = [Path(f"/proc/{pid}/net/{protocol}{suffix}").read_text() for suffix in ("", "6")]
            lines = [line.split() for table in tables for line in table.splitlines()[1:]]
            state = "0A" if protocol == "tcp" else "07"  # listening, or what an unconnected UDP socket shows
            if sum(int(w[1].rpartition(":")[2], 16) == port and w[3] == state for w in lines) < count:
                return False
    except FileNotFoundError:
        return False
    return True


def namespaces(prefix: str) -> list[str]:
    """The existing namespaces whose names begin with `prefix`."""
    return sorted(entry.name for entry in NETNS.glob(f"{prefix}*")) if NETNS.is_dir() else []


def remove_namespaces(prefix: str) -> None:
    """End what still runs in the namespaces of that prefix (a lab started all of it there), then delete them."""
    ip = program("ip", "iproute2")
    for name in namespaces(prefix):
        for pid in run([ip, "netns", "pids", name]).split():
            if int(pid) != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(LabError):  # gone in between: that is what was wanted
            run([ip, "netns", "del", name])


def sweep() -> list[str]:
    """Remove what labs left behind whose owner was killed too hard to do it; gives their prefixes."""
    places = Path(tempfile.gettempdir()).glob(f"{WORK}rp*")
    folders = {path.name.removeprefix(WORK): path for path in places if path.lstat().st_uid == 0}
    matches = [_OWNED.match(name) for name in (*namespaces("rp"), *folders)]
    owners = {match.group(): int(match.group(1)) for match in matches if match}
    gone = sorted(prefix for prefix, owner in owners.items() if start_time(owner) is None)
    for prefix in gone:
        remove_namespaces(prefix)
        if prefix in folders:
            shutil.rmtree(folders[prefix], ignore_errors=True)
    return gone
