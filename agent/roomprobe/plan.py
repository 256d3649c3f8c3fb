"""Profile + site configuration + what this box knows of itself → every concrete check, those that cannot run included.

Pure: sends nothing, reads nothing. A check that will not run carries the reason (`skip`). `roomprobe plan` prints this.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from roomprobe.config import Config, ConfigError, unknown
from roomprobe.model import Check, Frozen, Host, Plan, Profile, Requirement, Skip, Transport
from roomprobe.outcome import Reason
from roomprobe.profile import host_of
from roomprobe.text import escape

DAY_S = 86_400
DEFAULT_SCHEDULE_S = 300
DNS_PORT = 53
BOTH: tuple[Transport, ...] = ("udp", "tcp")

# The most that one run of a check sends to its target, and the most lines it leaves in a log there, when nothing fails.
# dns: A and AAAA of the name and of a random sibling, over UDP with up to 3 sends each, over TCP in one connection;
# tls: connect, handshake, one request, close; tcp: connect and close; udp: 3 sends of each payload.
# controller: connect, at most a handshake and one request, keep-alive, close; finding the codec connects once before.
PACKETS = {("dns", "udp"): 12, ("dns", "tcp"): 24, ("tls", "tcp"): 24, ("tcp", "tcp"): 8, ("controller", "tcp"): 32}
LINES = {"dns": 4, "tls": 2, "tcp": 1, "controller": 2}
UDP_SENDS = 3
LADDER_PACKETS = 100


class Daily(Frozen, frozen=True):
    """What one target gets in a day at most. `ladder_packets` come on top when a check there fails at every run."""

    target: str
    rows: tuple[str, ...]
    runs: int
    packets: int
    ladder_packets: int
    log_lines: int


def make(
    profiles: Sequence[Profile],
    config: Config,
    host: Host,
    *,
    only: Sequence[str] = (),
    opt_in: Sequence[str] = (),
    port_offset: int = 0,
    hold: float | None = None,
) -> Plan:
    """The plan of one run, in the order of the profiles' rows. `port_offset` and `hold` (s) are for the controller link.

    `only` restricts it to these rows and the name look-ups that they need; `opt_in` adds to the configuration's.
    ConfigError for a row that no profile has, for a name that needs `[site] org` or `domain` and has none, and for a codec
    at an interface that this box does not have.
    """
    rows = [row.id for profile in profiles for row in profile.row]
    for word in only:
        if word not in rows:
            raise ConfigError(unknown("--only: the profiles in use have no row", word, rows))
    opted = frozenset((*config.profiles.opt_in, *opt_in))
    checks: list[Check] = []
    for profile in profiles:
        chosen = [row for row in profile.row if not only or row.id in only]
        asked = {row.host for row in chosen if row.kind != "dns"}
        for row in profile.row:
            if row in chosen or (row.kind == "dns" and row.host in asked):
                if row.kind == "controller":
                    checks.append(_controller(profile, row, config, host, port_offset, hold))
                else:
                    checks.extend(_checks(profile, row, config, host, opted))
    return Plan(profiles=tuple(profiles), checks=tuple(checks))


def resolve(check: Check, addresses: Sequence[str], host: Host) -> tuple[Check, ...]:
    """One check for each address, in the order given; one of a family that this box does not have is skipped.

    A check that has its address, or goes through the proxy, or is not run anyway comes back alone and unchanged, and so
    does any check when there are no addresses.
    """
    if check.address is not None or check.via == "proxy" or check.skip is not None or not addresses:
        return (check,)
    plain = dict.fromkeys(str(ipaddress.ip_address(address)) for address in addresses)
    own = check.kind == "controller"  # without IPv6 here that very fact is the finding
    return tuple(
        msgspec.structs.replace(
            check,
            id=check.id.replace("/*/", f"/{address}/"),
            address=address,
            skip=None if own else _no_family(address, host),
        )
        for address in plain
    )


def daily(plan: Plan, schedule_s: int = DEFAULT_SCHEDULE_S) -> tuple[Daily, ...]:
    """What each target (a resolver, the proxy, one address of a name) gets in a day at most, from the tables above."""
    found: dict[str, list[Check]] = {}
    for check in plan.checks:
        if check.skip is None:
            found.setdefault(_target(check), []).append(check)
    return tuple(_daily(target, checks, schedule_s) for target, checks in found.items())


def runs_a_day(min_interval_s: int, schedule_s: int = DEFAULT_SCHEDULE_S) -> int:
    """How often a row is asked in a day: at every run of the schedule that is at least its interval after the last."""
    every = -(-max(min_interval_s, schedule_s) // schedule_s) * schedule_s
    return DAY_S // every


def name_of(row: Requirement, config: Config) -> str | None:
    """The row's host name; KeyError ("org" or "domain") when the site does not say what the name is made of."""
    given = {"org": config.site.org, "domain": config.site.domain}
    if row.host is None:
        return None
    return host_of(row.host, {key: value for key, value in given.items() if value is not None})


