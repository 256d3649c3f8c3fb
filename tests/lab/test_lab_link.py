"""The lab is true about the link between a controller and a codec: shapes and faults (who answers: test_lab_codec.py).

Seen with plain tools (ip, ping) and linktest.py: what roomprobe makes of it is for the other tests here.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import faults
from .faults_link import CODEC_PORTS, STRAY_PREFIX, STRAY_SOURCE_PREFIX
from .network import Lab
from .procs import LabError, Spec

SCRIPT = str(Path(__file__).with_name("linktest.py"))
WAIT_S = "0.6"
HEADERS = 40 + 20 + 12  # bytes: IPv6, TCP, its timestamps
UNANSWERED = {"silent", "EHOSTUNREACH"}
EVERY_PORT = pytest.mark.parametrize("port", CODEC_PORTS)


def serve(lab: Lab, ns: str = "codec") -> None:
    """The codec's end of linktest.py on the five ports."""
    ready = tuple(("tcp", port, 1) for port in CODEC_PORTS)
    lab.start(Spec(ns, ns, (sys.executable, SCRIPT, "serve", *map(str, CODEC_PORTS)), ready))


@pytest.fixture(scope="module")
def bridge_built() -> Iterator[Lab]:
    with Lab(controller=True) as lab:
        serve(lab)
        yield lab


@pytest.fixture(scope="module")
def routed_built() -> Iterator[Lab]:
    with Lab(codec="routed", controller=True) as lab:
        serve(lab)
        yield lab


def mended(lab: Lab) -> Iterator[Lab]:
    """The lab, and after the test as it was."""
    yield lab
    lab.mend()
    if not lab.running["codec"].alive():
        serve(lab)


@pytest.fixture
def bridge(bridge_built: Lab) -> Iterator[Lab]:
    """A codec that answers, on the bridge with the room."""
    yield from mended(bridge_built)


@pytest.fixture
def routed(routed_built: Lab) -> Iterator[Lab]:
    """A codec that answers, behind the room's gateway."""
    yield from mended(routed_built)


@pytest.fixture(params=("bridge", "routed"))
def link(request: pytest.FixtureRequest) -> Lab:
    """Both of them, one after the other."""
    lab: Lab = request.getfixturevalue(request.param)
    return lab


def ask(lab: Lab, *cases: object, to: str | None = None, ns: str = "room", wait: str = WAIT_S) -> list[str]:
    """linktest.py's words for the cases (all five ports without), asked of the codec's ULA unless told otherwise."""
    argv = (sys.executable, SCRIPT, "ask", wait, to or lab.codec_addresses()[-1])
    return lab.exec(ns, *argv, *map(str, cases or CODEC_PORTS)).split()


def ping(lab: Lab, to: str, *options: str, ns: str = "room") -> str:
    """What ping says; nothing when nobody answered."""
    try:
        return lab.exec(ns, "ping", "-6", "-c1", "-W1", *options, to)
    except LabError:
        return ""


def hops(lab: Lab, to: str) -> int:
    """How many routers the answer to a ping has crossed."""
    return 64 - int(re.findall(r"ttl=(\d+)", ping(lab, to))[0])


def shown(lab: Lab) -> str:
    """The room's IPv6 addresses and routes; lifetimes and the order do not matter."""
    return "\n".join(
        sorted((lab.exec("room", *"ip -6 -o addr".split()) + lab.exec("room", *"ip -6 route".split())).splitlines())
    )


