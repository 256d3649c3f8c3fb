"""Real servers in the lab: nginx, dnsmasq, coturn, chrony, squid and our own UDP far end. The codec's: peers_link.py.

Every function starts one and returns when it is ready. A second start of the same kind in the same place replaces
the first; as a context manager it puts the first back at the end: `with peers.udp(lab, silent=TUNNEL_PORTS):`.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .faults import TUNNEL_PORTS
from .network import Lab
from .peer import Peer
from .peer import folder_for as _folder
from .peer import without as without
from .peers_link import codec as codec
from .peers_link import controller as controller
from .peers_link import one_controller as one_controller
from .peers_link import web_instead as web_instead
from .pki import Authority
from .procs import Spec, program, run
from .topology import NET_HOSTS

CONFIG, CALLS = "config.starleaf.com", "acme.call.sl"
HOSTS: dict[str, tuple[int, ...]] = {CALLS: (10, 11, 12), CONFIG: (20,)}
PROXY_PORT = 3128
PROXY_USER, PROXY_PASSWORD = "room", "secret"


def everything(lab: Lab) -> None:
    """The healthy far side: names at the site's resolver, TLS for both hosts, UDP answering on the five ports."""
    dns(lab)
    tls(lab)
    udp(lab)


def net_addresses(hosts: Iterable[int] = NET_HOSTS, families: Iterable[int] = (4, 6)) -> list[str]:
    """The far side's addresses with these host numbers."""
    patterns = {4: "203.0.113.{}", 6: "2001:db8:113::{}"}
    return [patterns[family].format(host) for host in hosts for family in families]


def authority(lab: Lab) -> Authority:
    """The lab's own CA, the one that its default configuration names in `[network] ca_file`."""
    return Authority(lab.work / "pki", "roomprobe lab CA")


def udp(
    lab: Lab,
    *,
    answer: Iterable[int] | None = None,
    silent: Iterable[int] = (),
    hosts: Iterable[int] = NET_HOSTS,
) -> Peer:
    """Our far end: echoes on `answer` (all five ports that are not `silent`, unless given) and holds `silent` open.

    Ports in neither answer with port-unreachable, because nothing is bound there.
    """
    quiet = tuple(silent)
    ports = tuple(port for port in TUNNEL_PORTS if port not in quiet) if answer is None else tuple(answer)
    addresses = net_addresses(hosts)
    lists = [",".join(addresses), ",".join(map(str, ports)), ",".join(map(str, quiet))]
    script = str(Path(__file__).with_name("farend.py"))
    ready = tuple(("udp", port, len(addresses)) for port in (*ports, *quiet))
    return Peer(lab, Spec("udp", "net", (sys.executable, script, *lists), ready))


def tls(
    lab: Lab,
    *,
    hosts: Mapping[str, Sequence[int]] = HOSTS,
    certificate_for: Mapping[str, str] | None = None,
    issuer: Authority | None = None,
    client_certificate: Iterable[str] = (),
) -> Peer:
    """nginx on TCP 443 of `hosts` (name to host numbers in net); hosts left out answer with a reset.

    `certificate_for` shows another name's certificate, `issuer` another CA's; names in `client_certificate` ask for
    one and give an HTTP error without it (`picky_tls` gives the alert instead).
    """
    nginx = program("nginx", "nginx-light")
    ca, wanted = issuer or authority(lab), set(client_certificate)
    servers = []
    count = sum(2 * len(numbers) for numbers in hosts.values())
    for name, numbers in hosts.items():
        cert, key = ca.leaf((certificate_for or {}).get(name, name))
        listen = [f"listen {f'[{a}]' if ':' in a else a}:443 ssl;" for a in net_addresses(numbers)]
        ask = f"ssl_client_certificate {ca.cert}; ssl_verify_client on;" if name in wanted else ""
        servers.append(
            f"server {{ {' '.join(listen)} server_name {name}; ssl_certificate {cert}; ssl_certificate_key {key}; "
            f'{ask} location / {{ default_type text/plain; return 200 "{name}\\n"; }} }}'
        )
    folder = _folder(lab, "tls")
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr warn;\nevents {{ }}\n"
        f"http {{ access_log off; {temporary}\n" + "\n".join(servers) + "\n}\n"
    )
    return Peer(lab, Spec("tls", "net", (nginx, "-e", "stderr", "-c", str(config)), (("tcp", 443, count),)))


