"""What can break between a controller and a codec: the switch, IPv6 itself, a firewall in between, the codec.

The switch is the bridge in `lan`; with a routed codec `where="fw"` puts the same fault on the router. Functions and
`Fault` work as in faults.py, which has all of these too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from .fault import Fault, ports_of
from .network import Lab
from .procs import LabError, program

CODEC_PORTS = (69, 443, 5000, 5152, 23456)
SOLICITATION, ADVERTISEMENT = 135, 136  # RFC 4861 4.3, 4.4
STRAY_PREFIX = "2001:db8:bad::/64"
# Nearer to the routed codec's address than the room's own: the kernel prefers it as source (RFC 6724 5, rule 8).
STRAY_SOURCE_PREFIX = "fd00:60:0:bad::/64"
RA_S = 10.0
_FLOW, _BACK = "ip6 saddr . ip6 daddr . tcp sport . tcp dport", "ip6 daddr . ip6 saddr . tcp dport . tcp sport"
_TRACKED = (
    "ether type != ip6 accept",
    "meta l4proto != tcp accept",
    f"tcp flags & (syn | ack) == syn update @flows {{ {_FLOW} }} update @flows {{ {_BACK} }} accept",
    f"{_FLOW} @flows update @flows {{ {_FLOW} }} update @flows {{ {_BACK} }} accept",
    "drop",
)
RADVD = """\
interface eth0 {{
    AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;
    AdvDefaultLifetime 1800; AdvDefaultPreference {preference};
    prefix {prefix} {{ AdvOnLink on; AdvAutonomous on; }};
}};
"""


def _place(lab: Lab, where: str | None) -> tuple[str, str]:
    """Namespace and hook of `bridge` or of a router; without either, the one that the codec's traffic crosses."""
    where = where or ("bridge" if lab.topology.codec == "bridge" else "fw")
    return ("lan", "bridge") if where == "bridge" else (where, "forward")


# The switch


def bridge_port_drop(lab: Lab, ports: Iterable[int] = (443,)) -> Fault:
    """The switch drops TCP to those ports, as an access list does (a bridge cannot reject in this kernel)."""
    return Fault(lab).rules("lan", "bridge", [f"tcp dport {ports_of(ports)} drop"])


def nd_filtered(lab: Lab, kinds: Iterable[int] = (SOLICITATION, ADVERTISEMENT), *, only: str | None = None) -> Fault:
    """The switch drops neighbour solicitations (135), advertisements (136) or both; `only`: those of one host."""
    match = f"icmpv6 type {ports_of(kinds)}"
    if only is None:
        rules = [f"{match} drop"]
    elif only in lab.topology.bridged:
        rules = [f'{side} "{lab.topology.bridged[only]}" {match} drop' for side in ("iifname", "oifname")]
    else:
        raise LabError(f"{only} has no port of the bridge: {', '.join(lab.topology.bridged)}")
    return Fault(lab).rules("lan", "bridge", rules).forget_neighbours()


def client_isolation(lab: Lab) -> Fault:
    """The switch passes nothing between its hosts, only to and from the gateway's port."""
    fault = Fault(lab)
    for port in lab.topology.bridged.values():
        turn = ("ip", "link", "set", port, "type", "bridge_slave", "isolated")
        fault.exec("lan", (*turn, "on"), (*turn, "off"))
    return fault.forget_neighbours()


def mtu_hole(lab: Lab, size: int = 1400, *, where: str | None = None, direction: str = "both") -> Fault:
    """IPv6 packets of TCP longer than `size` bytes vanish without packet-too-big; `where`: `bridge` or a router.

    `direction`: `out` is what leaves the room, `in` what comes to it. Segments are seen one by one, as on a real
    wire, because segmentation offload is off for as long as it lasts.
    """
    if not 1280 <= size <= 1499:
        raise LabError(f"mtu_hole: size is {size}; allowed is 1280 to 1499")
    fault, (ns, hook) = Fault(lab), _place(lab, where)
    for host, port in [(host, "eth0") for host in lab.topology.hosts] + [(lab.gateway, "lan0")]:
        turn = ("ethtool", "-K", port)
        fault.exec(host, (*turn, "tso", "off", "gso", "off"), (*turn, "tso", "on", "gso", "on"))
    port = "p-room" if hook == "bridge" else "lan0"
    side = {"both": "", "out": f'iifname "{port}" ', "in": f'oifname "{port}" '}[direction]
    family = "ether type ip6" if hook == "bridge" else "meta nfproto ipv6"
    return fault.rules(ns, hook, [f"{side}{family} meta l4proto tcp meta length > {size} drop"])


# IPv6 itself


