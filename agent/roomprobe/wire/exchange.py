"""ROOMPROBE/1: how two roomprobes know each other and measure the way between them; the page is docs/codec.md.

Lines of ASCII, ended by CRLF (a bare LF is read too), at most MOST_LINE bytes with their end; a parser takes the line with
its end or without. Here stands what both sides share; the client's lines are in asking.py, those of the codec side in answering.py.
"""

from __future__ import annotations

import re
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

NONCE = re.compile(r"[0-9a-f]{16}")
TOKEN = re.compile(r"[0-9a-z]{1,32}")
VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,40}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_PADDING = b"."


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


def built(*words: str) -> bytes:
    """A line of these words."""
    return " ".join(words).encode("ascii") + b"\r\n"


def block(word: str, size: int) -> bytes:
    """A whole block of `size` bytes: a line of the word and the size, then padding."""
    return built(word, str(within(size, LEAST_BLOCK, MOST_BLOCK))).ljust(size, _PADDING)


def words_of(line: bytes) -> list[str]:
    """The words of one line, one blank apart; Malformed for anything that is not printable ASCII."""
    if len(line) > MOST_LINE:
        raise Malformed("a line too long")
    bare = line.removesuffix(b"\n").removesuffix(b"\r")
    if not all(0x20 <= byte < 0x7F for byte in bare):
        raise Malformed("not a line of printable ASCII")
    return bare.decode("ascii").split(" ")


def says(line: bytes, *words: str) -> bool:
    """Whether a line is of these very words; False for what is no line."""
    try:
        return words_of(line) == list(words)
    except Malformed:
        return False


def number(word: str, least: int, most: int) -> int:
    """A number that came; Malformed when it is none, or outside of these bounds."""
    if not _NUMBER.fullmatch(word) or not least <= int(word) <= most:
        raise Malformed("no such number")
    return int(word)


def within(number: int, least: int, most: int) -> int:
    """A number that is to be sent; ValueError outside of these bounds."""
    if not least <= number <= most:
        raise ValueError(f"from {least} to {most}")
    return number


def matching(pattern: re.Pattern[str], text: str) -> str:
    """A word that is to be sent; ValueError when it has not this form."""
    if not pattern.fullmatch(text):
        raise ValueError("not of the form that this word has")
    return text