def _checks(profile: Profile, row: Requirement, config: Config, host: Host, opted: frozenset[str]) -> Iterable[Check]:
    name = _name(profile, row, config)
    addresses = config.targets.get(name or "", ())
    check = Check(
        id="/".join(str(p) for p in (profile.id, row.id, name, name and "*", row.transport, row.port) if p is not None),
        profile=profile.id,
        row=row.id,
        purpose=row.purpose,
        document=profile.documents[row.document],
        services=row.services,
        need=row.need,
        group=row.group,
        kind=row.kind,
        transport=row.transport,
        host=name,
        port=row.port,
        min_interval_s=row.min_interval_s,
        overridden=bool(addresses),
        params=_params(row, opted),
    )
    if row.unproven is not None:
        return (msgspec.structs.replace(check, skip=_unproven(row, config)),)
    if row.kind == "dns":
        return _lookups(check, row, host)
    direct = resolve(check, addresses, host)
    if config.network.proxy is None or row.transport != "tcp":
        return direct
    # The proxy looks the name up itself, so addresses that the site gave vouch for nothing there.
    by_proxy = msgspec.structs.replace(check, id=check.id.replace("/*/", "/proxy/"), via="proxy", overridden=False)
    return (*direct, by_proxy)


def _controller(
    profile: Profile, row: Requirement, config: Config, host: Host, port_offset: int, hold: float | None
) -> Check:
    """One port of the controller link. The codec's address is the site's, else it has to be found (address None)."""
    port = (row.port or 0) + port_offset
    codec = config.site.codec
    check = Check(
        id=f"{profile.id}/{row.id}/*/tcp/{port}",
        profile=profile.id,
        row=row.id,
        purpose=row.purpose,
        document=profile.documents[row.document],
        services=row.services,
        need=row.need,
        kind=row.kind,
        transport="tcp",
        port=port,
        min_interval_s=row.min_interval_s,
        params=row.params if hold is None else {**row.params, "hold_s": hold},
    )
    if row.unproven is not None:
        return msgspec.structs.replace(check, skip=_unproven(row, config))
    if codec is None or ":" not in codec:
        return check
    return resolve(check, (_scoped(codec, host, config.said("site.codec")),), host)[0]


def _scoped(codec: str, host: Host, said: str) -> str:
    """The address with the name of its interface; ConfigError when this box has no such interface."""
    address, percent, scope = codec.partition("%")
    names = {str(index): name for name, index in host.interfaces.items()}
    if percent and scope not in host.interfaces and scope not in names:
        have = escape(", ".join(sorted(host.interfaces)) or "none", 200)
        raise ConfigError(f'{said}: this box has no interface "{escape(scope, 40)}"; it has {have}.')
    return f"{address}{percent}{names.get(scope, scope) if scope not in host.interfaces else scope}"