def picky_tls(lab: Lab, hosts: Mapping[str, Sequence[int]] | None = None) -> Peer:
    """TLS that ends with an alert asking for a client certificate, as the real border controller does.

    It needs those addresses' port 443 for itself: start `tls(lab, hosts={CONFIG: (20,)})` first.
    """
    ((name, numbers),) = (hosts or {CALLS: HOSTS[CALLS]}).items()
    ca = authority(lab)
    files = (str(path) for path in (*ca.leaf(name), ca.cert))
    script = str(Path(__file__).with_name("tcpd.py"))
    argv = (sys.executable, script, "picky", "443", *files, *net_addresses(numbers))
    return Peer(lab, Spec("picky-tls", "net", argv, (("tcp", 443, 2 * len(numbers)),)))


def dns(
    lab: Lab,
    ns: str | None = None,
    *,
    hosts: Mapping[str, Sequence[int]] = HOSTS,
    aaaa: bool = True,
    rewrite: Sequence[str] = (),
    sink: Mapping[str, str] | None = None,
) -> Peer:
    """dnsmasq on UDP and TCP 53 of the gateway, `codec` (a second resolver) or `net` (203.0.113.53).

    `hosts` maps names to host numbers in net; every other name does not exist (NXDOMAIN), or has the addresses
    `rewrite`. `sink`: names hidden behind an address that nobody has. `aaaa=False`: the names have no IPv6 addresses.
    """
    place = ns or lab.gateway
    dnsmasq = program("dnsmasq", "dnsmasq-base")
    if place == "net":
        listen = net_addresses((53,))
    else:
        listen = [lab.address(place, family) for family in lab.topology.families]
    families = (4, 6) if aaaa else (4,)
    folder = _folder(lab, f"dns-{place}")
    lines = [
        *("keep-in-foreground", "no-resolv", "no-hosts", "user=root", "log-facility=-", "bind-interfaces"),
        *("log-queries", "cache-size=0", "except-interface=lo", f"pid-file={folder}/pid"),
        *(f"listen-address={address}" for address in listen),
        *(f"host-record={name},{a}" for name, numbers in hosts.items() for a in net_addresses(numbers, families)),
        *(f"address=/{name}/{address}" for name, address in (sink or {}).items()),
        *([f"address=/#/{address}" for address in rewrite] or ["address=/#/"]),
    ]
    config = folder / "dnsmasq.conf"
    config.write_text("\n".join(lines) + "\n")
    ready = (("udp", 53, len(listen)), ("tcp", 53, len(listen)))
    return Peer(lab, Spec(f"dns-{place}", place, (dnsmasq, f"--conf-file={config}"), ready))


def stun(lab: Lab) -> Peer:
    """coturn on UDP and TCP 3478 of net; start `udp` without 3478 first."""
    turnserver = program("turnserver", "coturn")
    folder = _folder(lab, "stun")
    lines = [
        *("listening-port=3478", "no-tls", "no-dtls", "no-cli", "lt-cred-mech", "user=u:p", "realm=lab"),
        *("relay-threads=1", "log-file=stdout", f"pidfile={folder}/pid", f"userdb={folder}/db"),
        *(f"listening-ip={address}" for address in net_addresses()),
        "relay-ip=203.0.113.10",
    ]
    config = folder / "turn.conf"
    config.write_text("\n".join(lines) + "\n")
    return Peer(lab, Spec("stun", "net", (turnserver, "-c", str(config)), (("udp", 3478, 2 * len(NET_HOSTS)),)))


