"""What strangers cannot do to `roomprobe codec`: slow senders, scans, garbage, thousands of connects, and never reading.

After each of them a good client is served, and the process holds no more than before.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomprobe.farend import channel, limits, serve
from roomprobe.farend.guest import Emulator, Guest, Over
from roomprobe.farend.journal import Visit
from roomprobe.farend.limits import MOST_PER_PEER, MOST_UNKNOWN, PORTS, REMEMBERED

from .running import NONCE, PATIENCE_S, Codec, connected, greet, in_tls, line, rest

GROWTH_KIB = 8 * 1024  # what Python may keep for itself; a leak of ten thousand connections is many times that


def serves(codec: Codec) -> None:
    """A good client on each port."""
    for port in PORTS:
        with in_tls(codec) if port == 443 else connected(codec, port) as sock:
            assert greet(sock)[1] == "CODEC"
            sock.sendall(b"PING a\r\nBYE\r\n")
            assert rest(sock) == b"PONG a\r\n"


@pytest.fixture
def steady(codec: Codec) -> Iterator[None]:
    """Before: what the process holds once it is warm. After: as much, but for a little, and it serves."""
    for _ in range(20):
        serves(codec)
    files, memory = codec.files(), codec.memory_kib()
    yield
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            serves(codec)
        except ConnectionError:  # what is still closing counts towards the limit of this very peer
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            break
    while codec.files() > files and time.monotonic() < until:  # the last ones are closing
        time.sleep(0.05)
    assert codec.files() <= files
    assert codec.memory_kib() - memory < GROWTH_KIB
    assert codec.process.poll() is None


# A port, how a slow sender begins, what it adds every half second, and the word for why it was closed.
SLOW = {
    "a byte of TLS": (443, b"\x16", b"", "slow"),
    "half a ClientHello": (443, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0", "slow"),
    "plain HTTP to TLS": (443, b"GET / HTTP/1.1\r\n", b"a", "unknown"),
    "half a method": (23456, b"G", b"E", "slow"),
    "half a head": (23456, b"GET /auth HTTP/1.1\r\nHost: a\r\nX-a: b\r\n", b"a", "slow"),
    "half a greeting": (69, b"ROOMPROBE/1 HEL", b"0", "slow"),
    "half a word": (5000, b"ROOM", b"", "slow"),
    "empty lines": (5152, b"\r\n", b"", "slow"),
    "something else": (5152, b"\x00", b"\x00", "unknown"),
}


def test_slow_senders_are_closed_on_every_port() -> None:
    # A process of its own: each of its connections gets a line.
    with Codec("--interface", "lo") as codec, contextlib.ExitStack() as stack:
        codec.wait("started")
        socks = {name: stack.enter_context(connected(codec, port)) for name, (port, *_) in SLOW.items()}
        ports = {name: sock.getsockname()[1] for name, sock in socks.items()}
        greeted, secure = stack.enter_context(connected(codec, 69)), stack.enter_context(in_tls(codec))
        greet(greeted)
        greeted.sendall(b"SINK 65")
        secure.sendall(b"GET / HT")
        for name, (_, begin, _, _) in SLOW.items():
            socks[name].sendall(begin)
        while socks:
            for name, sock in list(socks.items()):
                try:
                    sock.send(SLOW[name][2], socket.MSG_DONTWAIT)
                    ended = sock.recv(4096, socket.MSG_DONTWAIT) == b""
                except BlockingIOError:
                    continue
                except OSError:
                    ended = True
                if ended:
                    del socks[name]
            time.sleep(0.5)
        for name, port in ports.items():
            event = codec.closed(port)
            assert (event["by"], event["why"]) == ("codec", SLOW[name][3]), name
        for other in (greeted, secure):
            assert rest(other) == b""
            assert codec.closed(other.getsockname()[1])["why"] == "slow"
        serves(codec)


@pytest.mark.parametrize("port", PORTS)
def test_garbage_on_every_port(codec: Codec, steady: None, port: int) -> None:
    chance = random.Random(port)  # the same bytes at each run
    for size in (1, 2, 5, 100, 5_000, 3 * MOST_UNKNOWN):
        with connected(codec, port) as sock, contextlib.suppress(OSError):
            sock.sendall(chance.randbytes(size))
            sock.shutdown(socket.SHUT_WR)
            rest(sock)


PIECES = st.sampled_from(
    [b"ROOMPROBE/1 ", b"HELLO ", NONCE.encode(), b"\r\n", b"\n", b"PING a", b"SINK 32", b"SOURCE 64", b"ALIVE 1", b"HOLD 1", b"BYE",
     b"GET /auth HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\n", b"Content-Length: 5\r\n\r\n", b"\x16\x03\x01", b"\0", b" " * 40]
)  # fmt: skip


@given(port=st.sampled_from(PORTS), pieces=st.lists(PIECES | st.binary(max_size=20), max_size=12), secure=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_of_protocols(codec: Codec, port: int, pieces: list[bytes], secure: bool) -> None:
    with in_tls(codec) if port == 443 and secure else connected(codec, port) as sock, contextlib.suppress(OSError):
        sock.sendall(b"".join(pieces))
        with contextlib.suppress(ValueError):
            sock = sock.unwrap() if isinstance(sock, ssl.SSLSocket) else sock
        sock.shutdown(socket.SHUT_WR)
        rest(sock)
    assert codec.process.poll() is None


def test_pieces_of_protocols_left_it_well(codec: Codec, steady: None) -> None:
    """The property test before this one cannot ask after each example."""


def test_ten_thousand_connects(codec: Codec, steady: None) -> None:
    for number in range(10_000):
        with socket.socket(socket.AF_INET6) as sock:
            sock.connect(("::1", codec.at(PORTS[number % 5])))
            if number % 3 == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            elif number % 7 == 0:
                sock.send(b"x")
    told = 0
    while told < 9_000:  # the rest got lines of their own
        told += codec.wait("more")["connections"]


def test_no_more_than_so_many_from_one_address() -> None:
    # A process of its own: of those before, some may be closing still.
    with Codec("--interface", "lo") as codec, contextlib.ExitStack() as stack:
        codec.wait("started")
        mine = [stack.enter_context(connected(codec, 69)) for _ in range(MOST_PER_PEER)]
        for sock in mine:
            assert greet(sock)[1] == "CODEC"
        for port in PORTS:
            with connected(codec, port) as sock:
                assert rest(sock) == b"", "over the limit: accepted, and closed without a word"
                refused = codec.wait("refused", source_port=sock.getsockname()[1])
                assert (refused["why"], refused["stands_for"]) == ("peer-limit", port)
        mine[0].sendall(b"PING a\r\n")
        assert line(mine[0]) == b"PONG a\r\n"
        mine[1].sendall(b"BYE\r\n")
        assert rest(mine[1]) == b""
        mine[1].close()
        codec.wait("closed", why="bye")
        with connected(codec, 5000) as sock:
            assert greet(sock)[1] == "CODEC", "a place is free again"


def test_who_never_reads_keeps_nobody_waiting(codec: Codec, steady: None) -> None:
    with connected(codec, 69) as greedy, connected(codec, 5000) as good:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greet(greedy)
        greet(good)
        greedy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                greedy.send(b"SOURCE 65536\r\n" * 50)
        for _ in range(20):
            good.sendall(b"PING a\r\n")
            assert line(good) == b"PONG a\r\n"


@pytest.mark.parametrize("block", [b"PING a\r\n" * 10_000, b"SINK 65536\r\n".ljust(65_536, b".")], ids=["ping", "sink"])
def test_who_sends_without_end_keeps_nobody_waiting(codec: Codec, steady: None, block: bytes) -> None:
    over = threading.Event()

    def flood(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                sock.sendall(block)

    with connected(codec, 69) as busy, connected(codec, 5000) as good:
        greet(busy)
        greet(good)
        hands = [threading.Thread(target=one, args=(busy,), daemon=True) for one in (flood, rest)]
        for hand in hands:
            hand.start()
        try:
            for _ in range(20):
                good.sendall(b"PING a\r\n")
                assert line(good) == b"PONG a\r\n"
        finally:
            over.set()
            busy.shutdown(socket.SHUT_RDWR)
            for hand in hands:
                hand.join()


def test_a_scan_of_all_ports_with_many_hands(codec: Codec, steady: None) -> None:
    for _ in range(40):
        socks = [socket.socket(socket.AF_INET6) for _ in range(100)]
        for number, sock in enumerate(socks):
            sock.setblocking(False)
            sock.connect_ex(("::1", codec.at(PORTS[number % 5])))
        for sock in socks:
            sock.close()


# --- limits that would take minutes, with the real sockets and shorter waits ---------------------------------------


def _emulator() -> Emulator:
    return Emulator(version="0", instance="0" * 16, salt="00", context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


async def _served(
    port: int, idle_s: float, sent: bytes, monkeypatch: pytest.MonkeyPatch | None = None
) -> tuple[Over, Guest]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(sent)
        one = Guest(channel.Channel(ours), Visit(1, "fe80::1%eth0", 40_000, port, port), lambda _: None, idle_s)
        with pytest.raises(Over) as caught:
            await serve.serve(one, _emulator())
        return caught.value, one


@pytest.mark.parametrize("port", PORTS)
async def test_nothing_at_all_for_too_long(port: int) -> None:
    over, _ = await _served(port, 0.05, b"")
    assert (over.by, over.why) == ("codec", "idle")


async def test_idle_between_requests_and_between_commands() -> None:
    over, _ = await _served(23456, 0.05, b"GET /auth HTTP/1.1\r\nHost: a\r\n\r\n")
    assert over.why == "idle"
    over, _ = await _served(69, 0.05, f"ROOMPROBE/1 HELLO {NONCE}\r\nPING a\r\n".encode())
    assert over.why == "idle"


async def test_hold_is_how_long_a_connection_may_be_idle() -> None:
    over, held = await _served(69, 0.05, f"ROOMPROBE/1 HELLO {NONCE}\r\nHOLD 60\r\nBYE\r\n".encode())
    assert (over.why, held.idle_s) == ("bye", 90)


async def test_who_does_not_read_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomprobe.farend.measure.BLOCK_S", 0.05)
    asked = f"ROOMPROBE/1 HELLO {NONCE}\r\n".encode() + b"SOURCE 65536\r\n" * 100
    over, _ = await _served(69, 5.0, asked)
    assert (over.by, over.why) == ("codec", "unread")


async def test_half_a_block_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomprobe.farend.measure.BLOCK_S", 0.05)
    over, _ = await _served(69, 5.0, f"ROOMPROBE/1 HELLO {NONCE}\r\nSINK 5000\r\nxxxx".encode())
    assert (over.by, over.why) == ("codec", "slow")


def test_closed_connections_are_remembered_but_not_for_ever() -> None:
    emulator = _emulator()
    for number in range(2 * REMEMBERED):
        emulator.met[number] = "fe80::1%eth0"
        emulator.forget(number)
    assert len(emulator.gone) == REMEMBERED and not emulator.met
    assert emulator.state(2 * REMEMBERED - 1, "fe80::1%eth0") == "closed"
    assert emulator.state(2 * REMEMBERED - 1, "fe80::1%eth1") == "unknown", "another peer"
    assert emulator.state(0, "fe80::1%eth0") == "unknown", "too long ago"
    emulator.forget(99_999)


def test_limits_are_those_of_the_page() -> None:
    assert (limits.IDLE_S, limits.HEAD_S, limits.MOST_CONNECTIONS, MOST_PER_PEER) == (120, 5, 256, 32)
