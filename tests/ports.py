"""Ports for servers that a test starts as processes of their own, which cannot be told to take any free one."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port that nobody has now, in both families; below those that the kernel gives to whoever connects somewhere meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket(socket.AF_INET6) as free:
            free.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                free.bind(("::", port))
            except OSError:
                continue
        return port
