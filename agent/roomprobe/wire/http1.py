"""HTTP/1.1 heads (RFC 9112), as much as the controller link needs: one request to send, heads of both sides to read.

A head is looked at again with every piece that arrives: None means "not complete yet", Malformed that it never will be.
What the far end wrote comes out escaped and bounded. Bodies are the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from roomprobe.model import Frozen
from roomprobe.text import escape
from roomprobe.wire.reader import Malformed

MOST_HEAD = 8 * 1024
MOST_FIELDS = 64
MOST_VALUE = 200
MOST_REASON = 60
MOST_LENGTH = 10**12
MOST_EMPTY = 4  # bytes of empty lines before a request
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}  # RFC 9110 section 15

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: (.*))?", re.DOTALL)  # section 4
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.([0-9])")  # section 3
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*(.*?)[ \t]*", re.DOTALL)  # section 5
# How a request begins: the method in capitals, as all registered ones are, and a blank.
_METHOD = re.compile(rb"[A-Z]{3,16} ")
_BEGINS = re.compile(rb"[A-Z]{0,16}")

Fields = tuple[tuple[str, str], ...]


class Head(Frozen, frozen=True, kw_only=True):
    """The head of an answer. `length` counts its bytes, the empty line included; the body begins there.

    `headers` are (lower-case name, value) in the order of the wire. `content_length` is None when the answer has none, or
    is sent in chunks (section 6.3). `server` is the Server header.
    """

    status: int
    reason: str
    headers: Fields
    length: int
    content_length: int | None
    server: str | None


class Request(Frozen, frozen=True, kw_only=True):
    """The head of a request. `target` is escaped and bounded; `keep_alive` says whether the connection may be used again.

    `body` says that the client sends one, which begins after `length` bytes.
    """

    method: str
    target: str
    headers: Fields
    length: int
    keep_alive: bool
    body: bool


def request(path: str, host: str, port: int | None = None) -> bytes:
    """`GET path` as the controller side sends it. `host` is a name or an address, whose scope id stays here.

    `port` stands in Host unless it is the scheme's own (RFC 9110 section 7.2): then it is None.
    """
    authority = f"[{host.partition('%')[0]}]" if ":" in host else host
    if port is not None:
        authority += f":{port}"
    lines = (f"GET {path} HTTP/1.1", f"Host: {authority}", "User-Agent: roomprobe", "Connection: keep-alive")
    return _head(lines)


def answer(status: int, fields: Sequence[tuple[str, str]] = (), body: bytes = b"", *, keep_alive: bool = True) -> bytes:
    """A whole answer with Content-Length; `status` is one of REASONS, `fields` are our own words."""
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", *(f"{name}: {value}" for name, value in fields)]
    lines.append(f"Content-Length: {len(body)}")
    lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    return _head(lines) + body


def parse_head(data: bytes) -> Head | None:
    """The head of the answer that `data` begins with; None while it is not complete; Malformed when it is none."""
    if not b"HTTP/1.".startswith(data[:7]):
        raise Malformed("not an HTTP/1 answer")
    found = _split(data)
    if found is None:
        return None
    lines, length = found
    first = _STATUS_LINE.fullmatch(lines[0])
    if first is None or b"\r" in lines[0] or b"\0" in lines[0]:
        raise Malformed("not a status line")
    headers = _fields(lines[1:])
    return Head(
        status=int(first[1]),
        reason=_text(first[2] or b"", MOST_REASON),
        headers=headers,
        length=length,
        content_length=_content_length(headers),
        server=next((value for name, value in headers if name == "server"), None),
    )


def is_request(data: bytes) -> bool | None:
    """Whether `data` begins as a request does; None while too little of it is there to tell."""
    begin = data.lstrip(b"\r\n")
    if len(data) - len(begin) > MOST_EMPTY:
        return False
    if _METHOD.match(begin):
        return True
    return None if _BEGINS.fullmatch(begin) else False


def parse_request(data: bytes) -> Request | None:
    """The head of the request that `data` begins with; None while it is not complete; Malformed when it is none."""
    empty = len(data) - len(data.lstrip(b"\r\n"))  # section 2.2: empty lines before a request are skipped
    if is_request(data) is False:
        raise Malformed("not an HTTP/1 request")
    found = _split(data[empty:])
    if found is None:
        return None
    lines, length = found
    first = _REQUEST_LINE.fullmatch(lines[0])
    if first is None:
        raise Malformed("not a request line")
    headers = _fields(lines[1:], folding=False)
    hosts = sum(name == "host" for name, _ in headers)
    latest = first[3] != b"0"
    if hosts > 1 or (latest and not hosts):
        raise Malformed("not one Host header")  # section 3.2
    options = {word.strip().lower() for name, value in headers if name == "connection" for word in value.split(",")}
    chunked = any(name == "transfer-encoding" for name, _ in headers)
    return Request(
        method=_text(first[1], 20),
        target=_text(first[2], MOST_VALUE),
        headers=headers,
        length=empty + length,
        keep_alive="close" not in options and (latest or "keep-alive" in options),  # section 9.3
        body=chunked or bool(_content_length(headers)),
    )


def dechunked(data: bytes) -> bytes | None:
    """The body of chunks that are all there (RFC 9112 7.1); None when they are not, Malformed when they are none."""
    body = b""
    while True:
        line, end, rest = data.partition(b"\r\n")
        if not end:
            return None
        digits = line.partition(b";")[0].strip()
        if not 1 <= len(digits) <= 8 or not all(c in b"0123456789abcdefABCDEF" for c in digits):
            raise Malformed("no chunk")
        size = int(digits, 16)
        if size == 0:
            return body
        if len(rest) < size + 2:
            return None
        body, data = body + rest[:size], rest[size + 2 :]


def _head(lines: Sequence[str]) -> bytes:
    if any(not line.isascii() or not line.isprintable() for line in lines):
        raise ValueError("a line of a head is printable ASCII")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


def _split(data: bytes) -> tuple[list[bytes], int] | None:
    """The lines of the head without the empty one, and its length; a bare LF ends a line too (section 2.2)."""
    end = re.search(rb"\r?\n\r?\n", data[:MOST_HEAD])
    if end is None:
        if len(data) >= MOST_HEAD:
            raise Malformed("a head too long")
        return None
    return [line.removesuffix(b"\r") for line in data[: end.start()].split(b"\n")], end.end()


def _fields(lines: Sequence[bytes], *, folding: bool = True) -> Fields:
    """The fields of a head; in an answer a folded line is one with a blank (section 5.2), in a request Malformed."""
    whole: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if not whole or not folding:
                raise Malformed("a folded field")
            whole[-1] += b" " + line.strip(b" \t")
        else:
            whole.append(line)
    if len(whole) > MOST_FIELDS:
        raise Malformed("too many fields")
    fields = []
    for line in whole:
        found = _FIELD.fullmatch(line)
        if found is None or any(bad in line for bad in (b"\r", b"\0")):  # RFC 9110 section 5.5
            raise Malformed("not a field")
        fields.append((found[1].decode("ascii").lower()[:MOST_VALUE], _text(found[2], MOST_VALUE)))
    return tuple(fields)


def _content_length(headers: Fields) -> int | None:
    """Section 6.3: none with a transfer coding; several are one when they say the same, else Malformed."""
    said = {one.strip() for name, value in headers if name == "content-length" for one in value.split(",")}
    if any(name == "transfer-encoding" for name, _ in headers) or not said:
        return None
    number = said.pop()
    if said or not number.isascii() or not number.isdigit() or len(number) > 15 or int(number) > MOST_LENGTH:
        raise Malformed("no such Content-Length")
    return int(number)


def _text(value: bytes, limit: int) -> str:
    return escape(value.decode("utf-8", "backslashreplace"), limit)
