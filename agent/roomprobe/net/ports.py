"""Source ports: ephemeral ones that never fall into a range which a row reserves for itself (rows O6-O11)."""

from __future__ import annotations

import errno
import random
import socket

RESERVED = range(50000, 50060)
LOWEST, HIGHEST = 32768, 49900


def any_address(family: socket.AddressFamily) -> str:
    """The wildcard address of a family."""
    return "::" if family == socket.AF_INET6 else "0.0.0.0"


def bind_ephemeral(sock: socket.socket) -> None:
    """Binds to a port of the kernel's choice outside RESERVED. OSError as the kernel gives it."""
    for _ in range(4):
        probe = socket.socket(sock.family, sock.type)
        try:
            probe.bind((any_address(sock.family), 0))
            port = probe.getsockname()[1]
        finally:
            probe.close()
        if port in RESERVED:
            continue
        try:
            sock.bind((any_address(sock.family), port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    sock.bind((any_address(sock.family), 0))


def bind_next(sock: socket.socket, start: int) -> int:
    """Binds to the first free port from `start` on (below HIGHEST, else from LOWEST again); returns the port."""
    port = start
    for _ in range(64):
        if not LOWEST <= port < HIGHEST:
            port = LOWEST
        try:
            sock.bind((any_address(sock.family), port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            port += 1
        else:
            return port
    raise OSError(errno.EADDRINUSE, "no free source port")


def random_start() -> int:
    """Where a row of consecutive source ports begins."""
    return random.randrange(LOWEST, HIGHEST - 200)
