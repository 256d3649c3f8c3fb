"""What `roomprobe codec` does on each port, asked over real sockets by ssl, curl and openssl."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess

import pytest

from roomprobe import __version__
from roomprobe.farend.limits import CHUNK, MOST_UNKNOWN, PORTS
from roomprobe.wire import auth

from .running import NONCE, Codec, connected, exactly, greet, head, in_tls, line, rest

QUIET = (69, 5000, 5152)
GET = "GET {} HTTP/1.1\r\nHost: [::1]\r\n\r\n"


def ask(sock: socket.socket, path: str) -> tuple[int, dict[str, str], bytes]:
    sock.sendall(GET.format(path).encode())
    return head(sock)


# --- 443 -----------------------------------------------------------------------------------------------------------


def test_tls_with_the_certificate_that_was_announced(codec: Codec) -> None:
    started = codec.seen[0]
    with in_tls(codec) as sock:
        der = sock.getpeercert(binary_form=True)
        assert der is not None and hashlib.sha256(der).hexdigest() == started["fingerprint"]
        status, fields, body = ask(sock, "/")
        assert (status, fields["server"]) == (200, "roomprobe-codec/1")
        assert fields["content-type"].startswith("text/html") and body.startswith(b"<!doctype html>")
        status, fields, body = ask(sock, "/auth")
        assert (status, fields["server"], body) == (404, "roomprobe-codec/1", b"")
        assert ask(sock, "/")[0] == 200, "the connection is kept"
        mine = sock.getsockname()[1]
    assert codec.wait("saw", source_port=mine, kind="tls")["stands_for"] == 443
    closed = codec.wait("closed", source_port=mine)
    assert closed["kinds"] == ["tls", "http-root", "http-other"]
    assert (closed["by"], closed["why"], closed["requests"]) == ("client", "end", 3)


def test_plain_http_on_443_is_not_answered(codec: Codec) -> None:
    with connected(codec, 443) as sock:
        sock.sendall(GET.format("/").encode())
        sock.shutdown(socket.SHUT_WR)
        assert rest(sock) == b""
        mine = sock.getsockname()[1]
    assert codec.wait("closed", source_port=mine)["kinds"] == ["http"]


@pytest.mark.parametrize("bad", [b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x03\xff\xff" + b"x" * 100])
def test_a_handshake_that_is_none(codec: Codec, bad: bytes) -> None:
    with connected(codec, 443) as sock:
        sock.sendall(bad)
        sock.shutdown(socket.SHUT_WR)
        rest(sock)
        mine = sock.getsockname()[1]
    assert codec.wait("closed", source_port=mine)["kinds"] == ["tls-failed"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(codec: Codec) -> None:
    secure = subprocess.run(
        ["curl", "-6skgi", "--noproxy", "*", f"https://[::1]:{codec.at(443)}/"], capture_output=True, text=True, timeout=30, check=True
    )  # fmt: skip
    assert "Server: roomprobe-codec/1" in secure.stdout and "<!doctype html>" in secure.stdout
    plain = subprocess.run(
        ["curl", "-6sg", "--noproxy", "*", f"http://[::1]:{codec.at(23456)}/auth"], capture_output=True, timeout=30, check=True
    )  # fmt: skip
    assert auth.parse(plain.stdout).iterations >= 1
    posted = ["curl", "-6sgi", "--noproxy", "*", "-d", "password=x", f"http://[::1]:{codec.at(23456)}/auth"]
    answer = subprocess.run(posted, capture_output=True, text=True, timeout=30, check=True)
    assert answer.stdout.startswith("HTTP/1.1 405") and "Connection: close" in answer.stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl(codec: Codec, version: str) -> None:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"[::1]:{codec.at(443)}", version, "-quiet", "-verify_quiet"],
        input=b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.startswith(b"HTTP/1.1 200") and done.stdout.endswith(b"</html>\n"), done.stderr


# --- 23456 ---------------------------------------------------------------------------------------------------------


def test_auth(codec: Codec) -> None:
    with connected(codec, 23456) as sock:
        status, fields, body = ask(sock, "/auth")
        assert (status, fields["server"], fields["content-type"]) == (200, "roomprobe-codec/1", "application/json")
        assert set(json.loads(body)) == {"salt", "iterations", "challenge", "authenticated"}
        first = auth.parse(body)
        again = auth.parse(ask(sock, "/auth?challenge=00&response=00")[2])
        mine = sock.getsockname()[1]
    assert bytes.fromhex(first.challenge) != bytes.fromhex(again.challenge)
    assert first.salt == again.salt and not first.authenticated and not again.authenticated
    assert codec.wait("closed", source_port=mine)["kinds"] == ["http-auth"]


ANSWERS = {
    "another path": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404, "keep-alive"),
    "another method": (b"DELETE /auth HTTP/1.1\r\nHost: a\r\n\r\n", 405, "keep-alive"),
    "a method and a body": (b"POST /auth HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405, "close"),
    "to be closed": (b"GET /auth HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, "close"),
    "HTTP/1.0": (b"GET /auth HTTP/1.0\r\n\r\n", 200, "close"),
    "no host": (b"GET /auth HTTP/1.1\r\n\r\n", 400, "close"),
    "no version": (b"GET /auth\r\n\r\n", 400, "close"),
    "a head too long": (b"GET /auth HTTP/1.1\r\nHost: " + b"a" * 9000, 400, "close"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(codec: Codec, name: str) -> None:
    asked, status, connection = ANSWERS[name]
    with connected(codec, 23456) as sock:
        sock.sendall(asked)
        found, fields, _ = head(sock)
        assert (found, fields["connection"], fields["server"]) == (status, connection, "roomprobe-codec/1")
        assert fields.get("allow") == ("GET" if status == 405 else None)
        if connection == "close":
            assert rest(sock) == b""
        else:
            assert ask(sock, "/auth")[0] == 200


def test_requests_in_one_piece_are_answered_in_turn(codec: Codec) -> None:
    with connected(codec, 23456) as sock:
        sock.sendall(GET.format("/auth").encode() * 3 + GET.format("/x").encode())
        assert [head(sock)[0] for _ in range(4)] == [200, 200, 200, 404]


# --- the quiet ports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", QUIET)
def test_a_quiet_port_never_speaks_first_and_counts(codec: Codec, port: int) -> None:
    with connected(codec, port) as sock:
        sock.sendall(b"\x00\x01octet\x00")
        sock.shutdown(socket.SHUT_WR)
        assert rest(sock) == b""
        mine = sock.getsockname()[1]
    closed = codec.wait("closed", source_port=mine)
    assert (closed["port"], closed["stands_for"]) == (codec.at(port), port)
    assert (closed["kinds"], closed["received"], closed["sent"]) == (["unknown"], 8, 0)


@pytest.mark.parametrize(
    ("sent", "kind"), [(GET.format("/").encode(), "http"), (b"\x16\x03\x01\x02\x00\x01", "tls-hello")]
)
def test_what_came_to_a_quiet_port_is_named(codec: Codec, sent: bytes, kind: str) -> None:
    with connected(codec, 5000) as sock:
        sock.sendall(sent)
        mine = sock.getsockname()[1]
        assert codec.wait("saw", source_port=mine)["kind"] == kind
        sock.shutdown(socket.SHUT_WR)
        assert rest(sock) == b""


@pytest.mark.parametrize("port", PORTS)
def test_a_connection_without_a_word(codec: Codec, port: int) -> None:
    with connected(codec, port) as sock:
        mine = sock.getsockname()[1]
        assert codec.wait("connected", source_port=mine)["address"] == "::1"
    closed = codec.wait("closed", source_port=mine)
    assert (closed["kinds"], closed["by"], closed["why"]) == (["nothing"], "client", "end")


@pytest.mark.parametrize("port", PORTS)
def test_bytes_of_no_known_kind_are_counted_but_not_without_end(codec: Codec, port: int) -> None:
    with connected(codec, port) as sock:
        mine = sock.getsockname()[1]
        with pytest.raises(ConnectionError):
            while True:
                sock.sendall(b"\0" * 65_536)
    closed = codec.wait("closed", source_port=mine)
    assert (closed["why"], closed["kinds"], closed["sent"]) == ("unknown", ["unknown"], 0)
    assert MOST_UNKNOWN <= closed["received"] < MOST_UNKNOWN + CHUNK


def test_a_reset_is_told_from_a_close(codec: Codec) -> None:
    with connected(codec, 69) as sock:
        mine = sock.getsockname()[1]
        codec.wait("connected", source_port=mine)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    assert codec.wait("closed", source_port=mine)["why"] == "reset"


# --- the exchange --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", PORTS)
def test_the_exchange_on_every_port(codec: Codec, port: int) -> None:
    started = codec.seen[0]
    opened = in_tls(codec) if port == 443 else connected(codec, port)
    with opened as sock:
        if port in (443, 23456):
            assert ask(sock, "/" if port == 443 else "/auth")[0] == 200
        words = greet(sock)
        mine = sock.getsockname()[1]
        assert words[:4] == ["ROOMPROBE/1", "CODEC", NONCE, started["instance"]]
        assert words[5:] == [__version__, "::1", str(mine)]
        number = int(words[4])
        sock.sendall(b"PING abc\n")
        assert line(sock) == b"PONG abc\r\n"
        for size in (32, 1440, 65_536):
            sock.sendall(f"SINK {size}\r\n".encode().ljust(size, b"."))
            assert line(sock) == f"SUNK {size}\r\n".encode()
            sock.sendall(f"SOURCE {size}\r\n".encode())
            block = exactly(sock, size)
            assert len(block) == size and block.startswith(f"DATA {size}\r\n".encode())
        sock.sendall(f"HOLD 14400\r\nALIVE {number}\r\nALIVE 999999\r\nPORTS\r\nBYE\r\n".encode())
        listening = " ".join(str(port["port"]) for port in started["ports"])
        wanted = f"HELD 14400\r\nALIVE {number} open\r\nALIVE 999999 unknown\r\nPORTS {listening}\r\n"
        assert rest(sock) == wanted.encode()
    closed = codec.wait("closed", connection=number)
    assert (closed["why"], closed["kinds"][-1], closed["commands"]) == ("bye", "exchange", 12)


def test_it_says_on_which_ports_it_listens(codec: Codec) -> None:
    with connected(codec, 5000) as sock:
        greet(sock)
        sock.sendall(b"PORTS\r\n")
        assert line(sock).decode().split() == ["PORTS", *(str(codec.at(port)) for port in PORTS)]


def test_two_connections_have_two_numbers_and_know_of_each_other(codec: Codec) -> None:
    with connected(codec, 69) as one, connected(codec, 5000) as two:
        first, second = greet(one)[4], greet(two)[4]
        assert first != second
        two.sendall(f"ALIVE {first}\r\n".encode())
        assert line(two) == f"ALIVE {first} open\r\n".encode()
        one.close()
        codec.wait("closed", connection=int(first))
        two.sendall(f"ALIVE {first}\r\n".encode())
        assert line(two) == f"ALIVE {first} closed\r\n".encode()


def test_a_connection_that_never_said_hello_is_unknown(codec: Codec) -> None:
    with connected(codec, 69) as quiet, connected(codec, 69) as sock:
        number = codec.wait("connected", source_port=quiet.getsockname()[1])["connection"]
        greet(sock)
        sock.sendall(f"ALIVE {number}\r\n".encode())
        assert line(sock) == f"ALIVE {number} unknown\r\n".encode()


BAD = {
    "no hello": (b"ROOMPROBE/1 PING a\r\n", b"", b"ERROR command\r\n"),
    "a bad nonce": (b"ROOMPROBE/1 HELLO 0123\r\n", b"", b"ERROR command\r\n"),
    "another version": (b"ROOMPROBE/2 HELLO 0123456789abcdef\r\n", b"", b"ERROR command\r\n"),
    "a long first line": (b"ROOMPROBE/1 HELLO " + b"0" * 300, b"", b"ERROR line\r\n"),
    "hello again": (b"", f"ROOMPROBE/1 HELLO {NONCE}\r\n".encode(), b"ERROR hello\r\n"),
    "no command": (b"", b"GET / HTTP/1.1\r\n\r\n", b"ERROR command\r\n"),
    "a block too large": (b"", b"SINK 65537\r\n", b"ERROR command\r\n"),
    "a line too long": (b"", b"P" * 300, b"ERROR line\r\n"),
    "bytes": (b"", b"\x00\xff\n", b"ERROR command\r\n"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_command_is_an_error_and_the_end(codec: Codec, name: str) -> None:
    first, later, answer = BAD[name]
    with connected(codec, 5152) as sock:
        if first:
            sock.sendall(first)
        else:
            greet(sock)
            sock.sendall(later)
        mine = sock.getsockname()[1]
        assert rest(sock) == answer
    assert codec.wait("closed", source_port=mine)["why"] == "error"


def test_our_last_words_are_not_lost_to_what_was_not_read(codec: Codec) -> None:
    with connected(codec, 5152) as sock:
        greet(sock)
        sock.sendall(b"NOTHING\r\n".ljust(40_000, b"x"))
        assert line(sock) == b"ERROR command\r\n"
        assert sock.recv(1) == b"", "closed, not reset"


def test_a_line_in_pieces(codec: Codec) -> None:
    with connected(codec, 69) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f"ROOMPROBE/1 HELLO {NONCE}\r\n".encode():
            sock.send(bytes((byte,)))
        assert line(sock).startswith(b"ROOMPROBE/1 CODEC")


def test_ipv4_finds_nobody(codec: Codec) -> None:
    with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(("127.0.0.1", codec.at(69)))
