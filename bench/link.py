"""The controller link, open, against `roomprobe codec`: what the run takes beside its two idle seconds. `scripts/bench link`.

The run's own figures come from its report; nmap connects to the same five ports and says less.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "agent")]

from tests.lab import peers, product  # noqa: E402
from tests.lab.network import Lab  # noqa: E402

RUNS = int(os.environ.get("RUNS", "5"))
PORTS = "69,443,5000,5152,23456"


def main() -> None:
    with Lab() as lab:
        peers.codec(lab)
        codec = lab.codec_addresses()[1]  # nmap wants -e beside a scope id
        argv, needed = product.command(lab, ["--once", "--json", "--profile", "teamline-5141", "--codec", codec], None)
        enter = product.entered(lab, argv, "room", product.NOBODY, lab.resolvers, None)
        scan = ["ip", "netns", "exec", lab.name("room"), "nmap", "-6", "-n", "-Pn", "-sT", "-p", PORTS, codec]
        beside, whole, theirs, trips = [], [], [], []
        for _ in range(RUNS):
            begun = time.monotonic()
            done = subprocess.run(enter, env={**product.BASE_ENV, **needed}, capture_output=True, check=True)
            whole.append(time.monotonic() - begun)
            report = json.loads(done.stdout)
            idle = max(check["evidence"]["hold"]["after_s"] for check in report["checks"])
            beside.append(report["run"]["duration_s"] - idle)
            trips += [check["rtt_ms"] for check in report["checks"]]
            begun = time.monotonic()
            subprocess.run(scan, capture_output=True, check=True)
            theirs.append(time.monotonic() - begun)
    print(f"median of {RUNS} runs, all five ports open")
    print(f"  the run without its two idle seconds   {statistics.median(beside):.3f} s")
    print(f"  the whole process                      {statistics.median(whole):.2f} s")
    print(
        f"  the run without them, beside nmap -sT  {statistics.median(beside) / statistics.median(theirs):.2f} x wall"
    )
    print(f"  round trip by the kernel               {statistics.median(trips):.3f} ms")


if __name__ == "__main__":
    main()
