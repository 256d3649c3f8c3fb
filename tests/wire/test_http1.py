"""HTTP/1 heads of both sides: what is sent, tables of what is read and of what is not, and any bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomprobe.wire import http1
from roomprobe.wire.reader import Malformed

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: roomprobe-codec/1\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
)
REQUEST = b"GET /auth HTTP/1.1\r\nHost: [fe80::1]:23456\r\nUser-Agent: panel\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [
        ("fe80::1%eth0", None, "[fe80::1]"),
        ("fe80::1%eth0", 23_456, "[fe80::1]:23456"),
        ("fd00::5", None, "[fd00::5]"),
        ("codec.local", 8080, "codec.local:8080"),
    ],
)
def test_a_request_is_built_and_read(host: str, port: int | None, authority: str) -> None:
    data = http1.request("/auth", host, port)
    assert data == (
        f"GET /auth HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: roomprobe\r\nConnection: keep-alive\r\n\r\n".encode()
    )
    found = http1.parse_request(data)
    assert found is not None
    assert (found.method, found.target, found.length) == ("GET", "/auth", len(data))
    assert found.keep_alive and not found.body
    assert dict(found.headers)["host"] == authority


@pytest.mark.parametrize("path", ["/a\r\nX: y", "/é", "/\0"])
def test_a_line_cannot_be_smuggled_into_a_request(path: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        http1.request(path, "fd00::5")


@pytest.mark.parametrize("status", http1.REASONS)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_an_answer_is_built_and_read(status: int, keep_alive: bool) -> None:
    data = http1.answer(status, [("Server", "roomprobe-codec/1")], b"<p>", keep_alive=keep_alive)
    head = http1.parse_head(data)
    assert head is not None
    assert (head.status, head.reason, head.content_length) == (status, http1.REASONS[status], 3)
    assert head.server == "roomprobe-codec/1"
    assert data[head.length :] == b"<p>"
    assert dict(head.headers)["connection"] == ("keep-alive" if keep_alive else "close")


def test_a_head_comes_in_pieces() -> None:
    length = ANSWER.index(b"hello")
    for size in range(length):
        assert http1.parse_head(ANSWER[:size]) is None
    for size in range(length, len(ANSWER) + 1):
        head = http1.parse_head(ANSWER[:size])
        assert head is not None
        assert (head.length, head.content_length, head.server) == (length, 5, "roomprobe-codec/1")
    for size in range(len(REQUEST)):
        assert http1.parse_request(REQUEST[:size]) is None


HEADS: dict[str, tuple[bytes, dict[str, object]]] = {
    "bare line feeds": (b"HTTP/1.1 200 OK\nA: b\n\n", {"headers": (("a", "b"),), "length": 22}),
    "no reason": (b"HTTP/1.1 204 \r\n\r\n", {"status": 204, "reason": ""}),
    "neither reason nor blank": (b"HTTP/1.0 302\r\n\r\n", {"status": 302, "reason": ""}),
    "a folded field": (b"HTTP/1.1 200 OK\r\nA: b\r\n \t c\r\n\r\n", {"headers": (("a", "b c"),)}),
    "blanks around": (b"HTTP/1.1 200 OK\r\nA:\t b \t\r\nB:\r\n\r\n", {"headers": (("a", "b"), ("b", ""))}),
    "control characters": (b"HTTP/1.1 200 \x1b[31m\r\nServer: \xff\x07\r\n\r\n", {"reason": "\\x1b[31m", "server": "\\xff\\x07"}),
    "the first server": (b"HTTP/1.1 200 OK\r\nSERVER: a\r\nserver: b\r\n\r\n", {"server": "a"}),
    "no server": (b"HTTP/1.1 200 OK\r\n\r\n", {"server": None, "content_length": None}),
    "one length twice": (b"HTTP/1.1 200 OK\r\nContent-Length: 7, 7\r\nContent-Length: 7\r\n\r\n", {"content_length": 7}),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        {"content_length": None},
    ),
    "a long value": (b"HTTP/1.1 200 OK\r\nServer: " + b"x" * 1000 + b"\r\n\r\n", {"server": "x" * 199 + "…"}),
    "64 fields": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 64 + b"\r\n", {"headers": (("a", "b"),) * 64}),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_read(name: str) -> None:
    data, wanted = HEADS[name]
    head = http1.parse_head(data)
    assert {key: getattr(head, key) for key in wanted} == wanted


BAD_HEADS = {
    "another protocol": b"SSH-2.0-x",
    "a first byte": b"\x16",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a short status": b"HTTP/1.1 20\r\n\r\n",
    "a status with a zero": b"HTTP/1.1 020 OK\r\n\r\n",
    "two blanks": b"HTTP/1.1  200 OK\r\n\r\n",
    "a carriage return inside": b"HTTP/1.1 200 O\rK\r\n\r\n",
    "folded first": b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    "a zero byte": b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
    "65 fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 65 + b"\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    "digits of another script": "HTTP/1.1 200 OK\r\nContent-Length: ٣\r\n\r\n".encode(),
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "no end": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 8192,
    "an end too late": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 8192 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_head_is_malformed(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        http1.parse_head(BAD_HEADS[name])
    assert len(str(caught.value)) < 100


REQUESTS: dict[str, tuple[bytes, dict[str, object]]] = {
    "an empty line before": (b"\r\n" + REQUEST, {"target": "/auth", "length": len(REQUEST) + 2}),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", {"keep_alive": False}),
    "HTTP/1.0, kept": (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", {"keep_alive": True}),
    "to be closed": (b"GET / HTTP/1.1\r\nHost:\r\nConnection: x, Close\r\n\r\n", {"keep_alive": False}),
    "a body": (b"POST /auth HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", {"body": True, "method": "POST"}),
    "an empty body": (b"POST /auth HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", {"body": False}),
    "chunks": (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", {"body": True}),
    "a query": (b"GET /auth?challenge=1 HTTP/1.1\r\nHost: a\r\n\r\n", {"target": "/auth?challenge=1"}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read(name: str) -> None:
    data, wanted = REQUESTS[name]
    found = http1.parse_request(data)
    assert {key: getattr(found, key) for key in wanted} == wanted


BAD_REQUESTS = {
    "a TLS ClientHello": b"\x16\x03\x01",
    "the exchange": b"ROOMPROBE/1 HELLO",
    "small letters": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
    "a blank in the target": b"GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character": b"GET /\x07 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a folded field": b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    "a blank before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "many empty lines": b"\r\n" * 3,
    "too long": b"GET /" + b"a" * 8192,
    "a long word": b"A" * 17,
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_malformed(name: str) -> None:
    with pytest.raises(Malformed):
        http1.parse_request(BAD_REQUESTS[name])


def test_how_a_request_begins() -> None:
    assert http1.is_request(b"GET /") is True
    assert http1.is_request(b"\r\nDELETE ") is True
    assert all(http1.is_request(part) is None for part in (b"", b"G", b"GET", b"\r\nGET", b"ROOMPROBE"))
    assert not any(http1.is_request(part) for part in (b"\0", b"\r\n" * 3, b"GET\0", b"ROOMPROBE/", b"A ", b"g"))


PARSERS: dict[str, Callable[[bytes], object]] = {
    "answer": http1.parse_head,
    "request": http1.parse_request,
    "begin": http1.is_request,
}
PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"\r\n",
        b"\n",
        b"\r",
        b": ",
        b"Host",
        b"Content-Length",
        b"5",
        b"GET / HTTP/1.1",
        b" ",
        b"\0",
        b"\xff",
    ]
)


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=400) | st.lists(PIECES, max_size=14).map(b"".join))
@example(data=b"")
def test_any_bytes(name: str, data: bytes) -> None:
    try:
        PARSERS[name](data)
    except Malformed as error:
        assert len(str(error)) < 100


@pytest.mark.parametrize("name", ["answer", "request"])
def test_every_byte_changed(name: str) -> None:
    sample = ANSWER if name == "answer" else REQUEST
    for place in range(len(sample)):
        for new in (0, 10, 13, 32, 58, 0x7F, 0x80, 0xFF):
            try:
                PARSERS[name](sample[:place] + bytes((new,)) + sample[place + 1 :])
            except Malformed:
                pass


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n", b"abcde"),
        (b"A\r\n0123456789\r\n0\r\n", b"0123456789"),
        (b"3\r\nabc\r\n", None),
        (b"3\r\nab", None),
        (b"3", None),
        (b"", None),
    ],
)
def test_chunks_are_put_together(data: bytes, body: bytes | None) -> None:
    assert http1.dechunked(data) == body


@pytest.mark.parametrize("data", [b"\r\n", b"x\r\n", b"-1\r\n", b"123456789\r\n", b"{}\r\n"])
def test_what_is_no_chunk_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        http1.dechunked(data)
