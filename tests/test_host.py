"""What the box knows of itself: the choices on hand-made tables, and the small parsers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from roomprobe import host as hosts
from roomprobe.config import Config, ConfigError
from roomprobe.model import Address, Host
from roomprobe.net.netlink import Link, LocalAddress, Neighbour, Route, Tables
from roomprobe.outcome import Reason
from roomprobe.sections import NetworkSection, SiteSection

ETH = Link(index=2, name="eth0", up=True, loopback=False, carrier=True)
LO = Link(index=1, name="lo", up=True, loopback=True, carrier=True)
WLAN = Link(index=3, name="wlan0", up=True, loopback=False, carrier=True)
TEN = LocalAddress(index=2, address="10.20.4.17", prefix=24)
ULA = LocalAddress(index=2, address="fd00:20:4::17", prefix=64)
LOCAL = LocalAddress(index=2, address="fe80::17", prefix=64)
WAY4 = Route(family=4, index=2, gateway="10.20.4.1", metric=100)
WAY6 = Route(family=6, index=2, gateway="fe80::1")


def assembled(interface: str | None = None, **tables: Any) -> Host:
    full: dict[str, Any] = {"links": (LO, ETH), "addresses": (TEN, ULA, LOCAL), "routes": (WAY4, WAY6), **tables}
    return hosts.assemble(Config(network=NetworkSection(interface=interface)), Tables(**full))


def trouble(**tables: Any) -> tuple[Reason | None, str]:
    found = assembled(**tables).trouble
    return (found.reason, found.sentence) if found else (None, "")


def test_healthy_box() -> None:
    host = assembled(neighbours=(Neighbour(index=2, address="10.20.4.1", state="reachable"),))
    assert (host.interface, host.carrier, host.families, host.trouble) == ("eth0", True, (4, 6), None)
    assert host.addresses == (Address(address="10.20.4.17", prefix=24), Address(address="fd00:20:4::17", prefix=64))
    assert host.gateways == {4: "10.20.4.1", 6: "fe80::1"}
    assert host.neighbours == {"10.20.4.1": "reachable"}


def test_a_family_leaves_only_with_an_address_and_a_way() -> None:
    assert assembled(routes=(WAY4,)).families == (4,)
    assert assembled(addresses=(TEN, LOCAL)).families == (4,)
    assert assembled(addresses=(ULA, LOCAL)).families == (6,)


def test_an_address_still_being_checked_does_not_count() -> None:
    host = assembled(addresses=(TEN, msgspec.structs.replace(ULA, usable=False)))
    assert (host.families, len(host.addresses)) == ((4,), 1)


def test_lowest_metric_then_weight_then_what_lives() -> None:
    other = Route(family=4, index=3, gateway="192.168.1.1", metric=50)
    links = (LO, ETH, WLAN)
    assert assembled(links=links, routes=(WAY4, other)).interface == "wlan0"
    dead = msgspec.structs.replace(other, alive=False)
    assert assembled(links=links, routes=(dead, WAY4)).interface == "eth0"
    heavy = msgspec.structs.replace(WAY4, gateway="10.20.4.2", weight=5)
    assert assembled(routes=(WAY4, heavy)).gateways == {4: "10.20.4.2"}


def test_configured_interface_wins_and_its_routes_alone_count() -> None:
    host = assembled("wlan0", links=(LO, ETH, WLAN))
    assert (host.interface, host.gateways, host.addresses) == ("wlan0", {}, ())
    assert host.trouble is not None
    assert host.trouble.reason is Reason.NO_LOCAL_ADDRESS


def test_configured_interface_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"^network\.interface: this box has no 'eth9'; it has eth0, lo\.$"):
        assembled("eth9")


def test_unplugged_jack_is_not_hidden_by_a_bridge() -> None:
    jack = msgspec.structs.replace(ETH, carrier=False)
    bridge = Link(index=5, name="docker0", up=True, loopback=False, carrier=True, kind="bridge")
    assert assembled(links=(LO, bridge, jack), routes=()).interface == "eth0"


def test_trouble_names_the_nearest_cause() -> None:
    assert trouble(links=(LO,), routes=())[0] is Reason.INTERFACE_DOWN
    reason, sentence = trouble(links=(LO, msgspec.structs.replace(ETH, carrier=False)))
    assert (reason, "the cable and the jack" in sentence) == (Reason.NO_CARRIER, True)
    reason, sentence = trouble(links=(LO, msgspec.structs.replace(ETH, up=False, carrier=None)))
    assert (reason, "switched off" in sentence, "jack" in sentence) == (Reason.INTERFACE_DOWN, True, False)
    reason, sentence = trouble(addresses=(LOCAL,), routes=())
    assert (reason, "made up itself (fe80::17)" in sentence) == (Reason.NO_LOCAL_ADDRESS, True)
    assert trouble(addresses=(), routes=())[0] is Reason.NO_LOCAL_ADDRESS
    reason, sentence = trouble(routes=())
    assert (reason, "10.20.4.17" in sentence) == (Reason.NO_GATEWAY, True)


def test_self_made_address_is_shown_only_when_there_is_no_other() -> None:
    assert assembled(addresses=(LOCAL,)).addresses == (Address(address="fe80::17", prefix=64),)


@pytest.mark.parametrize(
    ("name", "kind", "vpn"),
    [("tun0", "tun", "tun0"), ("office", "wireguard", "office"), ("ppp0", None, "ppp0"), ("eth1", "veth", None)],
)
def test_vpn_by_kind_or_name_even_beside_the_default_route(name: str, kind: str | None, vpn: str | None) -> None:
    tunnel = Link(index=9, name=name, up=True, loopback=False, carrier=True, kind=kind)
    assert assembled(links=(LO, ETH, tunnel), way_out=9).vpn == vpn
    assert assembled(links=(LO, ETH, tunnel), way_out=2).vpn is None
    by_default = Route(family=4, index=9, gateway=None, metric=1)
    assert assembled(links=(LO, ETH, tunnel), routes=(WAY4, by_default)).vpn == vpn


def test_resolvers() -> None:
    text = (
        "# x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver nonsense\nsearch a b\nnameserver 192.0.2.53\n"
    )
    assert hosts.resolvers(text, "") == ("192.0.2.53", "fe80::1%eth0")
    assert hosts.resolvers("nameserver 127.0.0.53\n", text) == ("192.0.2.53", "fe80::1%eth0")
    assert hosts.resolvers("nameserver 127.0.0.53\n", "") == ("127.0.0.53",)
    assert hosts.resolvers("", "") == ()
    assert len(hosts.resolvers("".join(f"nameserver 192.0.2.{n}\n" for n in range(99)), "")) == hosts.MAX_RESOLVERS


@pytest.mark.parametrize(
    ("configured", "environment", "shown"),
    [
        ("http://proxy:8080", {"https_proxy": "http://other:1"}, "http://proxy:8080"),
        (None, {"https_proxy": "http://joe:secret@proxy:3128/x"}, "http://proxy:3128"),
        (None, {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        (None, {"https_proxy": "http://[2001:db8::1]:3128"}, "http://[2001:db8::1]:3128"),
        (None, {"https_proxy": "http://proxy:port"}, None),
        (None, {"https_proxy": ""}, None),
        (None, {}, None),
    ],
)
def test_proxy_is_shown_without_its_password(configured: str | None, environment: dict[str, str], shown: str) -> None:
    assert hosts.proxy(Config(network=NetworkSection(proxy=configured)), environment) == shown


def test_capabilities() -> None:
    assert hosts.capabilities("Name:\tx\nCapEff:\t0000000000003000\n") == ("net_admin", "net_raw")
    assert hosts.capabilities(f"CapEff:\t{1 << 60:016x}\n") == ("60",)
    assert hosts.capabilities("CapEff:\tnonsense\n") == hosts.capabilities("") == ()


def placed(room: str | None, **neighbours: str) -> tuple[str, str]:
    own = Host(
        interface="eth0",
        addresses=(Address(address="10.20.4.17", prefix=24), Address(address="fd00::17", prefix=64)),
        neighbours={"10.20.4.9": neighbours.get("state", "")},
    )
    found = hosts.vantage(Config(site=SiteSection(room_system=room)), own)
    assert found.room_system == room
    return found.state, found.sentence


@pytest.mark.parametrize("state", ["reachable", "stale", "delay", "probe", "permanent"])
def test_a_neighbour_in_our_network_is_the_same_place(state: str) -> None:
    assert placed("10.20.4.9", state=state)[0] == "same"


@pytest.mark.parametrize("state", ["", "failed", "incomplete"])
def test_an_unseen_neighbour_is_another_place(state: str) -> None:
    where, sentence = placed("10.20.4.9", state=state)
    assert where == "other"
    assert "from this box's port" in sentence
    assert "not found" in sentence


def test_another_network_is_another_place() -> None:
    where, sentence = placed("10.20.9.9")
    assert (where, "another network than this box (10.20.4.17/24, fd00::17/64)" in sentence) == ("other", True)


def test_no_room_system_and_our_own_address() -> None:
    assert placed(None) == ("unset", "")
    assert placed("10.20.4.17")[0] == "same"
    assert placed("no address")[0] == "other"


def test_this_machine_can_be_read() -> None:
    host = hosts.gather(Config())
    assert isinstance(hosts.refresh_neighbours(host), Host)
    assert host.clock_synced in (True, False, None)