@contextmanager
def held(lab: Lab, port: int = 5000, address: str | None = None) -> Iterator[Callable[[str], str]]:
    """A connection from the room; call it with `look` or `exchange`."""
    argv = (sys.executable, SCRIPT, "hold", address or lab.codec_addresses()[-1], str(port))
    with subprocess.Popen(
        ["ip", "netns", "exec", lab.name("room"), *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        heard, said = child.stdout, child.stdin

        def tell(what: str) -> str:
            print(what, file=said, flush=True)
            return heard.readline().strip()

        assert heard.readline() == "open\n"
        yield tell


# Shapes


def test_a_codec_on_the_bridge_is_reached_over_both_addresses(bridge: Lab) -> None:
    near, ula = bridge.codec_addresses()
    assert near == f"{bridge.link_local('codec')}%eth0" and ula == "fd00:50::20"
    assert bridge.link_local("codec") in bridge.exec("codec", *"ip -6 addr show dev eth0 scope link".split())
    for address in (near, ula):
        assert hops(bridge, address) == 0
        assert ask(bridge, to=address) == ["open"] * 5
        assert ask(bridge, "69/16/1", "443/65536/65536", to=address) == ["done", "done"]


@pytest.mark.parametrize("inner_hop", (False, True))
def test_a_routed_codec_is_behind_one_router_or_two(make_lab: Callable[..., Lab], inner_hop: bool) -> None:
    lab = make_lab(bare=True, codec="routed", inner_hop=inner_hop)
    serve(lab)
    assert lab.codec_addresses() == ["fd00:60::20"] == [lab.address("codec", 6)]
    assert hops(lab, "fd00:60::20") == (2 if inner_hop else 1)
    assert ask(lab) == ["open"] * 5
    assert "192.168.60.20" in lab.exec("room", "ping", "-c1", lab.address("codec"))
    assert hops(lab, "2001:db8:113::10") == len(lab.routers)  # what was there is still there
    assert ping(lab, "2001:db8:113::10", ns="codec")


def test_more_hosts_and_a_second_interface(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(bare=True, second_codec=True, controller=True, second_interface=True)
    serve(lab)
    serve(lab, "codec2")
    assert lab.codec_addresses("codec2")[1] == "fd00:50::21"
    for address in (*lab.codec_addresses(), *lab.codec_addresses("codec2")):
        assert ask(lab, to=address) == ask(lab, to=address, ns="controller") == ["open"] * 5
    everybody = {lab.link_local(ns) for ns in ("room", "codec", "codec2", "controller")} | {
        lab.link_local("fw", "lan0")
    }
    assert answering(lab, "eth0") == everybody
    assert answering(lab, "eth1") <= {lab.link_local("room", "eth1"), lab.link_local("lan", "br1")}
    own = lab.link_local("codec")
    assert set(ask(lab, to=f"{own}%eth1")) <= UNANSWERED
    assert set(ask(lab, to=own)) == {"EINVAL"}


def answering(lab: Lab, interface: str) -> set[str]:
    """Who answers an echo request to all nodes."""
    said = lab.exec("room", "ping", "-6", "-c2", "-i0.2", "-W1", f"ff02::1%{interface}")
    return {address.split("%")[0] for address in re.findall(r"from (\S+?):? icmp_seq", said)}


def test_a_room_without_ipv6(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(bare=True, families=(4,), no_ipv6=("room",))
    assert lab.exec("room", "ip", "-6", "addr") == ""
    assert lab.exec("room", "ping", "-c1", lab.address("codec"))
    assert set(ask(lab, to="fd00:50::20")) <= {"ENETUNREACH", "EADDRNOTAVAIL"}
    usual = make_lab(bare=True, families=(4,))
    assert usual.codec_addresses() == [f"{usual.link_local('codec')}%eth0"]
    assert hops(usual, usual.codec_addresses()[0]) == 0


@pytest.mark.parametrize("families", ((4,), (4, 6)))
def test_a_codec_without_ipv6(make_lab: Callable[..., Lab], families: tuple[int, ...]) -> None:
    lab = make_lab(bare=True, families=families, no_ipv6=("codec",))
    assert lab.codec_addresses() == [] and lab.exec("codec", "ip", "-6", "addr") == ""
    assert lab.exec("room", "ping", "-c1", lab.address("codec"))
    assert ping(lab, f"{lab.link_local('fw', 'lan0')}%eth0") and not ping(lab, f"{lab.link_local('codec')}%eth0")


# The switch


@EVERY_PORT
def test_the_switch_drops_one_port(link: Lab, port: int) -> None:
    for address in link.codec_addresses():
        with faults.bridge_port_drop(link, (port,)):
            assert ask(link, to=address) == ["silent" if one == port else "open" for one in CODEC_PORTS]
            assert ping(link, address)
        assert ask(link, port, to=address) == ["open"]


def test_the_switch_drops_all_five(bridge: Lab) -> None:
    with faults.bridge_port_drop(bridge, CODEC_PORTS):
        assert ask(bridge) == ["silent"] * 5
        assert "lladdr" in bridge.exec("room", *"ip -6 neigh show to fd00:50::20".split())


@pytest.mark.parametrize("kinds", ((135, 136), (135,), (136,)))
def test_neighbour_discovery_is_filtered(bridge: Lab, kinds: tuple[int, ...]) -> None:
    near, ula = bridge.codec_addresses()
    with faults.nd_filtered(bridge, kinds):
        assert set(ask(bridge, to=near) + ask(bridge, to=ula)) <= UNANSWERED
        known = bridge.exec("room", *f"ip -6 neigh show to {ula}".split())
        assert re.search("INCOMPLETE|FAILED", known) and "lladdr" not in known
        assert not ping(bridge, "fd00:50::1")
        assert bridge.exec("room", "ping", "-c1", "-W1", bridge.address("codec"))
    assert ask(bridge, to=near) + ask(bridge, to=ula) == ["open"] * 10


@pytest.mark.parametrize("kinds", ((135, 136), (135,), (136,)))
def test_neighbour_discovery_of_the_codec_alone_is_filtered(bridge: Lab, kinds: tuple[int, ...]) -> None:
    with faults.nd_filtered(bridge, kinds, only="codec"):
        assert set(ask(bridge)) <= UNANSWERED
        assert ping(bridge, "fd00:50::1") and ping(bridge, bridge.address("controller", 6))
    with faults.nd_filtered(bridge, (136,), only="controller"):
        assert ask(bridge) == ["open"] * 5
        assert not ping(bridge, bridge.address("controller", 6))
    assert ask(bridge) == ["open"] * 5


def test_nobody_is_filtered_who_is_not_on_the_bridge(routed: Lab) -> None:
    with pytest.raises(LabError, match="codec has no port of the bridge: room, controller"):
        faults.nd_filtered(routed, only="codec")


def test_the_switch_isolates_its_clients(bridge: Lab) -> None:
    with faults.client_isolation(bridge):
        for address in bridge.codec_addresses():
            assert set(ask(bridge, to=address)) <= UNANSWERED
        assert not ping(bridge, bridge.address("controller", 6))
        assert ping(bridge, "fd00:50::1") and ping(bridge, "fd00:50::1", ns="codec")
    assert ask(bridge) == ["open"] * 5


def test_isolation_does_not_touch_a_routed_codec(routed: Lab) -> None:
    with faults.client_isolation(routed):
        assert ask(routed) == ["open"] * 5
        assert not ping(routed, routed.address("controller", 6))


@pytest.mark.parametrize("where", ("bridge", "fw"))
@pytest.mark.parametrize("size", (1280, 1400, 1499))
def test_long_packets_vanish_and_short_ones_pass(routed: Lab, size: int, where: str) -> None:
    hole(routed, size, where, routed.codec_addresses()[0])


@pytest.mark.parametrize("size", (1280, 1400, 1499))
def test_long_packets_vanish_on_the_bridge(bridge: Lab, size: int) -> None:
    for address in bridge.codec_addresses():
        hole(bridge, size, None, address)


def hole(lab: Lab, size: int, where: str | None, address: str) -> None:
    """A segment of just that size passes, one byte more does not, each way on its own; nothing says why."""
    fits, over = size - HEADERS, size - HEADERS + 1
    ways = {f"443/{fits}/{fits}": "both", f"443/{over}/1": "out", f"443/16/{over}": "in", "443/20000/1": "out"}
    for direction in ("both", "out", "in"):
        with faults.mtu_hole(lab, size, where=where, direction=direction):
            seen = dict(zip(ways, ask(lab, *ways, to=address), strict=True))
            stuck = {case for case, word in seen.items() if word == "open"}
            assert stuck == {case for case, way in ways.items() if way != "both" and direction in ("both", way)}, seen
            assert ping(lab, address, "-s1452")
            assert ask(lab, f"443/65536/65536/{size - 60}", to=address) == ["done"]  # many segments that fit
        assert "mtu" not in lab.exec("room", *f"ip -6 route get {address.split('%')[0]} oif eth0".split())
    assert set(ask(lab, *ways, "443/65536/65536", to=address)) == {"done"}
    assert "tcp-segmentation-offload: on" in lab.exec("room", "ethtool", "-k", "eth0")


@pytest.mark.parametrize("size", (1279, 1500))
def test_only_a_hole_in_between_makes_sense(bridge: Lab, size: int) -> None:
    with pytest.raises(LabError, match="allowed is 1280 to 1499"):
        faults.mtu_hole(bridge, size)
    assert bridge.faults == []


# IPv6 itself


def test_a_stray_router_is_preferred(routed: Lab) -> None:
    before = shown(routed)
    with faults.stray_ra(routed):
        stray = routed.link_local("stray")
        way = routed.exec("room", *"ip -6 route get fd00:60::20".split())
        assert f"via {stray} " in way and "src fd00:50::10" in way
        assert STRAY_PREFIX.removesuffix("::/64") in shown(routed)
        assert ask(routed) == ["silent"] * 5
        assert ping(routed, "fd00:50::1")
    assert shown(routed) == before
    assert ask(routed) == ["open"] * 5


def test_a_stray_prefix_becomes_the_source(routed: Lab) -> None:
    before = shown(routed)
    with faults.stray_ra(routed, how="source"):
        way = routed.exec("room", *"ip -6 route get fd00:60::20".split())
        assert "via fd00:50::1 " in way and f"src {STRAY_SOURCE_PREFIX.removesuffix('::/64')}:" in way
        assert ask(routed) == ["silent"] * 5
        assert f"via {routed.link_local('stray')} " in shown(routed)  # the router has a name, though not the way
        assert ping(routed, "fd00:60::20", "-I", "fd00:50::10")
    assert shown(routed) == before
    assert ask(routed) == ["open"] * 5


@pytest.mark.parametrize("how", ("router", "source"))
def test_a_stray_router_does_not_touch_neighbours(bridge: Lab, how: str) -> None:
    before = shown(bridge)
    with faults.stray_ra(bridge, how=how):
        for address in bridge.codec_addresses():
            assert ask(bridge, to=address) == ["open"] * 5
    with faults.stray_ra(bridge, how=how):  # a second time, at once
        pass
    assert shown(bridge) == before


# Firewalls in between


@EVERY_PORT
def test_the_router_refuses_or_drops_one_port(routed: Lab, port: int) -> None:
    for fault, word in (
        (faults.tcp_drop, "silent"),
        (faults.tcp_reset, "refused"),
        (faults.tcp_prohibited, "EACCES"),
        (faults.codec_prohibited, "EACCES"),
    ):
        with fault(routed, "fw", (port,)):
            assert ask(routed) == [word if one == port else "open" for one in CODEC_PORTS]
    assert ask(routed) == ["open"] * 5


def test_the_router_refuses_all_five(routed: Lab) -> None:
    with faults.codec_prohibited(routed):
        assert ask(routed) == ["EACCES"] * 5
        assert ping(routed, "fd00:60::20")


@pytest.mark.parametrize("router", ("hub", "fw"))
def test_either_of_two_routers_refuses(make_lab: Callable[..., Lab], router: str) -> None:
    lab = make_lab(bare=True, codec="routed", inner_hop=True)
    serve(lab)
    with faults.tcp_drop(lab, router, (69,)), faults.codec_prohibited(lab, router, (5000, 5152)):
        assert ask(lab) == ["silent", "open", "EACCES", "EACCES", "open"]
    with faults.stray_ra(lab):
        assert ask(lab) == ["silent"] * 5
    assert ask(lab) == ["open"] * 5


def test_an_idle_connection_is_forgotten(link: Lab) -> None:
    for address in link.codec_addresses():
        with faults.idle_timeout(link, 1), held(link, address=address) as busy, held(link, address=address) as idle:
            for _ in range(9):
                assert busy("exchange") == "done"
                time.sleep(0.3)
            assert busy("exchange") == "done"
            assert idle("look") == "alive"  # nothing tells either end
            assert idle("exchange") == "open"
            assert ask(link, to=address) == ["open"] * 5
        with held(link, address=address) as idle:
            time.sleep(2.5)
            assert idle("exchange") == "done"


# The codec


@pytest.mark.parametrize("how", ("down", "silent"))
def test_the_codec_is_off(link: Lab, how: str) -> None:
    addresses = link.codec_addresses()
    with faults.codec_off(link, how=how):
        assert link.codec_addresses() == addresses
        for address in addresses:
            assert set(ask(link, to=address)) <= UNANSWERED
        assert ping(link, "fd00:50::1") and ping(link, link.address("controller", 6))
        carrier = link.exec("lan" if link.topology.codec == "bridge" else "fw", "ip", "-br", "link")
        assert ("DOWN" in carrier) == (how == "down")
    for address in addresses:
        assert ask(link, to=address) == ["open"] * 5


def test_two_hosts_have_the_codecs_address(bridge: Lab) -> None:
    address = f"{bridge.link_local('codec')}/64"
    with faults.address_twice(bridge, "controller"):
        for ns in ("codec", "controller"):
            assert address in bridge.exec(ns, *"ip -6 addr show dev eth0".split())
    assert address not in bridge.exec("controller", *"ip -6 addr show dev eth0".split())


def test_the_codec_starts_again(link: Lab) -> None:
    pid = link.running["codec"].pid
    with held(link) as connection:
        faults.codec_rebooted(link)
        assert connection("look") in ("eof", "reset")
    assert link.running["codec"].pid != pid
    assert ask(link) == ["open"] * 5 and link.faults == []


def test_the_codec_starts_again_without_a_word(link: Lab) -> None:
    addresses = link.codec_addresses()
    with held(link) as connection:
        faults.codec_rebooted(link, away=0.5)
        assert ask(link) == ["open"] * 5
        assert connection("look") == "alive"
        assert connection("exchange") == "reset"
    assert link.codec_addresses() == addresses and link.faults == []


def test_nothing_that_does_not_run_is_rebooted(bridge: Lab) -> None:
    with pytest.raises(LabError, match="nothing called 'nginx' runs in this lab: codec"):
        faults.codec_rebooted(bridge, "nginx")
