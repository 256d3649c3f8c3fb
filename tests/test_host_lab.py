"""What the box knows of itself, in real namespaces, seen by a process without any right."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roomprobe import host as hosts

SEE = """
import asyncio, json, sys, msgspec
from roomprobe import host
from roomprobe.config import Config
from roomprobe.net.pace import Bucket
config = msgspec.convert(json.loads(sys.argv[1]), Config)
seen = host.gather(config)
located = asyncio.run(host.locate(config, seen, Bucket()))
print(json.dumps([msgspec.to_builtins(seen, str_keys=True), msgspec.to_builtins(located, str_keys=True)]))
"""


class Lab:
    """Two namespaces, `room` and `far`, joined by a veth pair eth0-peer; everything goes away with them."""

    serial = itertools.count()

    def __init__(self) -> None:
        base = f"rphost-{os.getpid()}-{next(self.serial)}"
        self.room, self.far = f"{base}-room", f"{base}-far"

    def __enter__(self) -> Lab:
        if os.geteuid() != 0:
            pytest.fail("this test builds network namespaces and needs root")
        try:
            for name in (self.room, self.far):
                self._run("ip", "netns", "add", name)
            self.ip("link set lo up")
            self.ip(f"link add eth0 type veth peer name peer netns {self.far}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        for name in (self.room, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def ip(self, *lines: str) -> None:
        """`ip` lines in the room."""
        for line in lines:
            self._run("ip", "-n", self.room, *line.split())

    def there(self, *lines: str) -> None:
        """`ip` lines at the far end of the cable."""
        for line in lines:
            self._run("ip", "-n", self.far, *line.split())

    def plug(self) -> None:
        """Both ends up; without duplicate detection, so that addresses count at once."""
        for name, device in ((self.room, "eth0"), (self.far, "peer")):
            self._run("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{device}.accept_dad=0")
        self.ip("link set eth0 up")
        self.there("link set peer up")

    def see(self, located: bool = False, **site: Any) -> dict[str, Any]:
        """The facts as an unprivileged process in the room has them; `located` after the neighbour was asked for."""
        command = ["ip", "netns", "exec", self.room, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command += ["--inh-caps=-all", "--bounding-set=-all", sys.executable, "-c", SEE, json.dumps(site)]
        path = os.pathsep.join([str(Path(hosts.__file__).parents[1]), *filter(None, sys.path)])
        done = self._run(*command, env={**os.environ, "PYTHONPATH": path})
        both: list[dict[str, Any]] = json.loads(done)
        return both[located]

    def reason(self, **site: Any) -> str | None:
        trouble = self.see(**site)["trouble"]
        return trouble["reason"] if trouble else None

    @staticmethod
    def _run(*command: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=30)
        assert done.returncode == 0, f"{' '.join(command[:6])}: {done.stderr}"
        return done.stdout


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.mark.lab
def test_lab_no_carrier_no_address_no_gateway_then_well(lab: Lab) -> None:
    assert lab.reason() == "interface-down"
    lab.ip("link set eth0 up")
    seen = lab.see()
    assert (seen["interface"], seen["carrier"], seen["trouble"]["reason"]) == ("eth0", False, "no-carrier")
    lab.plug()
    assert lab.reason() == "no-local-address"
    lab.ip("addr add 192.0.2.10/24 dev eth0")
    assert lab.reason() == "no-gateway"
    lab.ip("route add default via 192.0.2.1")
    seen = lab.see()
    assert (seen["trouble"], seen["carrier"], seen["families"], seen["gateways"]) == (
        None,
        True,
        [4],
        {"4": "192.0.2.1"},
    )
    assert seen["capabilities"] == []


@pytest.mark.lab
def test_lab_two_default_routes(lab: Lab) -> None:
    lab.plug()
    lab.ip("link add eth1 type veth peer name other", "link set other up", "link set eth1 up")
    lab.ip("addr add 192.0.2.10/24 dev eth0", "addr add 198.51.100.10/24 dev eth1")
    lab.ip("route add default via 192.0.2.1 metric 200", "route add default via 198.51.100.1 metric 100")
    assert (lab.see()["interface"], lab.see()["gateways"]) == ("eth1", {"4": "198.51.100.1"})
    chosen = lab.see(network={"interface": "eth0"})
    assert (chosen["interface"], chosen["gateways"], chosen["trouble"]) == ("eth0", {"4": "192.0.2.1"}, None)


@pytest.mark.lab
def test_lab_multipath(lab: Lab) -> None:
    lab.plug()
    lab.ip("addr add 192.0.2.10/24 dev eth0")
    lab.ip("route add default nexthop via 192.0.2.1 weight 1 nexthop via 192.0.2.2 weight 9")
    assert lab.see()["gateways"] == {"4": "192.0.2.2"}


@pytest.mark.lab
def test_lab_ipv6_only(lab: Lab) -> None:
    lab.plug()
    lab.ip("addr add fd00:1::10/64 dev eth0 nodad", "route add default via fe80::1 dev eth0")
    seen = lab.see()
    assert (seen["families"], seen["gateways"], seen["trouble"]) == ([6], {"6": "fe80::1"}, None)
    assert seen["addresses"] == [{"address": "fd00:1::10", "prefix": 64}]


@pytest.mark.lab
def test_lab_tunnel_that_splits_the_default_route(lab: Lab) -> None:
    lab.plug()
    lab.ip("addr add 192.0.2.10/24 dev eth0", "route add default via 192.0.2.1", "tuntap add tun0 mode tun")
    assert lab.see()["vpn"] is None
    lab.ip(
        "addr add 10.8.0.2/24 dev tun0",
        "link set tun0 up",
        "route add 0.0.0.0/1 dev tun0",
        "route add 128.0.0.0/1 dev tun0",
    )
    seen = lab.see()
    assert (seen["vpn"], seen["interface"]) == ("tun0", "eth0")


@pytest.mark.lab
@pytest.mark.parametrize("room", ["192.0.2.77", "fd00:1::77"])
def test_lab_room_system_is_found_as_a_neighbour(lab: Lab, room: str) -> None:
    lab.plug()
    lab.ip("addr add 192.0.2.10/24 dev eth0", "addr add fd00:1::10/64 dev eth0 nodad")
    assert lab.see(located=True, site={"room_system": room})["vantage"]["state"] == "other"
    lab.ip("neigh flush all")
    lab.there(f"addr add {room}/{64 if ':' in room else 24} dev peer{' nodad' if ':' in room else ''}")
    assert lab.see(located=True, site={"room_system": room})["vantage"]["state"] == "same"


@pytest.mark.lab
def test_lab_dead_gateway_shows_after_traffic(lab: Lab) -> None:
    lab.plug()
    lab.ip("addr add 192.0.2.10/24 dev eth0", "route add default via 192.0.2.1")
    seen = lab.see(located=True, site={"room_system": "192.0.2.1"})
    assert seen["neighbours"]["192.0.2.1"] in ("failed", "incomplete")
