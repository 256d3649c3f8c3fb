"""A word to systemd (sd_notify(3)): ready, stopping, still alive. Nothing at all when nobody listens."""

from __future__ import annotations

import contextlib
import os
import socket


def say(text: str) -> None:
    """Sends "READY=1" and its like to the socket that systemd named."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        link.connect("\0" + path[1:] if path.startswith("@") else path)
        link.send(text.encode())
