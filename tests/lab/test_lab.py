"""The lab is true: its routers, servers and faults do what they say, and nothing is left of it afterwards.

Seen with a small prober of its own, run as nobody: what roomprobe makes of it is for the other tests here.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from . import faults, peers
from .faults import TUNNEL_PORTS
from .network import WORK, Lab, sweep
from .procs import LabError, namespaces, program, start_time

PROBER = str(Path(__file__).with_name("rawtest.py"))
FAR = {4: "203.0.113.10", 6: "2001:db8:113::10"}
TIME_EXCEEDED = {4: "11/0", 6: "3/0"}
PROHIBITED = {4: "3/13", 6: "1/1"}
PORT_UNREACHABLE = {4: "3/3", 6: "1/4"}
NO_ROUTE = {4: "3/0", 6: "1/0"}
FAMILIES = pytest.mark.parametrize("family", (4, 6))


def ask(lab: Lab, *cases: str) -> list[str]:
    """What came of the cases of rawtest.py, asked in the room as nobody."""
    done = lab.as_nobody("/usr/bin/python3", "-c", Path(PROBER).read_text(), *cases)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def case(protocol: str, family: int, port: int, ttl: int | None = None, address: str | None = None) -> str:
    where = address or FAR[family]
    return f"{protocol}:{f'[{where}]' if family == 6 else where}:{port}" + (f":{ttl}" if ttl else "")


def ladder(lab: Lab, protocol: str, family: int, port: int) -> list[str]:
    """The answers at TTL 1 to 4."""
    return ask(lab, *(case(protocol, family, port, ttl) for ttl in (1, 2, 3, 4)))


def from_hops(lab: Lab, family: int) -> list[str]:
    """What the three routers say to a packet whose TTL ends with them."""
    return [f"{TIME_EXCEEDED[family]}@{lab.hop_address(router, family)}" for router in lab.routers]


def query(lab: Lab, name: str, kind: str = "A", server: str | None = None, tcp: bool = False) -> tuple[str, list[str]]:
    """What a resolver says, asked with dnspython in the room: the code and the addresses."""
    script = (
        "import sys, dns.message, dns.query, dns.rcode\n"
        "name, kind, server, how = sys.argv[1:]\n"
        "ask = dns.query.tcp if how == 'tcp' else dns.query.udp\n"
        "reply = ask(dns.message.make_query(name, kind), server, timeout=2)\n"
        "print(dns.rcode.to_text(reply.rcode()), *(str(item) for rrset in reply.answer for item in rrset))"
    )
    argv = (name, kind, server or lab.resolvers[0], "tcp" if tcp else "udp")
    done = lab.as_nobody(sys.executable, "-c", script, *argv)
    assert done.returncode == 0, done.stderr
    code, *addresses = done.stdout.split()
    return code, sorted(addresses)


def tls(lab: Lab, address: str, name: str, *options: str) -> str:
    """What openssl's client says about TLS at an address."""
    where = f"[{address}]:443" if ":" in address else f"{address}:443"
    ca = str(peers.authority(lab).cert)
    argv = ("timeout", "3", program("openssl", "openssl"), "s_client", "-connect", where, "-servername", name)
    done = lab.as_nobody(*argv, "-verify_hostname", name, "-CAfile", ca, *options)
    return done.stdout + done.stderr


@FAMILIES
@pytest.mark.parametrize("protocol", ("udp", "tcp"))
def test_every_router_answers_for_its_ttl(open_lab: Lab, protocol: str, family: int) -> None:
    end = "echo" if protocol == "udp" else "open"
    assert ladder(open_lab, protocol, family, 24704 if protocol == "udp" else 443) == [
        *from_hops(open_lab, family),
        end,
    ]


def test_the_prober_is_nobody_and_has_no_capabilities(open_lab: Lab) -> None:
    status = open_lab.as_nobody("cat", "/proc/self/status").stdout
    assert re.search(r"^Uid:(\t65534){4}$", status, re.MULTILINE)
    assert set(re.findall(r"^Cap\w+:\t(\w+)$", status, re.MULTILINE)) == {"0" * 16}


