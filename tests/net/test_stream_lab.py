"""TCP connects against a real firewall in namespaces of its own: ICMP refusals, silence, a dead neighbour, our own rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from roomprobe.evidence import Connect, Icmp

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network namespace"),
    pytest.mark.skipif(not all(map(shutil.which, ("nft", "ip", "unshare"))), reason="needs nft, ip and unshare"),
]

HERE = Path(__file__)
NETWORK = """
ip link set lo up
ip link add v0 type veth peer name v1
unshare -n sleep 60 & far=$!
trap 'kill $far' EXIT
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link set v1 netns $far
ip addr add 10.9.0.1/24 dev v0
ip -6 addr add fd09::1/64 dev v0 nodad
ip link set v0 up
nsenter -t $far -n sh -e <<'FAR'
ip link set lo up
ip addr add 10.9.0.2/24 dev v1
ip -6 addr add fd09::2/64 dev v1 nodad
ip link set v1 up
nft -f - <<'RULES'
table inet t {
  chain i {
    type filter hook input priority 0
    tcp dport 443 reject with icmpx admin-prohibited
    tcp dport 444 drop
    tcp dport 446 reject with tcp reset
  }
}
RULES
FAR
nft -f - <<'RULES'
table inet t {
  chain o {
    type filter hook output priority 0
    tcp dport 445 reject with icmpx admin-prohibited
  }
}
RULES
"$@"
"""


def test_what_the_kernel_tells() -> None:
    targets = ("10.9.0.2:443", "fd09::2:443", "10.9.0.2:444", "10.9.0.2:445", "10.9.0.2:446", "10.9.0.9:443")
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[2] / "agent")}
    script = ["unshare", "-n", "bash", "-euc", NETWORK, "lab", sys.executable, str(HERE.with_name("connects.py"))]
    done = subprocess.run([*script, *targets], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    made = [msgspec.json.decode(line, type=Connect) for line in done.stdout.splitlines()]
    assert [one.result for one in made] == ["icmp", "icmp", "timeout", "icmp", "refused", "icmp"]
    # The first refusal comes while connect() still runs and is only queued; the second, to the repeated SYN, ends it.
    assert set(made[0].errors) == {Icmp(type=3, code=13, offender="10.9.0.2")}
    assert set(made[1].errors) == {Icmp(type=1, code=1, offender="fd09::2")}
    assert set(made[3].errors) == {Icmp(type=3, code=13, offender="10.9.0.1")}
    assert set(made[5].errors) == {Icmp(type=3, code=1, offender="10.9.0.1")}
    assert made[4].errors == ()
    assert all(one.seconds is not None and one.seconds < 3.6 for one in made)