def stray_ra(lab: Lab, *, how: str = "router", prefix: str | None = None) -> Fault:
    """A stray radvd on the room's LAN makes a routed codec unreachable in silence; `how`: `router` or `source`.

    `router`: it offers itself as default router, preferred and leading nowhere. `source`: the room stays with its own
    router, but takes its source address from the advertised prefix, to which there is no way back.
    """
    if how not in ("router", "source"):
        raise LabError(f"stray_ra: how is {how!r}; allowed are router and source")
    prefix = prefix or (STRAY_PREFIX if how == "router" else STRAY_SOURCE_PREFIX)
    radvd, config = program("radvd", "radvd"), lab.work / "radvd.conf"
    config.write_text(RADVD.format(preference="high" if how == "router" else "low", prefix=prefix))
    fault = Fault(lab).ip("fw", [f"-6 route add blackhole {prefix}"], [f"-6 route del blackhole {prefix}"])
    ra = "net__ipv6__conf__eth0__"
    fault.sysctl("room", **{f"{ra}accept_ra": 2, f"{ra}autoconf": 1, f"{ra}accept_ra_pinfo": 1})
    fault.undo += [
        ("exec", "room", *"ip -6 route flush dev eth0 proto ra".split()),
        ("exec", "room", *f"ip -6 route flush exact {prefix} dev eth0".split()),
        ("exec", "room", *"ip -6 addr flush dev eth0 dynamic".split()),
        ("leave", "stray"),
    ]
    lab.join("stray")
    lab.ip("stray", "-6 route add blackhole default")
    pid = lab.work / "radvd.pid"
    fault.start("stray", (radvd, "--nodaemon", "--logmethod=stderr", f"--config={config}", f"--pidfile={pid}"))
    end = time.monotonic() + RA_S
    while not _heard(lab):
        if time.monotonic() > end:
            raise LabError("the room took nothing from the stray router")
        time.sleep(0.02)
    return fault


def _heard(lab: Lab) -> bool:
    shown = json.loads(lab.exec("room", "ip", "-j", "-6", "addr", "show", "dev", "eth0", "dynamic"))
    addressed = any(address for entry in shown for address in entry.get("addr_info", ()))
    return addressed and "default" in lab.exec("room", *"ip -6 route show proto ra".split())


# A firewall in between


def codec_prohibited(lab: Lab, router: str = "fw", ports: Iterable[int] = CODEC_PORTS) -> Fault:
    """A router refuses TCP to the routed codec's ports with admin-prohibited (ICMPv6 1/1)."""
    rule = f"ip6 daddr {lab.address('codec', 6)} tcp dport {ports_of(ports)} reject with icmpv6 admin-prohibited"
    return Fault(lab).rules(router, "forward", [rule])


def idle_timeout(lab: Lab, seconds: int = 2, *, where: str | None = None) -> Fault:
    """A stateful firewall forgets a connection that was idle for `seconds`, and drops what then comes, in silence.

    It forgets those that stood before as well: break first, then connect. `where`: `bridge` or a router.
    """
    ns, hook = _place(lab, where)
    if hook == "bridge":
        # This kernel tracks no connections on a bridge, so a set with a lifetime does: IPv6 only.
        known = f"flags dynamic,timeout; timeout {seconds}s; size 65535;"
        return Fault(lab).rules(ns, hook, _TRACKED, f"set flows {{ typeof {_FLOW}; {known} }}")
    fault = Fault(lab).rules(ns, hook, ["meta l4proto tcp ct state invalid drop"])
    prefix = "net__netfilter__nf_conntrack_tcp_"
    return fault.sysctl(ns, **{f"{prefix}timeout_established": seconds, f"{prefix}loose": 0})


# The codec


def codec_off(lab: Lab, *, how: str = "down", ns: str = "codec") -> Fault:
    """The codec has no power (`down`), or its cable is lit but nothing in it speaks IPv6 any more (`silent`)."""
    if how == "down":
        fault = Fault(lab).ip(ns, ["link set eth0 down"])
    elif how == "silent":
        fault = Fault(lab).rules(ns, "input", ["drop"]).rules(ns, "output", ["drop"])
    else:
        raise LabError(f"codec_off: how is {how!r}; allowed are down and silent")
    return fault.forget_neighbours()


def address_twice(lab: Lab, ns: str = "codec2") -> Fault:
    """Another host on the bridge has the codec's link-local address too, as after a copied configuration."""
    address = f"{lab.link_local('codec')}/64 dev eth0"
    return Fault(lab).ip(ns, [f"-6 addr add {address} nodad"], [f"-6 addr del {address}"]).forget_neighbours()


def codec_rebooted(lab: Lab, role: str = "codec", *, away: float = 0.0) -> Fault:
    """The codec's server is killed and starts again; with `away` its cable is dead for so many seconds meanwhile.

    Without `away` its end is seen at once (the kernel closes its connections); with it, nothing says goodbye.
    """
    if role not in lab.running:
        raise LabError(f"nothing called {role!r} runs in this lab: {', '.join(lab.running)}")
    server = lab.running[role]
    with Fault(lab) as fault:
        if away:
            fault.ip(server.spec.ns, ["link set eth0 down"])
        lab.kill(role)
        if away:
            # What a machine without power forgets, its kernel would go on repeating here.
            lab.exec(server.spec.ns, "ss", "-K", "-t", "state", "all")
            time.sleep(away)
    lab.start(server.spec)
    return fault