def test_the_far_end_answers_on_all_addresses_and_ports(open_lab: Lab) -> None:
    where = [(6 if ":" in address else 4, address) for address in peers.net_addresses((10, 11, 12, 20))]
    cases = [case("udp", family, port, None, address) for family, address in where for port in TUNNEL_PORTS]
    assert set(ask(open_lab, *cases)) == {"echo"}


@FAMILIES
def test_the_far_end_can_be_silent_or_closed(open_lab: Lab, family: int) -> None:
    with peers.udp(open_lab, answer=(24704,), silent=(3478,)):
        answers = ask(open_lab, *(case("udp", family, port) for port in (24704, 3478, 1194)))
        assert answers == ["echo", "silent", f"{PORT_UNREACHABLE[family]}@{FAR[family]}"]
        assert ladder(open_lab, "udp", family, 3478) == [*from_hops(open_lab, family), "silent"]
    assert ask(open_lab, case("udp", family, 1194)) == ["echo"]


def test_names_and_tls(open_lab: Lab) -> None:
    for name, numbers in peers.HOSTS.items():
        for kind, family in (("A", 4), ("AAAA", 6)):
            expected = sorted(peers.net_addresses(numbers, (family,)))
            assert query(open_lab, name, kind) == query(open_lab, name, kind, tcp=True) == ("NOERROR", expected)
            for address in expected:
                assert "Verify return code: 0 (ok)" in tls(open_lab, address, name)


def test_tls_for_another_name_and_with_a_client_certificate(open_lab: Lab) -> None:
    with peers.tls(open_lab, certificate_for={peers.CONFIG: "www.example.net"}):
        assert "hostname mismatch" in tls(open_lab, "203.0.113.20", peers.CONFIG)
    with peers.tls(open_lab, hosts={peers.CONFIG: (20,)}), peers.picky_tls(open_lab):
        assert "alert number 116" in tls(open_lab, FAR[6], peers.CALLS, "-ign_eof")
        assert "alert" not in tls(open_lab, "203.0.113.20", peers.CONFIG)
    assert "Verify return code: 0 (ok)" in tls(open_lab, FAR[4], peers.CALLS)


def test_resolvers_that_differ(open_lab: Lab) -> None:
    second = open_lab.address("codec")
    peers.dns(open_lab, "codec", hosts={peers.CALLS: (11,)}, aaaa=False, rewrite=("203.0.113.99",))
    assert query(open_lab, "nowhere.starleaf.com") == ("NXDOMAIN", [])
    assert query(open_lab, peers.CALLS, server=second) == ("NOERROR", ["203.0.113.11"])
    assert query(open_lab, "nowhere.starleaf.com", server=second) == ("NOERROR", ["203.0.113.99"])
    assert query(open_lab, peers.CALLS, "AAAA", second)[1] == []
    with peers.without(open_lab, "dns-fw"):
        assert ask(open_lab, case("udp", 4, 53, None, open_lab.resolvers[0])) == ["3/3@192.168.50.1"]
    with faults.deaf(open_lab, "fw"):
        assert ask(open_lab, case("udp", 4, 53, None, open_lab.resolvers[0])) == ["silent"]
    assert query(open_lab, peers.CALLS, "AAAA", open_lab.address("fw", 6))[0] == "NOERROR"


def test_stun_and_ntp_servers(open_lab: Lab) -> None:
    with peers.udp(open_lab, answer=(24704,)), peers.stun(open_lab), peers.ntp(open_lab):
        script = (
            "import socket, sys\n"
            "for where in sys.argv[2:]:\n"
            "    s = socket.socket(socket.AF_INET6 if ':' in where else socket.AF_INET, socket.SOCK_DGRAM)\n"
            "    s.settimeout(1)\n"
            "    s.sendto(bytes.fromhex(sys.argv[1].split('/')[0]), (where, int(sys.argv[1].split('/')[1])))\n"
            "    print(s.recv(500)[:2].hex())"
        )
        binding = "000100002112a442" + "ab" * 12 + "/3478"
        ntp = "23" + "00" * 47 + "/123"
        stun = open_lab.as_nobody("/usr/bin/python3", "-c", script, binding, *FAR.values())
        assert stun.stdout.split() == ["0101", "0101"], stun.stderr
        time_ = open_lab.as_nobody("/usr/bin/python3", "-c", script, ntp, *FAR.values())
        assert [word[2:] for word in time_.stdout.split()] == ["03", "03"], time_.stderr


