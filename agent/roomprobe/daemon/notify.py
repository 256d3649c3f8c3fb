"""Telling systemd: ready, reloading, stopping, what goes on, and that it still goes on (sd_notify(3)). No library, no privilege."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from roomprobe.text import escape

MOST_STATUS = 200


class Notifier:
    """The way to the service manager; without one everything is silently nothing."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        self._address = env.get("NOTIFY_SOCKET", "")
        mine = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        given = env.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(given) / 1e6 if mine and given.isdigit() and int(given) > 0 else None

    def ready(self, status: str) -> None:
        """Started, or done with reloading."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """Reads its configuration."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reading the configuration")

    def stopping(self) -> None:
        """Ends."""
        self._send("STOPPING=1", "STATUS=stopping")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status(status))

    def alive(self) -> None:
        """Feeds the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass  # the watchdog will say what there is to say


def _status(text: str) -> str:
    return f"STATUS={escape(text, MOST_STATUS)}"


class Pulse:
    """Whether the loop is where it promised to be. `expect` says until when (monotonic seconds) it will be heard of again."""

    def __init__(self, grace_s: float, now: float) -> None:
        self._grace_s = grace_s
        self._until = now

    def expect(self, until: float) -> None:
        """The loop will be back by then."""
        self._until = until

    def beats(self, now: float) -> bool:
        """False: the loop or a run hangs."""
        return now <= self._until + self._grace_s
