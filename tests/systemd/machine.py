"""A machine with systemd as its first process: a bare Debian tree in systemd-nspawn, in the room of a lab network.

The tree with Debian's packages is made once and kept beside the bare one (tests/fresh); every use gets a copy.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fresh.bare import KEPT, Bare, being_made, kept_tree, remove
from tests.lab.network import Lab

PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3-venv", "procps", "iproute2", "ca-certificates")
PROJECT = "/srv/roomprobe"
BOOT_S = 60.0


def kept_machine() -> Path:
    """The tree with systemd in it; made when it is not there yet (about a minute)."""
    kept_tree()
    tree = KEPT / "machine"
    with being_made(tree) as place:
        if place is not None:
            bare = Bare.made_at(place)
            bare.run(["apt-get", "update", "-q"], check=True)
            install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES]
            bare.run(install, env={"DEBIAN_FRONTEND": "noninteractive"}, check=True, timeout_s=600)
            for unit in ("systemd-resolved", "systemd-networkd", "systemd-timesyncd"):
                bare.run(["systemctl", "mask", f"{unit}.service"])
    return tree


class Groups:
    """Control groups of one machine alone: two systemds in the same ones would end each other's services."""

    def __init__(self) -> None:
        top = Path("/sys/fs/cgroup")
        whole = top if (top / "cgroup.procs").exists() else top / "unified"
        mine = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        places = {"": whole, "name=systemd": top / "systemd"}
        made = [places[kind] / path[1:] for _, kind, path in mine if kind in places and places[kind].is_dir()]
        self.places = [place / f"roomprobe-{os.getpid()}" for place in made]
        for place in self.places:
            place.mkdir(exist_ok=True)

    def join(self) -> None:
        """The calling process and its children to come."""
        for place in self.places:
            (place / "cgroup.procs").write_text(str(os.getpid()))

    def close(self) -> None:
        """Removes them; their processes have ended."""
        for place in self.places:
            for folder, _, _ in os.walk(place, topdown=False):
                with contextlib.suppress(OSError):  # a process that is still going
                    Path(folder).rmdir()


class Machine:
    """One copy, with this checkout in it; `boot` starts it in the lab's room."""

    def __init__(self, place: Path) -> None:
        self.tree = place / "tree"
        subprocess.run(["cp", "-a", "--reflink=auto", str(kept_machine()), str(self.tree)], check=True)
        self.bare = Bare(self.tree)
        self.bare.put_project(PROJECT)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._log = place / "console.log"
        self._leader = 0
        self._groups = Groups()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file inside, root's."""
        file = self.tree / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def boot(self, lab: Lab) -> None:
        """Until systemd says that it is up."""
        self.write("/etc/resolv.conf", "".join(f"nameserver {server}\n" for server in lab.resolvers))
        command = ["systemd-nspawn", "-q", "-D", str(self.tree), "--boot", "--register=no", "--keep-unit", "--console=pipe",
                   "--resolv-conf=off", f"--machine=roomprobe-{os.getpid()}",
                   f"--network-namespace-path=/run/netns/{lab.name('room')}"]  # fmt: skip
        with self._log.open("wb") as log:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._groups.join,
            )
        until = time.monotonic() + BOOT_S
        while time.monotonic() < until:
            assert self._nspawn.poll() is None, f"systemd-nspawn ended: {self.console}"
            with contextlib.suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
                self._leader = self._leader or self._find_leader()
                if self._leader:
                    said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                    if said in ("running", "degraded"):
                        return
            time.sleep(0.2)
        raise AssertionError(f"systemd did not come up: {self.console}")

    @property
    def console(self) -> str:
        """The end of what the machine wrote to its console."""
        return self._log.read_text(errors="replace")[-4000:]

    def run(self, *argv: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """A command inside, as root, beside the services."""
        enter = [
            "nsenter",
            "-t",
            str(self._leader),
            "-a",
            "--",
            "env",
            "-i",
            "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        return subprocess.run([*enter, *argv], capture_output=True, text=True, check=check, timeout=timeout_s)

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        said = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def state(self, unit: str = "roomprobe") -> str:
        """Its ActiveState."""
        return self.show(unit, "ActiveState")["ActiveState"]

    def pid(self, unit: str = "roomprobe") -> int:
        """Its main process; 0 when there is none."""
        return int(self.show(unit, "MainPID")["MainPID"])

    def until(self, true: Callable[[], object], unit: str = "roomprobe", patience_s: float = 60.0) -> None:
        """Waits for it; what the unit wrote when it never comes."""
        end = time.monotonic() + patience_s
        while not true():
            assert time.monotonic() < end, self.journal(unit)[-5000:]
            time.sleep(0.2)

    def journal(self, unit: str = "roomprobe") -> str:
        """All that a unit wrote."""
        return self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager").stdout

    def close(self) -> None:
        """Switches it off."""
        if self._nspawn is not None:
            self._end(self._nspawn)
        self._groups.close()

    def _end(self, nspawn: subprocess.Popen[bytes]) -> None:
        if self._leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)  # with the first process all of the machine ends
        try:
            nspawn.wait(10)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait()

    def _find_leader(self) -> int:
        """The machine's first process: the child of systemd-nspawn."""
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return int(children[0]) if children else 0


@contextlib.contextmanager
def machine(place: Path) -> Iterator[Machine]:
    """A machine that is switched off and removed afterwards."""
    made = None
    try:
        made = Machine(place)
        yield made
    finally:
        if made is not None:
            made.close()
        remove(place / "tree")
