"""The plan: every row × host, resolver, way and address, and every check that cannot run with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe import plan, profile
from roomprobe.config import Config, ConfigError
from roomprobe.model import Address, Check, Host, Plan
from roomprobe.outcome import Need, Reason
from roomprobe.sections import NetworkSection, ProfilesSection, SiteSection

STARLEAF = profile.load(("starleaf",), [])
HOST = Host(
    addresses=(Address(address="192.0.2.9", prefix=24), Address(address="fe80::9", prefix=64)),
    families=(4,),
    resolvers=("192.0.2.53", "2001:db8::53"),
)
ACME = Config(site=SiteSection(org="acme"))


def make(config: Config = ACME, host: Host = HOST, **more: tuple[str, ...]) -> Plan:
    return plan.make(STARLEAF, config, host, **more)


def by_id(made: Plan) -> dict[str, Check]:
    found = {check.id: check for check in made.checks}
    assert len(found) == len(made.checks), "an id stands twice"
    return found


def test_every_row_is_planned_in_order_with_ids_that_stay() -> None:
    assert [check.id for check in make().checks] == [
        "starleaf/F0/config.starleaf.com/192.0.2.53/udp/53",
        "starleaf/F0/config.starleaf.com/192.0.2.53/tcp/53",
        "starleaf/F0/config.starleaf.com/2001:db8::53/udp/53",
        "starleaf/F0/config.starleaf.com/2001:db8::53/tcp/53",
        "starleaf/F0/acme.call.sl/192.0.2.53/udp/53",
        "starleaf/F0/acme.call.sl/192.0.2.53/tcp/53",
        "starleaf/F0/acme.call.sl/2001:db8::53/udp/53",
        "starleaf/F0/acme.call.sl/2001:db8::53/tcp/53",
        "starleaf/F1/config.starleaf.com/*/tcp/443",
        "starleaf/F2/acme.call.sl/*/tcp/443",
        "starleaf/F3/acme.call.sl/*/udp/24704",
        "starleaf/F4/acme.call.sl/*/udp/3478",
        "starleaf/F5/acme.call.sl/*/udp/1194",
        "starleaf/F6/acme.call.sl/*/udp/500",
        "starleaf/F7/acme.call.sl/*/udp/123",
        "starleaf/F8/api.starleaf.com/*/tcp/443",
        "starleaf/F9/acme.call.sl/*/udp",
        "starleaf/F10/acme.call.sl/*/udp",
        "starleaf/P1",
        "starleaf/P2",
        "starleaf/P3",
    ]


def test_a_check_carries_its_row() -> None:
    check = by_id(make())["starleaf/F4/acme.call.sl/*/udp/3478"]
    row = next(r for r in STARLEAF[0].row if r.id == "F4")
    assert (check.purpose, check.services, check.need, check.group) == (row.purpose, row.services, row.need, row.group)
    assert (check.kind, check.host, check.address, check.port, check.via) == (
        "udp",
        "acme.call.sl",
        None,
        3478,
        "direct",
    )
    assert check.document == STARLEAF[0].documents["firewall"]
    assert (check.min_interval_s, check.params, check.skip, check.overridden) == (
        300,
        {"native": ["stun"]},
        None,
        False,
    )


def test_look_ups_go_to_each_resolver_that_this_box_can_ask() -> None:
    checks = by_id(make())
    here = checks["starleaf/F0/acme.call.sl/192.0.2.53/tcp/53"]
    assert (here.kind, here.transport, here.address, here.port, here.skip) == ("dns", "tcp", "192.0.2.53", 53, None)
    skip = checks["starleaf/F0/acme.call.sl/2001:db8::53/tcp/53"].skip
    assert skip and (skip.reason, skip.sentence) == (Reason.NO_FAMILY, "This box has no IPv6 address and route.")


def test_without_resolvers_look_ups_are_skipped_with_the_reason() -> None:
    skips = [c.skip for c in make(host=Host(families=(4,))).checks if c.kind == "dns"]
    assert len(skips) == 4 and all(
        s and s.reason is Reason.NOT_CONFIGURED and "no resolver" in s.sentence for s in skips
    )


def test_rows_of_later_releases_say_why() -> None:
    skips = {c.row: c.skip for c in make().checks if c.skip and c.kind != "dns"}
    assert {row: skip.reason for row, skip in skips.items()} == {
        **dict.fromkeys(("F8", "F9", "F10", "P1", "P3"), Reason.NOT_IN_RELEASE),
        "P2": Reason.ATTESTATION,
    }
    assert 'tick it in the config: [site] attest = ["P2"]' in skips["P2"].sentence
    ticked = make(Config(site=SiteSection(org="acme", attest=("P2",))))
    skip = next(c.skip for c in ticked.checks if c.row == "P2")
    assert skip and skip.reason is Reason.ATTESTATION and skip.sentence.startswith("The site says so")


def test_targets_take_the_place_of_dns() -> None:
    config = Config(site=SiteSection(org="acme"), targets={"acme.call.sl": ("192.0.2.1", "2001:db8::1")})
    checks = by_id(make(config))
    look_up = checks["starleaf/F0/acme.call.sl/*/udp/53"]
    assert look_up.skip and look_up.skip.reason is Reason.NOT_CONFIGURED and "[targets]" in look_up.skip.sentence
    assert checks["starleaf/F0/config.starleaf.com/192.0.2.53/udp/53"].skip is None
    given_one = checks["starleaf/F2/acme.call.sl/192.0.2.1/tcp/443"]
    assert (given_one.address, given_one.overridden, given_one.skip) == ("192.0.2.1", True, None)
    other = checks["starleaf/F2/acme.call.sl/2001:db8::1/tcp/443"]
    assert other.skip and other.skip.reason is Reason.NO_FAMILY
    assert not checks["starleaf/F1/config.starleaf.com/*/tcp/443"].overridden


def test_with_a_proxy_every_tcp_row_goes_both_ways() -> None:
    config = Config(
        site=SiteSection(org="acme"),
        network=NetworkSection(proxy="http://proxy:3128"),
        targets={"config.starleaf.com": ("192.0.2.1",)},
    )
    found = {(c.row, c.address, c.overridden) for c in make(config).checks if c.via == "proxy"}
    assert found == {("F1", None, False), ("F2", None, False)}
    assert by_id(make(config))["starleaf/F2/acme.call.sl/proxy/tcp/443"].host == "acme.call.sl"


def test_resolve_gives_one_check_for_each_address() -> None:
    check = by_id(make())["starleaf/F3/acme.call.sl/*/udp/24704"]
    made = plan.resolve(check, ["203.0.113.2", "203.0.113.1", "2001:DB8:0:0::1", "203.0.113.2"], HOST)
    assert [c.id for c in made] == [
        "starleaf/F3/acme.call.sl/203.0.113.2/udp/24704",
        "starleaf/F3/acme.call.sl/203.0.113.1/udp/24704",
        "starleaf/F3/acme.call.sl/2001:db8::1/udp/24704",
    ]
    assert [c.skip and c.skip.reason for c in made] == [None, None, Reason.NO_FAMILY]
    assert plan.resolve(check, [], HOST) == (check,)
    assert plan.resolve(made[0], ["203.0.113.9"], HOST) == (made[0],)


@pytest.mark.parametrize(
    ("address", "families", "asked"),
    [
        ("127.0.0.1", (), True),
        ("::1", (), True),
        ("fe80::1%eth0", (), True),
        ("192.0.2.200", (), True),
        ("198.51.100.1", (), False),
        ("198.51.100.1", (4,), True),
        ("198.51.100.1", (6,), False),
        ("2001:db8::1", (6,), True),
        ("2001:db8::1", (4,), False),
    ],
)
def test_a_family_is_asked_when_this_box_can_reach_it(address: str, families: tuple[int, ...], asked: bool) -> None:
    host = Host(addresses=HOST.addresses, families=families, resolvers=())  # type: ignore[arg-type]
    check = by_id(make(host=host))["starleaf/F3/acme.call.sl/*/udp/24704"]
    assert (plan.resolve(check, [address], host)[0].skip is None) is asked


def test_without_organisation_one_sentence() -> None:
    with pytest.raises(
        ConfigError, match=r"needs the organisation for \{org\}\.call\.sl: give --org ORG, or set org in"
    ):
        make(Config())
    assert [c.row for c in make(Config(), only=("F1",)).checks] == ["F0", "F0", "F0", "F0", "F1"]


def test_only_keeps_the_look_ups_that_its_rows_need() -> None:
    checks = make(only=("F3", "P2")).checks
    assert {(c.row, c.host) for c in checks} == {("F0", "acme.call.sl"), ("F3", "acme.call.sl"), ("P2", None)}
    assert {c.host for c in make(only=("F0",)).checks} == {"acme.call.sl", "config.starleaf.com"}
    with pytest.raises(ConfigError, match=r'no row "F11" \(did you mean F1\?\); allowed: F0, F1, F2, .*, P3\.'):
        make(only=("F3", "F11"))


def test_a_payload_that_needs_opting_in_is_planned_only_then() -> None:
    def shapes(made: Plan) -> dict[str, object]:
        return {c.row: c.params["native_opt_in"] for c in made.checks if "native_opt_in" in c.params}

    assert shapes(make()) == {"F5": [], "F6": []}
    assert shapes(make(opt_in=("ike",))) == {"F5": [], "F6": ["ike"]}
    opted = Config(site=SiteSection(org="acme"), profiles=ProfilesSection(opt_in=("openvpn",)))
    assert shapes(make(opted)) == {"F5": ["openvpn"], "F6": []}


def test_a_day_adds_up() -> None:
    days = {d.target: d for d in plan.daily(make())}
    assert days.keys() == {"resolver 192.0.2.53", "config.starleaf.com, each address", "acme.call.sl, each address"}
    sign_in = days["config.starleaf.com, each address"]
    assert (sign_in.rows, sign_in.runs, sign_in.packets, sign_in.log_lines) == (("F1",), 96, 96 * 24, 96 * 2)
    assert sign_in.ladder_packets == 96 * 100
    names = days["resolver 192.0.2.53"]
    assert (names.runs, names.packets, names.log_lines) == (288, 2 * 288 * (12 + 24), 2 * 2 * 288 * 4)
    calls = days["acme.call.sl, each address"]
    assert calls.packets == 96 * 24 + 288 * 3 * (1 + 2 + 1 + 1 + 2)
    assert calls.ladder_packets == 100 * (96 + 5 * 288)


@given(st.integers(0, 31 * 86400), st.integers(1, 86400))
def test_runs_a_day_never_exceed_interval_or_schedule(interval: int, schedule: int) -> None:
    runs = plan.runs_a_day(interval, schedule)
    assert runs * max(interval, schedule) <= plan.DAY_S


def test_every_kind_that_can_be_asked_has_its_cost() -> None:
    for check in make().checks:
        if check.skip is None:
            assert plan.daily(Plan(profiles=STARLEAF, checks=(check,)))[0].packets > 0
    assert {c.need for c in make().checks if c.row in ("F1", "F2")} == {Need.REQUIRED}


def test_costs_are_those_of_the_probes() -> None:
    from roomprobe.net import resolver
    from roomprobe.probes import udp

    assert len(udp.SEND_AT_S) == plan.UDP_SENDS
    assert plan.PACKETS["dns", "udp"] == 4 * len(resolver.SEND_AT_S)


LINK = profile.load(("teamline-5141",), [])
BOX = Host(interfaces={"lo": 1, "eth0": 2, "eth1": 3})


def codec(address: str | None) -> Config:
    return Config(site=SiteSection(codec=address))


def test_the_controller_link_is_planned_without_org_and_without_any_address_of_this_box() -> None:
    made = plan.make(LINK, codec("fe80::1%eth0"), BOX)
    assert [check.id for check in made.checks] == [
        f"teamline-5141/I{n}/fe80::1%eth0/tcp/{port}" for n, port in enumerate((69, 443, 5000, 5152, 23456), 1)
    ]
    assert all(check.skip is None and check.host is None for check in made.checks)


@pytest.mark.parametrize("address", [None, "teamline.local", "teamline"])
def test_a_codec_that_has_to_be_found_is_planned_without_address(address: str | None) -> None:
    made = plan.make(LINK, codec(address), BOX)
    assert {check.address for check in made.checks} == {None}
    assert made.checks[0].id == "teamline-5141/I1/*/tcp/69"


def test_a_scope_id_becomes_the_interfaces_name() -> None:
    assert plan.make(LINK, codec("fe80::1%3"), BOX).checks[0].address == "fe80::1%eth1"
    with pytest.raises(ConfigError, match=r'site.codec: this box has no interface "4"; it has eth0, eth1, lo.'):
        plan.make(LINK, codec("fe80::1%4"), BOX)


def test_a_routed_codec_is_planned_on_a_box_without_ipv6() -> None:
    made = plan.make(LINK, codec("fd00::1"), HOST)
    assert all(check.skip is None for check in made.checks)


def test_offset_and_hold_are_for_the_controller_link_alone() -> None:
    both = (*STARLEAF, *LINK)
    made = plan.make(both, Config(site=SiteSection(org="acme", codec="fd00::1")), HOST, port_offset=1000, hold=60.0)
    link = [check for check in made.checks if check.kind == "controller"]
    assert [check.port for check in link] == [1069, 1443, 6000, 6152, 24456]
    assert {check.params["hold_s"] for check in link} == {60.0}
    rest = [check for check in made.checks if check.kind != "controller"]
    assert rest == list(plan.make(STARLEAF, ACME, HOST).checks)
