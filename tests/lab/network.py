"""The lab itself: namespaces, cables and routers, alive between `build` and `close` and gone after any other end.

room and codec hang on a bridge (see Topology for more); behind it stand the routers fw, isp and core, and then net with
the far ends. Names carry a prefix with our pid, so that `sweep` can tell whose owner is dead.
"""

from __future__ import annotations

import atexit
import contextlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from . import product
from .procs import PATH, LabError, Process, Spec, launch, namespaces, program, remove_namespaces, run
from .procs import WORK as WORK
from .procs import sweep as sweep
from .topology import LINKS, Topology, bare, settings

if TYPE_CHECKING:
    from types import FrameType

    from .fault import Fault

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_open: list[Lab] = []
_numbers = iter(range(1, 1_000_000))

# Without limits every probe gets its ICMP error, which makes outcomes exact; real routers have the limits.
_NO_LIMITS = ("net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_ratemask=0", "net.ipv6.icmp.ratelimit=0")
_NO_DAD = tuple(f"net.ipv6.conf.{which}.{key}=0" for which in ("all", "default") for key in ("accept_dad", "accept_ra"))
_NO_IPV6 = tuple(f"net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default"))
_FORWARD = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


class Lab:
    """A network with a room in it: `with Lab() as lab:`, or `Lab(families=(6,), nat=("fw",))`; see Topology.

    `routers` stand in the order of the path, `gateway` is the first; `work` is a directory that goes with the lab.
    """

    def __init__(self, **options: Any) -> None:
        self.topology = Topology(**options)
        self.routers = self.topology.routers
        self.gateway = self.routers[0]
        self.running: dict[str, Process] = {}
        self.faults: list[Fault] = []
        self.outlives = False
        self.prefix = f"rp{os.getpid()}-{next(_numbers)}-"
        self.work = Path(tempfile.gettempdir()) / (WORK + self.prefix)
        self._settings = settings(self.topology)
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        return self if self in _open else self.build()

    def __exit__(self, *_: object) -> None:
        if self in _open:
            self.close()

    def build(self) -> Self:
        """Make everything, or nothing. LabError says what is missing: root, a Debian package."""
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it makes network namespaces")
        for name, package in (("ip", "iproute2"), ("nft", "nftables"), ("setpriv", "util-linux"), ("sysctl", "procps")):
            program(name, package)
        sweep()
        try:
            self.work.mkdir(mode=0o755)
        except FileExistsError:
            raise LabError(
                f"{self.work} exists: another lab of that name is there, or somebody is in the way"
            ) from None
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            _guard(self)
            self.work.chmod(0o755)
            self._cable()
            undo.pop_all()
        return self

    def close(self) -> None:
        """Take everything down; may be called at any time and more than once. Signals wait until it is done."""
        if os.getpid() != self._owner:
            return  # a forked child must not take its parent's lab away
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        try:
            for process in self.running.values():
                process.stop()
            self.running.clear()
            self.faults.clear()
            remove_namespaces(self.prefix)
            shutil.rmtree(self.work, ignore_errors=True)
            if self in _open:
                _open.remove(self)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def release(self) -> None:
        """Let it stand when this process ends: `close` is then somebody else's to call."""
        _open.remove(self)

    def _cable(self) -> None:
        batch = [f"netns add {self.name(ns)}" for ns in self.topology.namespaces]
        ports = {"p-gateway": "br0", **dict.fromkeys(self.topology.bridged.values(), "br0")}
        cables = [(self.gateway, "lan0", "lan", "p-gateway")]
        cables += [(ns, "eth0", "lan", port) for ns, port in self.topology.bridged.items()]
        if self.topology.codec == "routed":
            cables.append(("codec", "eth0", "fw", "lan1"))
        if self.topology.second_interface:
            cables.append(("room", "eth1", "lan", "p-second"))
            ports["p-second"] = "br1"
        batch += [f"link add {bridge} netns {self.name('lan')} type bridge" for bridge in sorted(set(ports.values()))]
        chain = (*self.routers, "net")
        cables += [(a, "wan0", b, "eth0" if b == "net" else "lan0") for a, b in pairwise(chain)]
        run(["ip", "-batch", "-"], "\n".join(batch))
        self._sysctls()
        batch = [
            f"link add {port} netns {self.name(ns)} type veth peer name {other} netns {self.name(there)}"
            for ns, port, there, other in cables
        ]
        run(["ip", "-batch", "-"], "\n".join(batch))
        run(
            ["ip", "-n", self.name("lan"), "-batch", "-"],
            "\n".join(f"link set {p} master {b}" for p, b in ports.items()),
        )
        for ns in self.topology.namespaces:
            self.configure(ns)
        for router in self.topology.nat:
            rule = 'type nat hook postrouting priority srcnat; oifname "wan0" meta nfproto ipv4 masquerade'
            self.nft(router, f"table inet site {{\nchain nat {{\n{rule}\n}}\n}}\n")

    def _sysctls(self) -> None:
        """Set before the interfaces exist, because their defaults are copied when they are made."""
        waiting = []
        for ns in self.topology.namespaces:
            values = [*_NO_DAD, *(_FORWARD if ns in self.routers else ())]
            values += () if self.topology.default_icmp_limits else _NO_LIMITS
            values += _NO_IPV6 if ns in self.topology.no_ipv6 else ()
            # The room's switch has no address of its own, or it would be one more neighbour.
            values += ("net.ipv6.conf.br0.disable_ipv6=1",) if ns == "lan" else ()
            argv = ["ip", "netns", "exec", self.name(ns), "sysctl", "-qw", *values]
            env = {"PATH": PATH}
            waiting.append(subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for child in waiting:
            said = child.communicate()[0]
            if child.returncode != 0:
                raise LabError(f"sysctl failed in a namespace: {said.strip()}")

    # Using it

    def name(self, ns: str) -> str:
        """The real name of a namespace: `rp4711-1-room` of `room`."""
        if ns not in self.topology.namespaces and self.prefix + ns not in namespaces(self.prefix):
            raise LabError(f"no namespace {ns!r} in this lab: {', '.join(self.topology.namespaces)}")
        return self.prefix + ns

    def exec(self, ns: str, *argv: str, stdin: str = "") -> str:
        """Run a short command as root in a namespace and give its output; LabError when it fails."""
        return run(["ip", "netns", "exec", self.name(ns), *argv], stdin)

    def ip(self, ns: str, *commands: str) -> None:
        """Run `ip` commands in a namespace: `lab.ip("room", "-6 route del default")`."""
        for command in commands:
            run(["ip", "-n", self.name(ns), *command.split()])

    def nft(self, ns: str, rules: str) -> None:
        """Load nftables rules in a namespace, all or none."""
        self.exec(ns, "nft", "-f", "-", stdin=rules)

    def configure(self, ns: str) -> None:
        """Give a namespace its links, addresses and routes (again)."""
        run(["ip", "-n", self.name(ns), "-batch", "-"], "\n".join(self._settings[ns]))

    def join(self, ns: str) -> None:
        """Put one more machine on the room's bridge, its `eth0` up and without addresses, until it has to `leave`."""
        run(["ip", "netns", "add", self.prefix + ns])
        self.exec(ns, "sysctl", "-qw", *_NO_DAD, *_FORWARD)
        ends = (self.name(ns), self.name("lan"))
        run(["ip", *f"link add eth0 netns {ends[0]} type veth peer name p-{ns} netns {ends[1]}".split()])
        self.ip("lan", f"link set p-{ns} master br0", f"link set p-{ns} up")
        self.ip(ns, "link set lo up", "link set eth0 up")

    def leave(self, ns: str) -> None:
        """Take away a machine that has joined, and what runs on it."""
        self.ip("lan", f"link del p-{ns}")  # the namespace's own end goes some time after its name
        remove_namespaces(self.prefix + ns)

    def start(self, spec: Spec) -> Process:
        """Start a process and wait until it is ready; one of the same role that is running gives way first."""
        if spec.role in self.running:
            self.stop(spec.role)
        log = self.work / f"{spec.role}.log"
        process = launch(spec, self.name(spec.ns), log, self.outlives)
        self.running[spec.role] = process
        return process

    def stop(self, role: str) -> None:
        """End the process of that role, if it runs."""
        if (process := self.running.pop(role, None)) is not None:
            process.stop()

    def kill(self, role: str) -> None:
        """End the process of that role at once, with no chance to say goodbye."""
        self.running.pop(role).stop(signal.SIGKILL)

    def mend(self) -> None:
        """Take every fault away."""
        for fault in reversed(self.faults[:]):
            fault.remove()

    # The product in the room: see product.py

    def config(self, **tables: Mapping[str, object]) -> str:
        """The default configuration changed: `lab.config(site={"prefixes": ["192.0.2.0/24"]})`; None drops a key."""
        return product.config_text(self, tables)

    def popen(self, *args: str, config: str | None = None, **how: Any) -> subprocess.Popen[str]:
        """Start `roomprobe ARGS` in the room as nobody; its pid is roomprobe's own. `how`: see product.popen."""
        argv, needed = product.command(self, args, config)
        return product.popen(self, argv, **{**how, "env": {**needed, **(how.get("env") or {})}})

    def run(
        self, *args: str, config: str | None = None, timeout: float = 60.0, **how: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `roomprobe ARGS` in the room as nobody. `how`: ns, uid, env, resolv (addresses), ca (system store)."""
        return product.finish(self.popen(*args, config=config, **how), timeout)

    def roomprobe(self, *args: str, **how: Any) -> product.Run:
        """`run` of `--once --json ARGS` with the report parsed: `code, report, out, err = lab.roomprobe()`."""
        return product.parsed(self.run("--once", "--json", *args, **how))

    def as_nobody(self, *argv: str, timeout: float = 60.0, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run any command in the room as nobody without capabilities. `how`: see product.popen."""
        return product.finish(product.popen(self, argv, **how), timeout)

    # Who is where

    def address(self, ns: str, family: int = 4) -> str:
        """The address of a host (`room`, `codec`, `codec2`, `controller`) or of the gateway on its LAN."""
        return self.topology.host_address(ns, family)

    def link_local(self, ns: str, interface: str = "eth0") -> str:
        """The IPv6 link-local address of an interface, without scope: made of its MAC, so known while it is down."""
        shown = json.loads(self.exec(ns, "ip", "-j", "link", "show", "dev", interface))
        mac = bytearray.fromhex(shown[0]["address"].replace(":", ""))
        mac[0] ^= 2  # RFC 4291 appendix A: the modified EUI-64
        return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + mac[:3] + b"\xff\xfe" + mac[3:]))

    def codec_addresses(self, ns: str = "codec") -> list[str]:
        """A codec's IPv6 addresses as the room writes them: `fe80::...%eth0` if it is on the bridge, then its ULA."""
        if ns in self.topology.no_ipv6:
            return []
        near = [f"{self.link_local(ns)}%eth0"] if ns in self.topology.bridged else []
        return near + ([self.address(ns, 6)] if 6 in self.topology.families else [])

    def hop(self, router: str) -> int:
        """How many hops from the room a router is; the first is 1."""
        return self.routers.index(router) + 1

    def hop_address(self, router: str, family: int = 4) -> str:
        """The address with which a router answers the room (time-exceeded and the like)."""
        if router == self.gateway:
            return self.address(router, family)
        return bare(LINKS[self.routers[self.routers.index(router) - 1], router][0 if family == 4 else 2])

    @property
    def resolvers(self) -> list[str]:
        """The site's resolver, at the gateway: one address of the first family that the site has."""
        return [self.address(self.gateway, self.topology.families[0])]


def _close_all() -> None:
    for lab in _open[:]:
        lab.close()


def _guard(lab: Lab) -> None:
    """Make sure that the lab goes when the process is told to end: a signal becomes the interrupt that unwinds."""
    if not _open:
        atexit.register(_close_all)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, _interrupt)
    _open.append(lab)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