def ntp(lab: Lab, ns: str = "net") -> Peer:
    """chrony on UDP 123 of a namespace, stratum 3; in net start `udp` without 123 first. It never sets a clock (-x)."""
    chronyd = program("chronyd", "chrony")
    folder = _folder(lab, f"ntp-{ns}")
    config = folder / "chrony.conf"
    config.write_text(f"local stratum 3\nallow all\ncmdport 0\nbindcmdaddress /\npidfile {folder}/pid\nuser root\n")
    return Peer(lab, Spec(f"ntp-{ns}", ns, (chronyd, "-n", "-x", "-f", str(config)), (("udp", 123, 2),)))


def proxy(
    lab: Lab, *, password: bool = False, intercept: bool = False, hosts: Mapping[str, Sequence[int]] = HOSTS
) -> Peer:
    """squid at the gateway, port 3128, which knows `hosts` by itself; `password` asks for one (407).

    `intercept` opens TLS on port 3130 and forges certificates of `interceptor(lab)`: use with `faults.tls_intercepted`.
    """
    squid = program("squid", "squid-openssl")
    folder = _folder(lab, "proxy")
    known = folder / "hosts"
    known.write_text("".join(f"{a} {name}\n" for name, numbers in hosts.items() for a in net_addresses(numbers)))
    lines = [
        *(f"hosts_file {known}", f"pid_filename {folder}/pid", f"cache_log {folder}/cache.log", "access_log none"),
        *(f"coredump_dir {folder}", "cache deny all", "cache_mem 4 MB", "memory_pools off", "max_filedescriptors 512"),
        *("visible_hostname fw", "shutdown_lifetime 0 seconds", "pinger_enable off", "cache_effective_user proxy"),
        *("dns_nameservers 127.0.0.1", "connect_timeout 5 seconds", f"http_port {PROXY_PORT}"),
    ]
    if intercept:
        forger, database = interceptor(lab), folder / "forged"
        certgen = program("/usr/lib/squid/security_file_certgen", "squid-openssl")
        run([certgen, "-c", "-s", str(database), "-M", "4MB"])
        files = f"cert={forger.cert} key={forger.key}"
        lines += [
            f"https_port 3130 intercept ssl-bump {files} generate-host-certificates=on dynamic_cert_mem_cache_size=1MB",
            f"sslcrtd_program {certgen} -s {database} -M 4MB",
            "sslcrtd_children 1 startup=1",
            *("ssl_bump bump all", "sslproxy_cert_error allow all", "tls_outgoing_options flags=DONT_VERIFY_PEER"),
            "host_verify_strict off",
        ]
    if password:
        users = folder / "users"
        hashed = run([program("openssl", "openssl"), "passwd", "-apr1", PROXY_PASSWORD]).strip()
        users.write_text(f"{PROXY_USER}:{hashed}\n")
        lines += [
            f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}",
            "auth_param basic children 1 startup=1",
            "acl known proxy_auth REQUIRED",
            "http_access allow known",
            "http_access deny all",
        ]
    else:
        lines.append("http_access allow all")
    config = folder / "squid.conf"
    config.write_text("\n".join(lines) + "\n")
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, "proxy")
    ready = (("tcp", PROXY_PORT, 1), *((("tcp", 3130, 1),) if intercept else ()))
    # Asked nicely, squid takes two seconds to go, and it has nothing to save.
    return Peer(lab, Spec("proxy", lab.gateway, (squid, "-N", "-f", str(config)), ready, signal.SIGKILL))


def interceptor(lab: Lab) -> Authority:
    """The CA of the interception proxy, which nobody but the site's own machines would trust."""
    return Authority(lab.work / "interceptor", "Acme web security CA")


def proxy_url(lab: Lab) -> str:
    """What to write into `[network] proxy`."""
    host = lab.resolvers[0]
    return f"http://{f'[{host}]' if ':' in host else host}:{PROXY_PORT}"
