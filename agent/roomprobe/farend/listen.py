"""The sockets of `roomprobe codec`, and what this box is: its interfaces, its addresses, how many files it may open.

Whatever is in the way of listening is one sentence (ConfigError), before anything is served.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import resource
import socket
from collections.abc import Iterator, Sequence

from roomprobe.config import ConfigError
from roomprobe.farend.events import Listening, OwnAddress
from roomprobe.farend.limits import BACKLOG, MOST_CONNECTIONS
from roomprobe.net import netlink
from roomprobe.text import escape

FILES_BESIDE = 64  # files that are open beside the connections: ports, log, loop, Python's own
LEAST_CONNECTIONS = 16


@contextlib.contextmanager
def listening(ports: Sequence[Listening], interface: str | None) -> Iterator[list[tuple[Listening, socket.socket]]]:
    """A listening socket for each port, all closed at the end."""
    with contextlib.ExitStack() as stack:
        yield [(port, stack.enter_context(_open(port.port, interface))) for port in ports]


def known_interface(name: str) -> str:
    """The name of an interface that there is."""
    there = sorted(found for _, found in socket.if_nameindex())
    if name not in there:
        have = escape(", ".join(there), 200) or "none"
        raise ConfigError(f'--interface: this box has no interface "{escape(name, 40)}"; it has {have}.')
    return name


def own_addresses(interface: str | None) -> tuple[OwnAddress, ...]:
    """The IPv6 addresses by which others can reach this box (on one interface alone), link-local ones first."""
    tables = netlink.read()
    links = {
        link.index: link for link in tables.links if link.up and not link.loopback and interface in (None, link.name)
    }
    found = [
        (ipaddress.IPv6Address(one.address), links[one.index].name)
        for one in tables.addresses
        if ":" in one.address and one.usable and one.index in links
    ]
    found.sort(key=lambda pair: (not pair[0].is_link_local, pair[1], pair[0]))
    return tuple(OwnAddress(address=str(address), interface=name) for address, name in found)


def most_connections() -> int:
    """How many connections may be open: MOST_CONNECTIONS, or as many as this process may have files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST_CONNECTIONS
    if soft < LEAST_CONNECTIONS + FILES_BESIDE:
        raise ConfigError(
            f"This process may open {soft} files, and {LEAST_CONNECTIONS + FILES_BESIDE} are needed (ulimit -n)."
        )
    return soft - FILES_BESIDE


def _open(port: int, interface: str | None) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"This box has no IPv6, and the controller link is IPv6 only ({error.strerror}).") from None
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # A restart need not wait until the kernel has forgotten the last run's connections.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if interface is not None:
            _bind_to(sock, interface)
        sock.bind(("::", port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(_why_not(port, error)) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_to(sock: socket.socket, interface: str) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    except OSError as error:
        raise ConfigError(f"--interface {escape(interface)} cannot be listened on alone ({error.strerror}).") from None


def _why_not(port: int, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"Port {port} needs the capability CAP_NET_BIND_SERVICE, which this process does not have; "
            "give it that, or move all ports up with --port-offset 20000 here and at the other end."
        )
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is in use by another program on this box; end that one, or leave the port out with --ports."
        )
    return f"Port {port} cannot be listened on ({error.strerror})."