# Faults: what a probe and a ladder see


@FAMILIES
@pytest.mark.parametrize("router", ("fw", "isp", "core"))
def test_udp_dropped_when_forwarding_or_before(open_lab: Lab, router: str, family: int) -> None:
    hop = open_lab.hop(router)
    with faults.udp_drop(open_lab, router):
        answering = from_hops(open_lab, family)[:hop]
        assert ladder(open_lab, "udp", family, 123) == answering + ["silent"] * (4 - hop)
        assert ladder(open_lab, "tcp", family, 443)[3] == "open"
    with faults.udp_drop_early(open_lab, router, ports=(123,)):
        assert ladder(open_lab, "udp", family, 123) == answering[:-1] + ["silent"] * (5 - hop)
        assert ask(open_lab, case("udp", family, 500)) == ["echo"]
    assert ask(open_lab, case("udp", family, 123)) == ["echo"]


@FAMILIES
def test_only_one_udp_port(open_lab: Lab, family: int) -> None:
    with faults.only_udp(open_lab, "fw", (123,)):
        assert ask(open_lab, *(case("udp", family, port) for port in TUNNEL_PORTS)) == ["silent"] * 4 + ["echo"]
        assert query(open_lab, peers.CALLS)[0] == "NOERROR"


@FAMILIES
def test_udp_refused(open_lab: Lab, family: int) -> None:
    own = open_lab.hop_address("isp", family)
    probe = case("udp", family, 3478)
    with faults.udp_prohibited(open_lab, "isp"):
        assert ask(open_lab, probe) == [f"{PROHIBITED[family]}@{own}"]
    with faults.udp_unreachable(open_lab, "isp"):
        assert ask(open_lab, probe) == [f"{PORT_UNREACHABLE[family]}@{own}"]
    with faults.udp_forged(open_lab, "fw"):
        forged = f"{PORT_UNREACHABLE[family]}@{FAR[family]}"
        assert ladder(open_lab, "udp", family, 3478) == [forged] * 4


@FAMILIES
def test_ntp_redirected(open_lab: Lab, family: int) -> None:
    with faults.ntp_redirect(open_lab, "fw"):
        closed = f"{PORT_UNREACHABLE[family]}@{FAR[family]}"
        assert ask(open_lab, case("udp", family, 123), case("udp", family, 500)) == [closed, "echo"]
        with peers.ntp(open_lab, "fw"):
            assert ask(open_lab, case("udp", family, 123)) == ["silent"]


@FAMILIES
def test_tcp_dropped_reset_and_prohibited(open_lab: Lab, family: int) -> None:
    probe = case("tcp", family, 443)
    with faults.tcp_drop(open_lab, "fw"):
        assert ask(open_lab, probe, case("udp", family, 123)) == ["silent", "echo"]
    with faults.tcp_reset(open_lab, "fw"):
        assert ladder(open_lab, "tcp", family, 443) == [from_hops(open_lab, family)[0], "reset", "reset", "reset"]
    with faults.tcp_prohibited(open_lab, "fw"):
        assert ask(open_lab, probe) == [f"{PROHIBITED[family]}@{open_lab.hop_address('fw', family)}"]
    with peers.without(open_lab, "tls"):
        assert ladder(open_lab, "tcp", family, 443) == [*from_hops(open_lab, family), "reset"]
    assert ask(open_lab, probe) == ["open"]


@FAMILIES
def test_a_firewall_that_completes_every_handshake(open_lab: Lab, family: int) -> None:
    with faults.tcp_answered(open_lab, "isp"):
        assert ladder(open_lab, "tcp", family, 4711) == [from_hops(open_lab, family)[0], "open", "open", "open"]
    with faults.tcp_answered(open_lab, "fw", "close"):
        assert ask(open_lab, case("tcp", family, 443, 1)) == ["eof"]


