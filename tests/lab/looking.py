"""The room of a lab as its neighbours' tests use it: calls of net/ by nobody, rights given and taken, liars next door."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import product
from .network import Lab
from .procs import Process, Spec

HERE = Path(__file__).parent
RANGE = "net.ipv4.ping_group_range"


class Room:
    """The lab as the runner in the room sees it; `taken` is what the last call has drawn from the bucket."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.taken = lab, 0
        self.interpreter, path = product._interpreter(lab)
        self.env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def call(self, what: str, uid: int = product.NOBODY, **given: Any) -> Any:
        argv = [self.interpreter, str(self.lab.work / "neighbours.py"), what, json.dumps(given)]
        done = product.finish(product.popen(self.lab, argv, uid=uid, env=self.env), 30)
        assert done.returncode == 0 and not done.stderr, done.stderr
        said = json.loads(done.stdout)
        self.taken = said["taken"]
        return said["result"]

    def survey(self, **given: Any) -> dict[str, Any]:
        """What was found at eth0."""
        found: list[dict[str, Any]] = self.call("survey", **given)
        return next(one for one in found if one["interface"] == "eth0")

    def near(self, found: dict[str, Any], address: str) -> dict[str, Any] | None:
        return next((one for one in found["near"] if one["address"] == address), None)

    def address(self, ns: str) -> str:
        return f"{self.lab.link_local(ns)}%eth0"

    def entry(self, ns: str) -> str:
        """A host's entry in the room's neighbour cache, as `ip neigh` takes it."""
        return f"{self.lab.link_local(ns)} dev eth0 lladdr {self.mac(ns)}"

    def mac(self, ns: str, port: str = "eth0") -> str:
        shown = json.loads(self.lab.exec(ns, "ip", "-j", "link", "show", "dev", port))
        return str(shown[0]["address"])

    def let_ping(self, allowed: bool = True) -> None:
        group = product.NOBODY if allowed else 0
        self.lab.exec("room", "sysctl", "-qw", f"{RANGE}={group} {group}" if allowed else f"{RANGE}=1 0")

    def start(self, role: str, *argv: str, port: int) -> Process:
        return self.lab.start(Spec(role, "codec", argv, (("udp", port, 1),)))

    def lie(self, kind: str, mode: str) -> Process:
        return self.start("liar", sys.executable, str(HERE / "hostile_neighbour.py"), kind, mode, port=9999)


@contextmanager
def built() -> Iterator[Room]:
    with Lab(second_interface=True) as lab:
        script = lab.work / "neighbours.py"
        script.write_bytes((HERE / "neighbours.py").read_bytes())
        script.chmod(0o644)
        for ns in ("room", "codec", lab.gateway):
            lab.link_local(ns, "lan0" if ns == lab.gateway else "eth0")
        # Five seconds by default until the kernel asks again for a neighbour met earlier.
        lab.exec("room", "sysctl", "-qw", "net.ipv6.neigh.eth0.delay_first_probe_time=2")
        yield Room(lab)


def as_it_was(room: Room) -> Iterator[Room]:
    """The shared lab for one test: nobody may ping, the cache is empty, and no servers or faults stay behind."""
    room.let_ping(False)
    room.lab.ip("room", "-6 neigh flush all", "-4 neigh flush all")
    yield room
    room.lab.mend()
    for role in list(room.lab.running):
        room.lab.stop(role)
