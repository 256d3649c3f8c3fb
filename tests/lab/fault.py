"""The piece that every fault of the lab is made of: rules, settings and helpers that come at once and go again.

Each fault has an nft table of its own, so they add up. What mends it is data, so that another process can do it too.
Where a rule stands matters to a TTL ladder: in the `forward` hook the router itself still answers with
time-exceeded; in `prerouting` (raw) the packet goes before the TTL check and the router is silent too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from .network import Lab
from .procs import Ready, Spec

TABLE = "fault"
HOOKS = {
    "forward": ("inet", "type filter hook forward priority filter"),
    "input": ("inet", "type filter hook input priority filter"),
    "output": ("inet", "type filter hook output priority filter"),
    "early": ("inet", "type filter hook prerouting priority raw"),
    "late": ("inet", "type filter hook postrouting priority filter"),
    "redirect": ("inet", "type nat hook prerouting priority dstnat"),
    "bridge": ("bridge", "type filter hook forward priority filter"),
}
_numbers = iter(range(1, 1_000_000))


class Fault:
    """Something broken in a lab; a context manager that mends it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.undo: list[tuple[str, ...]] = []
        lab.faults.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Mend it; a second time does nothing."""
        while self.undo:
            take_back(self.lab, self.undo.pop())
        if self in self.lab.faults:
            self.lab.faults.remove(self)

    def rules(self, ns: str, hook: str, rules: Iterable[str], sets: str = "") -> Self:
        """Add nft rules in one hook; `early` is before the TTL check, `late` also sees what the router itself sends.

        `bridge` is the forwarding of a bridge, in `lan`: only what crosses it from port to port. `sets`: nft's sets
        that the rules use.
        """
        table = f"{TABLE}{os.getpid()}x{next(_numbers)}"
        family, chain = HOOKS[hook]
        body = "\n".join(rules)
        self.lab.nft(ns, f"table {family} {table} {{\n{sets}\nchain rules {{\n{chain};\n{body}\n}}\n}}\n")
        self.undo.append(("exec", ns, "nft", "delete", "table", family, table))
        return self

    def ip(self, ns: str, commands: Sequence[str], undo: Sequence[str] = ()) -> Self:
        """Run `ip` commands in a namespace; mending runs `undo` and configures the namespace again."""
        self.undo.append(("configure", ns))
        self.undo += [("exec", ns, "ip", *command.split()) for command in reversed(undo)]
        self.lab.ip(ns, *commands)
        return self

    def exec(self, ns: str, argv: Sequence[str], undo: Sequence[str]) -> Self:
        """Run a command in a namespace, and another one to mend it."""
        self.undo.append(("exec", ns, *undo))
        self.lab.exec(ns, *argv)
        return self

    def sysctl(self, ns: str, **values: int) -> Self:
        """Set kernel settings of a namespace, dots written as double underscores; mending sets what was there."""
        for name, value in values.items():
            key = name.replace("__", ".")
            before = self.lab.exec(ns, "sysctl", "-n", key).strip()
            self.exec(ns, ("sysctl", "-qw", f"{key}={value}"), ("sysctl", "-qw", f"{key}={before}"))
        return self

    def start(self, ns: str, argv: Sequence[str], ready: Sequence[Ready] = ()) -> str:
        """Run a program for as long as the fault lasts; gives its role."""
        role = f"{TABLE}-{os.getpid()}-{next(_numbers)}"
        self.undo.append(("stop", role))
        self.lab.start(Spec(role, ns, tuple(argv), tuple(ready)))
        return role

    def helper(self, ns: str, *argv: str, ready: Ready) -> Self:
        """Run tcpd.py beside the rules for as long as the fault lasts."""
        self.start(ns, (sys.executable, str(Path(__file__).with_name("tcpd.py")), *argv), (ready,))
        return self

    def forget_neighbours(self) -> Self:
        """Let the hosts and the gateway resolve each other anew, now and when it is mended."""
        # The room comes last: a host that still knows it would ask whether it is there, and be known to it again.
        for ns in (self.lab.gateway, *reversed(tuple(self.lab.topology.hosts))):
            self.exec(ns, FLUSH, FLUSH)
        return self


FLUSH = ("ip", "-6", "neigh", "flush", "all")


def take_back(lab: Lab, step: Sequence[str]) -> None:
    """Do one step of a fault's `undo`."""
    what, where, *argv = step
    if what == "exec":
        lab.exec(where, *argv)
    elif what == "configure":
        lab.configure(where)
    elif what == "stop":
        lab.stop(where)
    elif what == "leave":
        lab.leave(where)


def ports_of(ports: Iterable[int]) -> str:
    """nft's set of those ports."""
    return "{ " + ", ".join(str(port) for port in ports) + " }"