@FAMILIES
def test_nothing_leaves(open_lab: Lab, family: int) -> None:
    udp, tcp = case("udp", family, 123), case("tcp", family, 443)
    unreachable = {router: f"{NO_ROUTE[family]}@{open_lab.hop_address(router, family)}" for router in ("fw", "isp")}
    with faults.deny_any(open_lab, "fw"):
        assert ask(open_lab, udp, tcp) == ["silent", "silent"]
        assert ladder(open_lab, "udp", family, 123)[0] == from_hops(open_lab, family)[0]
    with faults.uplink_down(open_lab, "fw"):
        assert ask(open_lab, udp) == [unreachable["fw"]]
    with faults.no_route(open_lab, "isp"):
        assert ask(open_lab, udp) == [unreachable["isp"]]
    with faults.blackhole(open_lab, "isp"):
        assert ask(open_lab, udp) == ["silent"]
    with faults.host_drop(open_lab, "fw", (FAR[family],)):
        assert ask(open_lab, udp, case("udp", 10 - family, 123)) == ["silent", "echo"]
    assert ask(open_lab, udp, tcp) == ["echo", "open"]


@FAMILIES
def test_icmp_suppressed_and_filtered(open_lab: Lab, family: int) -> None:
    closed = f"{PORT_UNREACHABLE[family]}@{FAR[family]}"
    peers.udp(open_lab, answer=(24704,))
    with faults.no_time_exceeded(open_lab):
        assert ladder(open_lab, "udp", family, 123) == ["silent", "silent", "silent", closed]
    with faults.no_time_exceeded(open_lab, "isp"):
        assert ladder(open_lab, "udp", family, 123)[1:3] == ["silent", from_hops(open_lab, family)[2]]
    with faults.icmp_filtered(open_lab):
        assert ladder(open_lab, "udp", family, 123) == ["silent"] * 4
        assert ask(open_lab, case("tcp", family, 443), case("tcp", family, 444)) == ["open", "reset"]


def test_ipv6_that_is_broken(open_lab: Lab) -> None:
    with faults.v6_drop(open_lab):
        assert ask(open_lab, case("udp", 6, 123), case("udp", 4, 123)) == ["silent", "echo"]


@FAMILIES
def test_loss_is_random_and_about_as_much_as_asked(open_lab: Lab, family: int) -> None:
    script = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.settimeout(0.15)\nback = 0\n"
        "for burst in range(10):\n"
        "    for _ in range(100):\n        s.sendto(b'x', (sys.argv[1], 24704))\n"
        "    try:\n        while s.recv(10):\n            back += 1\n"
        "    except TimeoutError:\n        pass\n"
        "print(back)"
    )
    with faults.loss(open_lab, percent=20):
        back = int(open_lab.as_nobody("/usr/bin/python3", "-c", script, FAR[family]).stdout)
    assert 540 <= back <= 740, "0.8 of 0.8 of a thousand is 640; seven standard deviations of it either way"


def test_the_room_itself(open_lab: Lab) -> None:
    probes = case("udp", 4, 123), case("udp", 6, 123)
    with faults.local_drop(open_lab):
        assert ask(open_lab, *probes) == ["EPERM", "EPERM"]
    with faults.local_prohibit(open_lab):
        assert ask(open_lab, *probes) == ["EACCES", "EACCES"]
    with faults.no_gateway(open_lab):
        assert ask(open_lab, *probes) == ["ENETUNREACH", "ENETUNREACH"]
    with faults.no_address(open_lab):
        assert ask(open_lab, *probes) == ["ENETUNREACH", "ENETUNREACH"]
    with faults.no_carrier(open_lab):
        assert open_lab.as_nobody("cat", "/sys/class/net/eth0/carrier").stdout == "0\n"
    assert ask(open_lab, *probes) == ["echo", "echo"]


def test_faults_add_up_and_mend_takes_all_away(open_lab: Lab) -> None:
    faults.udp_drop(open_lab, "fw", (123,))
    faults.udp_drop(open_lab, "fw", (500,))
    faults.uplink_down(open_lab, "core")
    assert len(open_lab.faults) == 3
    open_lab.mend()
    assert open_lab.faults == []
    assert ask(open_lab, case("udp", 4, 123), case("udp", 4, 500), case("udp", 6, 123)) == ["echo"] * 3