def _lookups(check: Check, row: Requirement, host: Host) -> Iterable[Check]:
    """One check for each resolver and transport; a row that names its transport is asked over that one alone."""
    skip = None
    if check.overridden:
        skip = Skip(
            reason=Reason.NOT_CONFIGURED,
            sentence=f"The addresses of {check.host} are given in [targets], so the name is not looked up.",
        )
    elif not host.resolvers:
        skip = Skip(
            reason=Reason.NOT_CONFIGURED,
            sentence="This box has no resolver, and [network] resolvers names none, so no name can be looked up.",
        )
    resolvers: Sequence[str | None] = host.resolvers if skip is None else (None,)
    port = row.port or DNS_PORT
    for resolver in resolvers:
        for transport in BOTH if row.transport is None else (row.transport,):
            yield msgspec.structs.replace(
                check,
                id=f"{check.profile}/{check.row}/{check.host}/{resolver or '*'}/{transport}/{port}",
                transport=transport,
                address=resolver,
                port=port,
                skip=skip or (None if resolver is None else _no_family(resolver, host)),
            )


def _name(profile: Profile, row: Requirement, config: Config) -> str | None:
    try:
        return name_of(row, config)
    except KeyError as error:
        key = str(error.args[0])
        raise ConfigError(
            f"The {profile.title} profile needs {'the organisation' if key == 'org' else 'the domain'} for {row.host}: "
            f"give --{key} {key.upper()}, or set {key} in [site] of the configuration."
        ) from None
    except ValueError as error:
        raise ConfigError(f"The {profile.title} profile's name {row.host} cannot be made: it {error}.") from None


def _params(row: Requirement, opted: frozenset[str]) -> dict[str, object]:
    """The row's params; of the payloads that need opting in, only those that were opted into are left."""
    if "native_opt_in" not in row.params or row.unproven is not None:
        return row.params
    return {**row.params, "native_opt_in": [shape for shape in row.params["native_opt_in"] if shape in opted]}


def _unproven(row: Requirement, config: Config) -> Skip:
    if row.attest and row.id in config.site.attest:
        return Skip(reason=Reason.ATTESTATION, sentence=f"The site says so ([site] attest). {row.unproven}")
    if row.attest:
        tick = f'tick it in the config: [site] attest = ["{row.id}"]'
        return Skip(reason=Reason.ATTESTATION, sentence=f"{row.unproven} If it is so, {tick}.")
    return Skip(reason=Reason.NOT_IN_RELEASE, sentence=row.unproven or "")


def _no_family(address: str, host: Host) -> Skip | None:
    """Why this address cannot be asked from here, or None. Loopback and this box's own networks need no route."""
    ip = ipaddress.ip_address(address)
    if ip.is_loopback or ip.is_link_local or ip.version in host.families:
        return None
    own = (ipaddress.ip_interface(f"{a.address.partition('%')[0]}/{a.prefix}").network for a in host.addresses)
    if any(ip in network for network in own if network.version == ip.version):
        return None
    return Skip(reason=Reason.NO_FAMILY, sentence=f"This box has no IPv{ip.version} address and route.")


def _target(check: Check) -> str:
    if check.kind == "controller":
        return f"the codec, {check.address or 'once it is found'}"
    if check.via == "proxy":
        return f"the web proxy, for {check.host}"
    if check.kind == "dns":
        return f"resolver {check.address}"
    return f"{check.host} at {check.address}" if check.address else f"{check.host}, each address"


def _daily(target: str, checks: Sequence[Check], schedule_s: int) -> Daily:
    runs = {check.id: runs_a_day(check.min_interval_s, schedule_s) for check in checks}
    laddered = [check for check in checks if check.kind != "dns" and check.via == "direct"]
    return Daily(
        target=target,
        rows=tuple(dict.fromkeys(check.row for check in checks)),
        runs=max(runs.values()),
        packets=sum(runs[check.id] * _packets(check) for check in checks),
        ladder_packets=sum(runs[check.id] * LADDER_PACKETS for check in laddered),
        log_lines=sum(runs[check.id] * _lines(check) for check in checks),
    )


def _payloads(check: Check) -> int:
    return 1 + len(check.params.get("native", ())) + len(check.params.get("native_opt_in", ()))


def _packets(check: Check) -> int:
    if check.kind == "udp":
        return UDP_SENDS * _payloads(check)
    return PACKETS[check.kind, check.transport or ""]


def _lines(check: Check) -> int:
    return _payloads(check) if check.kind == "udp" else LINES[check.kind]
