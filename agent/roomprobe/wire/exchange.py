"""ROOMPROBE/1: how two roomprobes know each other and measure the way between them; the page is docs/codec.md.

Lines of ASCII, ended by CRLF (a bare LF is read too), at most MOST_LINE bytes with their end; a parser takes the line with
its end or without. Both sides stand here: the client's lines, and those of the codec side (`roomprobe codec`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Literal

from roomprobe.model import Frozen
from roomprobe.wire.reader import Malformed

NAME = "ROOMPROBE/1"
GREETING = "roomprobe-codec/1"  # the Server header that the client must have seen before it sends a line
MOST_LINE = 200
LEAST_BLOCK = 32  # the longest header line of a block fits into the shortest block
MOST_BLOCK = 65_536
MOST_HOLD_S = 14_400
GRACE_S = 30  # a held connection may be idle for this much longer than was asked
MOST_CONNECTION = 10**15
MOST_PORTS = 16

State = Literal["open", "closed", "unknown"]
STATES: tuple[State, ...] = ("open", "closed", "unknown")
# Why the codec side ends an exchange: the word after ERROR.
ERROR_WORDS = {
    "line": "a line longer than 200 bytes",
    "hello": "a command before HELLO, or HELLO a second time",
    "command": "no command, or a value that it may not have",
}

_PADDING = b"."
_NONCE = re.compile(r"[0-9a-f]{16}")
_TOKEN = re.compile(r"[0-9a-z]{1,32}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,40}")


class Codec(Frozen, frozen=True, kw_only=True):
    """What the codec side says of itself, and where it sees us.

    `instance` is new at each of its starts; `connection` is its number of this connection, unique within a start.
    `address` (IPv6, no scope id) and `port` are the client's, as the codec side sees them.
    """

    instance: str
    connection: int
    version: str
    address: str
    port: int


class Hello(Frozen, frozen=True, kw_only=True):
    """The first line of an exchange."""

    nonce: str


class Ping(Frozen, frozen=True, kw_only=True):
    """Answered with the same token."""

    token: str


class Sink(Frozen, frozen=True, kw_only=True):
    """A block of `size` bytes, this line included, is on its way to the codec side."""

    size: int


class Source(Frozen, frozen=True, kw_only=True):
    """A block of `size` bytes, its first line included, is wanted from the codec side."""

    size: int


class Hold(Frozen, frozen=True, kw_only=True):
    """This connection is going to be idle for `seconds`."""

    seconds: int


class Alive(Frozen, frozen=True, kw_only=True):
    """Is that connection still open at the codec side?"""

    connection: int


class Ports(Frozen, frozen=True, kw_only=True):
    """On which ports does the codec side listen?"""


class Bye(Frozen, frozen=True, kw_only=True):
    """The codec side is to close."""


Command = Hello | Ping | Sink | Source | Hold | Alive | Ports | Bye


# --- the client's side ---------------------------------------------------------------------------------------------


def hello(nonce: str) -> bytes:
    """The first line; `nonce` is 16 lower-case hex digits."""
    return _line(NAME, "HELLO", _checked(_NONCE, nonce))


def parse_codec(line: bytes, nonce: str) -> Codec:
    """The answer to `hello`; Malformed when it is none, or answers another nonce."""
    words = _words(line)
    if len(words) != 8 or words[:2] != [NAME, "CODEC"]:
        raise Malformed("not a CODEC line")
    if words[2] != nonce:
        raise Malformed("answers another nonce")
    if not _NONCE.fullmatch(words[3]) or not _VERSION.fullmatch(words[5]):
        raise Malformed("no such instance or version")
    try:
        address = ipaddress.IPv6Address(words[6])
    except ValueError:
        raise Malformed("no such address") from None
    if address.scope_id is not None:
        raise Malformed("an address with a scope id")
    number, port = _number(words[4], 0, MOST_CONNECTION), _number(words[7], 1, 65_535)
    return Codec(instance=words[3], connection=number, version=words[5], address=str(address), port=port)


def ping(token: str) -> bytes:
    """A round trip; `token` is 1 to 32 of 0-9 and a-z."""
    return _line("PING", _checked(_TOKEN, token))


def parse_pong(line: bytes, token: str) -> bool:
    """Whether this answers `ping(token)`."""
    return _is(line, "PONG", token)


def sink(size: int) -> bytes:
    """A whole block of `size` bytes (LEAST_BLOCK to MOST_BLOCK), its first line included: to be written in one go."""
    return _block("SINK", size)


def parse_sunk(line: bytes, size: int) -> bool:
    """Whether this says that the block of `size` bytes arrived whole."""
    return _is(line, "SUNK", str(size))


def source(size: int) -> bytes:
    """Asks for a block of `size` bytes (LEAST_BLOCK to MOST_BLOCK)."""
    return _line("SOURCE", str(_within(size, LEAST_BLOCK, MOST_BLOCK)))


def parse_data(line: bytes, size: int) -> bool:
    """Whether this is the first line of the block that `source(size)` asks for; padding up to `size` bytes follows."""
    return _is(line, "DATA", str(size))


def hold(seconds: int) -> bytes:
    """Says that this connection will be idle for so long (1 to MOST_HOLD_S)."""
    return _line("HOLD", str(_within(seconds, 1, MOST_HOLD_S)))


def parse_held(line: bytes, seconds: int) -> bool:
    """Whether this answers `hold(seconds)`."""
    return _is(line, "HELD", str(seconds))


def alive(connection: int) -> bytes:
    """Asks, over any connection of ours, whether this one (`Codec.connection`) is still open at the codec side."""
    return _line("ALIVE", str(_within(connection, 0, MOST_CONNECTION)))


def parse_alive(line: bytes, connection: int) -> State:
    """The answer to `alive(connection)`; Malformed when it is none."""
    words = _words(line)
    state = next((state for state in STATES if words[2:] == [state]), None)
    if state is None or words[:2] != ["ALIVE", str(connection)]:
        raise Malformed("not an ALIVE line")
    return state


def ports() -> bytes:
    """Asks on which ports the codec side listens."""
    return _line("PORTS")


def parse_listening(line: bytes) -> tuple[int, ...]:
    """The answer to `ports()`, 1 to MOST_PORTS of them; Malformed when it is none."""
    words = _words(line)
    if words[0] != "PORTS" or not 2 <= len(words) <= MOST_PORTS + 1:
        raise Malformed("not a PORTS line")
    return tuple(_number(word, 1, 65_535) for word in words[1:])


def bye() -> bytes:
    """Asks the codec side to close."""
    return _line("BYE")


def parse_error(line: bytes) -> str | None:
    """The word with which the codec side ended the exchange (ERROR_WORDS), "unknown" for any other; None: no error."""
    try:
        words = _words(line)
    except Malformed:
        return None
    if len(words) != 2 or words[0] != "ERROR":
        return None
    return words[1] if words[1] in ERROR_WORDS else "unknown"


# --- the codec side ------------------------------------------------------------------------------------------------


def parse_command(line: bytes) -> Command:
    """One line of a client; Malformed when it is no command or has a value that it may not have."""
    match _words(line):
        case [name, "HELLO", nonce] if name == NAME and _NONCE.fullmatch(nonce):
            return Hello(nonce=nonce)
        case ["PING", token] if _TOKEN.fullmatch(token):
            return Ping(token=token)
        case ["SINK", size]:
            return Sink(size=_number(size, LEAST_BLOCK, MOST_BLOCK))
        case ["SOURCE", size]:
            return Source(size=_number(size, LEAST_BLOCK, MOST_BLOCK))
        case ["HOLD", seconds]:
            return Hold(seconds=_number(seconds, 1, MOST_HOLD_S))
        case ["ALIVE", connection]:
            return Alive(connection=_number(connection, 0, MOST_CONNECTION))
        case ["PORTS"]:
            return Ports()
        case ["BYE"]:
            return Bye()
    raise Malformed("no such command")


def codec(nonce: str, me: Codec) -> bytes:
    """Answers HELLO. `me.address` must be without scope id, `me.version` one word."""
    words = (me.instance, str(me.connection), _checked(_VERSION, me.version), me.address, str(me.port))
    return _line(NAME, "CODEC", _checked(_NONCE, nonce), *words)


def pong(token: str) -> bytes:
    """Answers PING."""
    return _line("PONG", _checked(_TOKEN, token))


def sunk(size: int) -> bytes:
    """Answers SINK, once all of the block was read."""
    return _line("SUNK", str(size))


def data(size: int) -> bytes:
    """Answers SOURCE: a whole block of `size` bytes, its first line included, to be written in one go."""
    return _block("DATA", size)


def held(seconds: int) -> bytes:
    """Answers HOLD."""
    return _line("HELD", str(seconds))


def aliveness(connection: int, state: State) -> bytes:
    """Answers ALIVE."""
    return _line("ALIVE", str(connection), state)


def listening(numbers: Sequence[int]) -> bytes:
    """Answers PORTS; at most MOST_PORTS of them."""
    return _line("PORTS", *(str(_within(number, 1, 65_535)) for number in numbers[:MOST_PORTS]))


def error(word: str) -> bytes:
    """The last line before the codec side closes because of what it was sent; a word of ERROR_WORDS."""
    if word not in ERROR_WORDS:
        raise ValueError("no such word")
    return _line("ERROR", word)


# --- lines ---------------------------------------------------------------------------------------------------------


def _line(*words: str) -> bytes:
    return " ".join(words).encode("ascii") + b"\r\n"


def _block(word: str, size: int) -> bytes:
    return _line(word, str(_within(size, LEAST_BLOCK, MOST_BLOCK))).ljust(size, _PADDING)


def _words(line: bytes) -> list[str]:
    """The words of one line, one blank apart; Malformed for anything that is not printable ASCII."""
    if len(line) > MOST_LINE:
        raise Malformed("a line too long")
    bare = line.removesuffix(b"\n").removesuffix(b"\r")
    if not all(0x20 <= byte < 0x7F for byte in bare):
        raise Malformed("not a line of printable ASCII")
    return bare.decode("ascii").split(" ")


def _is(line: bytes, *words: str) -> bool:
    try:
        return _words(line) == list(words)
    except Malformed:
        return False


def _number(word: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(word) or not least <= int(word) <= most:
        raise Malformed("no such number")
    return int(word)


def _within(number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise ValueError(f"from {least} to {most}")
    return number


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError("not of the form that this word has")
    return text