# The proxy


@FAMILIES
@pytest.mark.parametrize("router", ("fw", "isp"))
@pytest.mark.parametrize("how", ("drop", "reset"))
def test_tls_filtered_after_the_handshake(open_lab: Lab, how: str, router: str, family: int) -> None:
    with faults.tls_data_drop(open_lab, router, how):
        assert ladder(open_lab, "tcp", family, 443) == [*from_hops(open_lab, family), "open"]
        said = tls(open_lab, FAR[family], peers.CALLS)
        assert "BEGIN CERTIFICATE" not in said
        assert ("errno=104" in said) == (how == "reset")
    assert "Verify return code: 0 (ok)" in tls(open_lab, FAR[family], peers.CALLS)


@FAMILIES
def test_long_packets_vanish(open_lab: Lab, family: int) -> None:
    script = (
        "import socket, sys\n"
        "with socket.create_connection((sys.argv[1], 443), timeout=3) as far:\n"
        "    far.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\n"
        "    print(far.recv(1000))"
    )
    with faults.mtu_blackhole(open_lab, "isp"):
        said = tls(open_lab, FAR[family], peers.CALLS)
        assert "BEGIN CERTIFICATE" not in said
        short = open_lab.as_nobody("/usr/bin/python3", "-c", script, FAR[family])
        assert "400 Bad Request" in short.stdout, short.stderr
    assert "Verify return code: 0 (ok)" in tls(open_lab, FAR[family], peers.CALLS)


def connect(lab: Lab, *headers: str) -> str:
    script = (
        "import socket, sys\n"
        "s = socket.create_connection(('192.168.50.1', 3128), 3)\n"
        "s.sendall((chr(13) + chr(10)).join([*sys.argv[1:], '', '']).encode())\n"
        "print(s.recv(100).decode().split(chr(13))[0])"
    )
    lines = (f"CONNECT {peers.CONFIG}:443 HTTP/1.1", f"Host: {peers.CONFIG}:443", *headers)
    return lab.as_nobody("/usr/bin/python3", "-c", script, *lines).stdout


def test_a_site_with_a_proxy(open_lab: Lab) -> None:
    assert peers.proxy_url(open_lab) == "http://192.168.50.1:3128"
    with faults.tcp_drop(open_lab, "fw"), peers.without(open_lab, "dns-fw"):
        with peers.proxy(open_lab):
            assert " 200 " in connect(open_lab)
        with peers.proxy(open_lab, password=True):
            assert " 407 " in connect(open_lab)
            assert " 200 " in connect(open_lab, "Proxy-Authorization: Basic cm9vbTpzZWNyZXQ=")


@FAMILIES
def test_tls_interception(open_lab: Lab, family: int) -> None:
    with peers.proxy(open_lab, intercept=True), faults.tls_intercepted(open_lab):
        said = tls(open_lab, FAR[family], peers.CALLS)
        assert "Acme web security CA" in said
        assert "Verify return code: 0" not in said


def test_a_ca_in_the_system_store(open_lab: Lab) -> None:
    forger = peers.interceptor(open_lab)
    script = (
        "import ssl; context = ssl.create_default_context()\n"
        "print([name for ca in context.get_ca_certs() for rdn in ca['subject'] for _, name in rdn if 'Acme' in name])"
    )
    with_it = open_lab.as_nobody("/usr/bin/python3", "-c", script, ca=forger.cert)
    without_it = open_lab.as_nobody("/usr/bin/python3", "-c", script)
    assert (with_it.stdout, without_it.stdout) == ("['Acme web security CA']\n", "[]\n"), with_it.stderr


# Other shapes


