"""Our packets against real servers: coturn and chrony, each on loopback in a network namespace made for this module.

Nothing leaves the namespace; the servers are ended by pid and the namespace goes away however the tests end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from roomprobe.wire import ntp, stun
from roomprobe.wire.shapes import SHAPES, Answer

pytestmark = pytest.mark.lab

SEED = bytes(range(100, 164))
TOOLS = {"ip": "iproute2", "turnserver": "coturn", "chronyd": "chrony"}
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
STUN_PORT, NTP_PORT = 33478, 33123
READY_S = 10.0
# Sends one datagram and writes the answer as hex, or nothing after the time given.
ASK = """
import socket, sys
address, port, wait, data = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as s:
    s.settimeout(float(wait))
    s.connect((address, int(port)))
    try:
        s.send(bytes.fromhex(data))
        print(s.getsockname()[1], s.recv(65535).hex())
    except (TimeoutError, ConnectionRefusedError):
        pass
"""


class Space:
    """A network namespace with nothing but loopback."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """A server inside; `ip netns exec` becomes the server, so its pid is the server's."""
        with log.open("wb") as out:
            return subprocess.Popen([*self._inside, *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def ask(self, port: int, data: bytes, address: str = "127.0.0.1", wait_s: float = 1.0) -> tuple[int, bytes] | None:
        """Our source port and the answer, or None for silence."""
        argv = [*self._inside, sys.executable, "-I", "-c", ASK, address, str(port), str(wait_s), data.hex()]
        said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.split()
        return (int(said[0]), bytes.fromhex(said[1])) if said else None

    @property
    def _inside(self) -> list[str]:
        return [tool("ip"), "netns", "exec", self.name]


def tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    return found or pytest.fail(f"{name} is not installed: this test needs the Debian package {TOOLS[name]}")


@contextlib.contextmanager
def serving(space: Space, argv: Sequence[str], port: int, question: bytes, log: Path) -> Iterator[None]:
    """The server runs and has answered `question`; it is ended by its pid."""
    process = space.start(argv, log)
    try:
        until = time.monotonic() + READY_S
        while space.ask(port, question, wait_s=0.2) is None:
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{argv[0]} does not answer: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@pytest.fixture(scope="module")
def space() -> Iterator[Space]:
    name, ip = f"rp-wire-{os.getpid()}", tool("ip")
    subprocess.run([ip, "netns", "add", name], check=True)
    try:
        subprocess.run([ip, "-n", name, "link", "set", "lo", "up"], check=True)
        yield Space(name)
    finally:
        subprocess.run([ip, "netns", "delete", name], check=True)


@pytest.fixture(scope="module")
def coturn(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    place = tmp_path_factory.mktemp("coturn")
    empty = place / "turnserver.conf"
    empty.touch()
    argv = [tool("turnserver"), "-c", str(empty), "-p", str(STUN_PORT), "-L", "127.0.0.1", "-L", "::1"]
    argv += ["--no-tls", "--no-dtls", "--no-cli", "--lt-cred-mech", "-u", "room:secret", "-r", "room.example"]
    argv += ["-l", "stdout", "--simple-log", "--pidfile", str(place / "pid"), "--userdb", str(place / "db")]
    with serving(space, argv, STUN_PORT, stun.binding_request(bytes(12)), place / "log"):
        yield


@pytest.fixture(scope="module")
def chrony(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    place = tmp_path_factory.mktemp("chrony")
    settings = ["local stratum 5", "allow", f"port {NTP_PORT}", "cmdport 0", "user root", f"pidfile {place}/pid"]
    settings += ["bindaddress 127.0.0.1", "bindcmdaddress /"]
    conf = place / "chrony.conf"
    conf.write_text("\n".join(settings) + "\n")
    argv = [tool("chronyd"), "-d", "-x", "-f", str(conf)]
    with serving(space, argv, NTP_PORT, ntp.request(b"readying"), place / "log"):
        yield


@pytest.mark.parametrize(("address", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_coturn_answers_our_stun(space: Space, coturn: None, address: str, shown: str) -> None:
    shape = SHAPES["stun"]
    found = space.ask(STUN_PORT, shape.build(SEED), address)
    assert found is not None
    port, data = found
    answer = shape.recognise(SEED, data)
    assert answer.valid
    assert answer.text.startswith(f"STUN success, mapped {shown}:{port} (Coturn")
    assert stun.decode(data).fingerprint_ok is True
    assert SHAPES["opaque"].recognise(SEED, data).text == f"looks like STUN, {len(data)} bytes"


def test_coturn_wants_credentials_for_an_allocation(space: Space, coturn: None) -> None:
    transaction = bytes(range(12))
    request = stun.encode(0x003, stun.Class.REQUEST, transaction, [(0x0019, b"\x11\0\0\0")])
    found = space.ask(STUN_PORT, request)
    assert found is not None
    message = stun.decode(found[1])
    assert (message.method, message.message_class, message.transaction) == (3, stun.Class.ERROR, transaction)
    assert stun.error_code(message.first(stun.ERROR_CODE) or b"")[0] == 401
    assert stun.text(message.first(stun.REALM) or b"") == "room.example"
    assert message.first(stun.NONCE)


def test_chrony_answers_our_ntp(space: Space, chrony: None) -> None:
    shape = SHAPES["ntp"]
    sent_at = time.time()
    found = space.ask(NTP_PORT, shape.build(SEED))
    assert found is not None
    data = found[1]
    assert shape.recognise(SEED, data) == Answer(valid=True, text="NTP stratum 5, refid 127.127.1.1")
    reply = ntp.decode(data)
    t2, t3 = ntp.unix_seconds(reply.receive, sent_at), ntp.unix_seconds(reply.transmit, sent_at)
    assert t2 is not None and t3 is not None
    assert sent_at <= t2 <= t3 <= time.time()
    assert SHAPES["opaque"].recognise(SEED, data).text == "looks like NTP, 48 bytes"


NATIVE = {"stun": STUN_PORT, "ntp": NTP_PORT}


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("name", SHAPES)
def test_nobody_answers_what_is_not_theirs(space: Space, coturn: None, chrony: None, name: str, native: str) -> None:
    if name != native:
        assert space.ask(NATIVE[native], SHAPES[name].build(SEED), wait_s=0.3) is None
    assert space.ask(NATIVE[native], SHAPES[native].build(SEED)), "the silence was that of a server that is gone"
