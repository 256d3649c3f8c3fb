"""What a run costs, in a lab network, beside the tools that people would use instead. `scripts/bench` starts it as root.

Every line is the median of RUNS whole processes, taken in turn (ours, theirs, ours ...), so that a machine that drifts moves
both. Quote the ratios: the times are this machine's.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "agent")]

from tests.lab import faults, peers, product  # noqa: E402
from tests.lab.network import Lab  # noqa: E402
from tests.lab.scenario import ONE_EACH  # noqa: E402

RUNS = int(os.environ.get("RUNS", "5"))
PORTS = "24704,3478,1194,500,123"
CALLS, CONFIG = "203.0.113.10", "203.0.113.20"


class Cost(NamedTuple):
    """One whole process: wall and CPU seconds, peak resident MiB."""

    wall: float
    cpu: float
    rss: float


def cost(argv: Sequence[str], env: dict[str, str] | None = None) -> Cost:
    """Runs a command to its end and takes the kernel's own accounting of it and its children."""
    begun = time.monotonic()
    child = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = 0
    return Cost(time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def median(costs: Sequence[Cost]) -> Cost:
    """Field by field."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def line(what: str, ours: Callable[[], Cost], theirs: Callable[[], Cost] | None = None, than: str = "") -> None:
    """Prints one line of the table: the medians, and the ratios where there is something to compare with."""
    ours(), theirs and theirs()
    pairs = [(ours(), theirs() if theirs else None) for _ in range(RUNS)]
    mine = median([a for a, _ in pairs])
    text = f"{what:<46}{mine.wall:8.2f} s {mine.cpu:7.2f} s {mine.rss:6.0f} MiB"
    if theirs:
        other = median([b for _, b in pairs if b is not None])
        text += f"   {mine.wall / other.wall:6.2f} x wall {mine.cpu / max(other.cpu, 0.01):6.2f} x CPU of {than}"
    print(text, flush=True)


def inside(lab: Lab, *argv: str) -> list[str]:
    """A command line in the room's namespace, as root (the others need raw sockets)."""
    return ["ip", "netns", "exec", lab.name("room"), *argv]


def _instead(part: str) -> None:
    """The part that was asked for takes the place of this process, so that a signal reaches it."""
    os.execv(sys.executable, [sys.executable, str(ROOT / "bench" / f"{part}.py")])


def main() -> None:
    if sys.argv[1:2] in (["spool"], ["collector"]):
        _instead(sys.argv[1])
    missing = [name for name in ("nmap", "traceroute") if shutil.which(name) is None]
    if missing:
        sys.exit(f"scripts/bench compares with {' and '.join(missing)}: apt-get install {' '.join(missing)}")
    if sys.argv[1:2] == ["link"]:
        _instead("link")
    print(f"{'median of ' + str(RUNS) + ' runs':<46}{'wall':>10} {'CPU':>9} {'peak RSS':>10}")
    with Lab(families=(4,)) as lab:
        peers.dns(lab, hosts=ONE_EACH)
        peers.tls(lab)
        peers.udp(lab)
        argv, needed = product.command(lab, ["--once", "--json"], None)
        enter = product.entered(lab, argv, "room", product.NOBODY, lab.resolvers, None)
        env = {**product.BASE_ENV, **needed}

        def ours() -> Cost:
            return cost(enter, env)

        def version() -> Cost:
            return cost([argv[0], "-m", "roomprobe", "--version"], env)

        def nmap() -> Cost:
            scan = ["nmap", "-n", "-Pn", "-sS", "-sU", "-p", f"T:443,U:{PORTS}", CALLS, CONFIG]
            return cost(inside(lab, *scan))

        def traces() -> Cost:
            udp = "; ".join(f"traceroute -n -q 1 -m 8 -U -p {port} {CALLS}" for port in PORTS.split(","))
            return cost(inside(lab, "sh", "-c", f"{udp}; traceroute -n -q 1 -m 8 -T -p 443 {CALLS}"))

        line("roomprobe --version", version, lambda: cost([argv[0], "-c", "pass"]), "a bare interpreter")
        line("all open, far end answering", ours, nmap, "nmap, same ports")
        peers.udp(lab, answer=(), silent=faults.TUNNEL_PORTS)
        line("all open, far end silent on UDP", ours, nmap, "nmap, same ports")
        with faults.udp_drop(lab, "fw"):
            line("UDP dropped at the firewall", ours, traces, "six traceroutes")
        with faults.tcp_drop(lab, "fw"), faults.udp_drop(lab, "fw"):
            line("UDP and TCP 443 dropped at the firewall", ours, nmap, "nmap, same ports")
        with faults.no_time_exceeded(lab):
            line("routers that report nothing", ours, traces, "six traceroutes")
    with Lab(default_icmp_limits=True) as lab:
        peers.everything(lab)
        peers.udp(lab, answer=(), silent=faults.TUNNEL_PORTS)
        faults.udp_drop(lab, "fw")
        argv, needed = product.command(lab, ["--once", "--json"], None)
        enter = product.entered(lab, argv, "room", product.NOBODY, lab.resolvers, None)
        line("three addresses, two families, default limits", lambda: cost(enter, {**product.BASE_ENV, **needed}))


if __name__ == "__main__":
    main()
