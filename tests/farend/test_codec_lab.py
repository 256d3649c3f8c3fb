"""`roomprobe codec` on its real ports, across a bridge: link-local and ULA, many addresses, and as an ordinary user."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from roomprobe.farend.limits import MOST_CONNECTIONS, MOST_PER_PEER, PORTS

from ..lab import peers, product
from ..lab.network import Lab
from .running import NONCE, PATIENCE_S

pytestmark = pytest.mark.lab

# Says hello on each port and prints the answers as JSON; 443 in plain, where a block is a segment.
GREET = f"""
import json, socket, sys
found = {{}}
for port in map(int, sys.argv[2:]):
    where = socket.getaddrinfo(sys.argv[1], port, type=socket.SOCK_STREAM)[0][4]
    with socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(10)
        sock.connect(where)
        sock.sendall(b"ROOMPROBE/1 HELLO {NONCE}\\r\\n")
        found[port] = [sock.getsockname()[1], *sock.recv(4096).decode().split()]
print(json.dumps(found))
"""
# Opens so many connections from each address and holds them until it is told to go on.
HOLD = """
import socket, sys
held = []
for address in sys.argv[4:]:
    for _ in range(int(sys.argv[3])):
        sock = socket.socket(socket.AF_INET6)
        sock.bind((address, 0))
        sock.connect((sys.argv[1], int(sys.argv[2])))
        sock.settimeout(1)
        held.append(sock)
closed = 0
for sock in held:
    try:
        closed += sock.recv(1) == b""
    except ConnectionResetError:
        closed += 1
    except TimeoutError:
        break
print(closed, flush=True)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as one:
        yield one


def greet(lab: Lab, address: str, *ports: int) -> dict[int, list[Any]]:
    said = lab.exec("room", sys.executable, "-c", GREET, address, *map(str, ports))
    return {int(port): words for port, words in json.loads(said).items()}


def test_all_five_over_link_local_and_ula(lab: Lab) -> None:
    running = peers.codec(lab)
    for address, mine in zip(lab.codec_addresses(), (lab.link_local("room"), lab.address("room", 6)), strict=True):
        found = greet(lab, address, *PORTS)
        for port, (source_port, *words) in found.items():
            assert words[:3] == ["ROOMPROBE/1", "CODEC", NONCE]
            assert words[6:] == [mine, str(source_port)], "without the scope id, which means nothing over there"
            who = f"{mine}%eth0" if "%" in address else mine
            until = time.monotonic() + PATIENCE_S
            while not (seen := running.seen("closed", port=port, source_port=source_port)) and time.monotonic() < until:
                time.sleep(0.05)
            assert [event["address"] for event in seen] == [who]
    started = running.seen("started")[0]
    listed = [(one["address"], one["interface"]) for one in started["addresses"]]
    assert listed == [(lab.link_local("codec"), "eth0"), (lab.address("codec", 6), "eth0")]


def test_no_more_than_so_many_in_all(lab: Lab) -> None:
    running = peers.codec(lab)
    prefix = lab.address("room", 6).rpartition(":")[0]
    addresses = [f"{prefix}:{number:x}" for number in range(0x100, 0x100 + MOST_CONNECTIONS // MOST_PER_PEER + 1)]
    lab.ip("room", *(f"-6 addr add {address}/64 dev eth0 nodad" for address in addresses))
    try:
        codec = lab.address("codec", 6)
        said = lab.exec("room", sys.executable, "-c", HOLD, codec, "69", str(MOST_PER_PEER), *addresses)
    finally:
        lab.ip("room", *(f"-6 addr del {address}/64 dev eth0" for address in addresses))
    assert said == "0\n", "those that were there first stay"
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        refused = len(running.seen("refused")) + sum(event["refused"] for event in running.seen("more"))
        if refused >= MOST_PER_PEER:
            break
        time.sleep(0.1)
    assert refused == MOST_PER_PEER
    assert {event["why"] for event in running.seen("refused")} <= {"total-limit"}
    assert greet(lab, codec, 5000)[5000][2] == "CODEC", "once they have gone it serves again"


def _as_nobody(lab: Lab, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The lab's own way to run roomprobe as nobody, with another command in it."""
    argv, env = product.command(lab, ("demo",), None)
    return [*argv[: argv.index("demo")], "codec", *arguments], env


def test_nobody_needs_an_offset(lab: Lab) -> None:
    lab.stop("codec")
    argv, env = _as_nobody(lab)
    done = lab.as_nobody(*argv, ns="codec", env=env)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("roomprobe: Port 69 needs the capability CAP_NET_BIND_SERVICE")
    argv, env = _as_nobody(lab, "--interface", "eth0", "--port-offset", "10000", "--json")
    running = product.popen(lab, argv, ns="codec", env=env)
    try:
        assert running.stdout is not None
        started = json.loads(running.stdout.readline())
        assert started["interface"] == "eth0"
        found = greet(lab, lab.codec_addresses()[0], *(port + 10_000 for port in PORTS))
        assert len(found) == 5 and all(words[2] == "CODEC" for words in found.values())
        os.kill(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE_S)
    finally:
        running.kill()
        running.wait()
    assert (running.returncode, err) == (0, "")
    last = json.loads(out.splitlines()[-1])
    assert (last["event"], last["connections"]) == ("stopped", 5)


def test_only_one_interface(lab: Lab) -> None:
    argv, env = _as_nobody(lab, "--interface", "lo", "--port-offset", "10000", "--json")
    running = product.popen(lab, argv, ns="codec", env=env)
    try:
        assert running.stdout is not None and json.loads(running.stdout.readline())["addresses"] == []
        with pytest.raises(Exception, match="Connection refused"):
            greet(lab, lab.codec_addresses()[0], 10_069)
    finally:
        running.kill()
        running.communicate()