@pytest.mark.parametrize(
    ("options", "families"),
    (
        ({"families": (4,)}, (4,)),
        ({"families": (6,)}, (6,)),
        ({"nat": ("fw",)}, (4, 6)),
        ({"nat": ("fw", "isp")}, (4, 6)),
        ({"nat": ("isp",)}, (4, 6)),
        ({"lan": "shared"}, (4, 6)),
        ({"lan": "public"}, (4, 6)),
        ({"inner_hop": True, "nat": ("fw",)}, (4, 6)),
        ({"default_icmp_limits": True}, (4, 6)),
    ),
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_shapes(make_lab: Callable[..., Lab], options: dict[str, object], families: tuple[int, ...]) -> None:
    lab = make_lab(**options)
    for family in (4, 6):
        if family not in families:
            assert ask(lab, case("udp", family, 24704)) == ["ENETUNREACH"]
            continue
        hops = from_hops(lab, family)
        ttls = range(1, len(hops) + 2)
        assert ask(lab, *(case("udp", family, 24704, ttl) for ttl in ttls)) == [*hops, "echo"]
    assert query(lab, peers.CALLS)[0] == "NOERROR"


@pytest.mark.parametrize("nat", ((), ("fw",), ("isp",)))
def test_nat_hides_the_room(make_lab: Callable[..., Lab], nat: tuple[str, ...]) -> None:
    lab = make_lab(bare=True, nat=nat)
    script = "import socket; s = socket.socket(2, 2); s.bind(('', 24704)); print(s.recvfrom(9)[1][0])"
    with subprocess.Popen(
        ["ip", "netns", "exec", lab.name("net"), sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as listener:
        while ask(lab, case("udp", 4, 24704))[0] != "silent":
            time.sleep(0.02)
        assert listener.stdout is not None
        seen = listener.stdout.read().strip()
    assert seen == {(): "192.168.50.10", ("fw",): "100.64.0.2", ("isp",): "198.51.100.1"}[nat]


def test_default_limits_are_felt_and_no_limits_are_none(make_lab: Callable[..., Lab], open_lab: Lab) -> None:
    cases = [case("udp", 4, port, 1) for port in range(40000, 40012)]
    assert len(set(ask(open_lab, *cases))) == 1
    assert ask(make_lab(bare=True, default_icmp_limits=True), *cases).count("silent") >= 3


# Running roomprobe


def test_roomprobe_runs_as_nobody(open_lab: Lab) -> None:
    done = open_lab.run("--version")
    assert done.returncode == 0 and done.stdout.startswith("roomprobe "), done.stderr
    text = open_lab.config(site={"prefixes": ["192.0.2.0/24"], "org": None}, profiles={"pins": {"a.example": ("ab",)}})
    assert 'prefixes"' in text and '"pins" = { "a.example" = ["ab"] }' in text and '"org"' not in text
    assert open_lab.run("config", "check", config=open_lab.config()).returncode == 0
    assert open_lab.run("config", "check", config="[nonsense]\n").returncode == 3


# Nothing is left


def leftovers(pid: int) -> list[str]:
    folders = [path.name for path in Path("/tmp").glob(f"{WORK}rp{pid}-*")]
    return namespaces(f"rp{pid}-") + folders


def running_in(lab: Lab) -> list[int]:
    return [process.pid for process in lab.running.values()]


def test_nothing_is_left_after_the_end_or_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), Lab() as lab:
        peers.everything(lab)
        pids, prefix = running_in(lab), lab.prefix
        assert len(pids) == 3 and all(start_time(pid) for pid in pids) and len(namespaces(prefix)) == 7
        raise ZeroDivisionError
    assert not any(start_time(pid) for pid in pids)
    assert namespaces(prefix) == [] and not lab.work.exists()


HOLDER = """\
import sys, time
from tests.lab import network, peers
lab = network.Lab().build()
peers.everything(lab)
print(*(process.pid for process in lab.running.values()), flush=True)
if sys.argv[1] == "exit":
    raise SystemExit
time.sleep(60)
"""


def hold(how: str) -> tuple[subprocess.Popen[str], list[int]]:
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert child.stdout is not None
    return child, [int(word) for word in child.stdout.readline().split()]


@pytest.mark.parametrize("how", ("exit", "SIGTERM", "SIGINT", "SIGHUP"))
def test_nothing_is_left_of_a_process_that_ends(how: str) -> None:
    child, pids = hold(how)
    with child:
        assert len(pids) == 3
        if how != "exit":
            assert len(namespaces(f"rp{child.pid}-")) == 7
            child.send_signal(signal.Signals[how])
        child.wait(10)
    assert leftovers(child.pid) == []
    assert not any(start_time(pid) for pid in pids)


def test_what_a_killed_process_leaves_is_swept_up() -> None:
    child, pids = hold("SIGKILL")
    with child:
        child.kill()
    assert len(leftovers(child.pid)) == 8
    assert f"rp{child.pid}-1-" in sweep()
    assert leftovers(child.pid) == []
    assert not any(start_time(pid) for pid in pids)


def test_a_living_owner_is_not_swept(open_lab: Lab) -> None:
    assert open_lab.prefix not in sweep()
    assert ask(open_lab, case("udp", 4, 123)) == ["echo"]


# What goes wrong is said


def test_a_missing_package_is_named() -> None:
    with pytest.raises(
        LabError, match="no-such-program is not installed: the lab needs the Debian package some-package"
    ):
        program("no-such-program", "some-package")


def test_a_server_that_cannot_start_says_why(open_lab: Lab) -> None:
    with pytest.raises(LabError, match=r"udp did not get ready in net: .*Cannot assign requested address"):
        peers.udp(open_lab, hosts=(99,))


# scripts/lab


def test_the_command() -> None:
    name = f"t{os.getpid()}"
    script = str(Path(__file__).resolve().parents[2] / "scripts" / "lab")

    def lab(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "ROOMPROBE_LAB": name, "SHELL": "/bin/true"},
        )

    prober = ("/usr/bin/python3", PROBER, case("udp", 4, 123))
    try:
        up = lab("up", "nat=fw")
        assert up.returncode == 0 and up.stdout.count("runs:") == 3, up.stderr
        assert "up already" in lab("up").stderr
        assert lab("shell", "room", *prober).stdout == "echo\n"
        assert lab("shell", "room", "cat", "/etc/resolv.conf").stdout.startswith("nameserver 192.168.50.1\n")
        said, line = lab("shell", "room").stderr.splitlines()
        assert said.endswith("from here:")
        work = Path("/tmp", f"{WORK}rplab.{name}-")
        files = sorted(path.name for path in work.iterdir())
        checked = [*shlex.split(line)[:-5], "config", "check", *shlex.split(line)[-2:]]
        assert str(work / "roomprobe.toml") in lab("shell", "room", *checked).stdout
        assert lab("probe", "config", "check").returncode == 0
        assert sorted(path.name for path in work.iterdir()) == files
        for words in (["udp-drop", "isp"], ["tcp-answered"], ["blackhole"], ["no-carrier"], ["local-prohibit"]):
            done = lab("break", *words)
            assert (done.returncode, done.stderr) == (0, "")
        assert "isp: fault" in lab("status").stdout
        assert lab("shell", "room", *prober).stdout == "EACCES\n"
        assert lab("mend").returncode == 0
        assert "broken" not in lab("status").stdout
        assert lab("shell", "room", *prober).stdout == "echo\n"
        assert "no fault called 'x'" in lab("break", "x").stderr
        assert "takes no router" in lab("break", "no-carrier", "fw").stderr
    finally:
        assert lab("down").returncode == 0
    assert namespaces(f"rplab.{name}-") == [] and not Path("/tmp", f"{WORK}rplab.{name}-").exists()
    assert "there is no lab" in lab("status").stderr
    assert set(lab("break").stdout.split()) >= set(faults.NAMED)


@pytest.mark.parametrize("name", ("../x", "a b", "Upper", "longerthan8", "a\n"))
def test_a_lab_with_an_impossible_name_is_not_begun(name: str) -> None:
    script = str(Path(__file__).resolve().parents[2] / "scripts" / "lab")
    env = {**os.environ, "ROOMPROBE_LAB": name}
    before = namespaces("rplab")
    done = subprocess.run([script, "up"], capture_output=True, text=True, timeout=60, check=False, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lab: ROOMPROBE_LAB is {name!r}; a lab's name is 1 to 8 of a-z and 0-9\n"
    assert namespaces("rplab") == before
