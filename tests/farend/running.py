"""`roomprobe codec` as a process of its own, its events as they come, and clients that are not roomprobe's code."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from roomprobe import cli
from roomprobe.farend.limits import PORTS

AGENT = Path(cli.__file__).parent.parent
PATIENCE_S = 30.0
NONCE = "0123456789abcdef"

Event = dict[str, Any]


class Codec:
    """The running process. `at(69)` is where it listens for port 69; `wait(...)` gives the next event that fits."""

    def __init__(
        self, *arguments: str, offset: int | None = None, wrap: Sequence[str] = (), as_json: bool = True
    ) -> None:
        self.offset = free_offset() if offset is None else offset
        given = [*arguments, "--port-offset", str(self.offset), *(["--json"] if as_json else [])]
        self.process = subprocess.Popen(
            [*wrap, sys.executable, "-m", "roomprobe", "codec", *given],
            env={**os.environ, "PYTHONPATH": str(AGENT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.seen: list[Event] = []
        self.lines: list[str] = []
        self._queue: queue.Queue[Event | str] = queue.Queue()
        self._as_json = as_json
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(json.loads(line) if self._as_json else line.decode().rstrip("\n"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def at(self, port: int) -> int:
        return port + self.offset

    def wait(self, event: str, **wanted: object) -> Event:
        """The next event of that name with those values; AssertionError when it does not come."""
        until = time.monotonic() + PATIENCE_S
        while (left := until - time.monotonic()) > 0:
            try:
                found = self._queue.get(timeout=left)
            except queue.Empty:
                break
            assert isinstance(found, dict)
            self.seen.append(found)
            if found["event"] == event and all(found.get(key) == value for key, value in wanted.items()):
                return found
        raise AssertionError(f"no {event} {wanted} came; the last were {self.seen[-5:]}")

    def closed(self, source_port: int) -> Event:
        """How the connection from that port ended, said already or still to come; ports are not used twice in a moment."""
        for event in self.seen:
            if event["event"] == "closed" and event["source_port"] == source_port:
                return event
        return self.wait("closed", source_port=source_port)

    def wait_line(self, part: str) -> str:
        """The next line of text with this in it."""
        until = time.monotonic() + PATIENCE_S
        while (left := until - time.monotonic()) > 0:
            try:
                found = self._queue.get(timeout=left)
            except queue.Empty:
                break
            assert isinstance(found, str)
            self.lines.append(found)
            if part in found:
                return found
        raise AssertionError(f"no line with {part!r} came; the last were {self.lines[-5:]}")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, list[Event], str]:
        """Ends it; its status, the events that had not been waited for, and stderr."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        said = self.process.stderr.read().decode()
        status = self.process.wait(PATIENCE_S)
        self._reader.join()
        left = []
        while not self._queue.empty():
            found = self._queue.get()
            if isinstance(found, dict):
                left.append(found)
            else:
                self.lines.append(found)
        self.seen.extend(left)
        return status, left, said

    def memory_kib(self) -> int:
        """What the process holds in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def files(self) -> int:
        """How many files the process has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def free_offset() -> int:
    """An offset at which none of the five ports is in use on this machine."""
    for _ in range(100):
        offset = random.randrange(10_000, 25_000)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in PORTS:
                sock = stack.enter_context(socket.socket(socket.AF_INET6))
                sock.bind(("::", port + offset))
            return offset
    raise AssertionError("no free ports")


@contextlib.contextmanager
def connected(codec: Codec, port: int, address: str = "::1", source: str | None = None) -> Generator[socket.socket]:
    """A plain TCP connection to one of the five."""
    family, kind, proto, _, where = socket.getaddrinfo(address, codec.at(port), type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, proto) as sock:
        sock.settimeout(PATIENCE_S)
        if source is not None:
            sock.bind((source, 0))
        sock.connect(where)
        yield sock


@contextlib.contextmanager
def in_tls(codec: Codec, address: str = "::1") -> Generator[ssl.SSLSocket]:
    """A TLS connection to 443; the certificate is self-signed, so it is not verified."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connected(codec, 443, address) as sock, context.wrap_socket(sock) as secure:
        yield secure


def line(sock: socket.socket) -> bytes:
    """One line; what comes after it stays in the kernel (or in TLS)."""
    data = b""
    while not data.endswith(b"\n"):
        more = sock.recv(1)
        if not more:
            break
        data += more
    return data


def exactly(sock: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer when the other end closed."""
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def rest(sock: socket.socket) -> bytes:
    """Everything until the other end closes; a reset ends it too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65_536):
            data += more
    return data


def head(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """An HTTP answer, read by plain means: status, headers, body."""
    first = line(sock).decode()
    fields = {}
    while (text := line(sock).decode().strip()) != "":
        name, _, value = text.partition(":")
        fields[name.lower()] = value.strip()
    return int(first.split()[1]), fields, exactly(sock, int(fields["content-length"]))


def greet(sock: socket.socket) -> list[str]:
    """Says hello; the words of the answer."""
    sock.sendall(f"ROOMPROBE/1 HELLO {NONCE}\r\n".encode())
    return line(sock).decode().split()
