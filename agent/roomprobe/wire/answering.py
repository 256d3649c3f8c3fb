"""The codec side of ROOMPROBE/1 (exchange.py), as `roomprobe codec` plays it: the commands that it reads, and its answers."""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe.model import Frozen
from roomprobe.wire import exchange
from roomprobe.wire.exchange import Codec, State, block, built, matching, number, within, words_of
from roomprobe.wire.reader import Malformed


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


def parse_command(line: bytes) -> Command:
    """One line of a client; Malformed when it is no command or has a value that it may not have."""
    match words_of(line):
        case [name, "HELLO", nonce] if name == exchange.NAME and exchange.NONCE.fullmatch(nonce):
            return Hello(nonce=nonce)
        case ["PING", token] if exchange.TOKEN.fullmatch(token):
            return Ping(token=token)
        case ["SINK", size]:
            return Sink(size=number(size, exchange.LEAST_BLOCK, exchange.MOST_BLOCK))
        case ["SOURCE", size]:
            return Source(size=number(size, exchange.LEAST_BLOCK, exchange.MOST_BLOCK))
        case ["HOLD", seconds]:
            return Hold(seconds=number(seconds, 1, exchange.MOST_HOLD_S))
        case ["ALIVE", connection]:
            return Alive(connection=number(connection, 0, exchange.MOST_CONNECTION))
        case ["PORTS"]:
            return Ports()
        case ["BYE"]:
            return Bye()
    raise Malformed("no such command")


def codec(nonce: str, me: Codec) -> bytes:
    """Answers HELLO. `me.address` must be without scope id, `me.version` one word."""
    words = (me.instance, str(me.connection), matching(exchange.VERSION, me.version), me.address, str(me.port))
    return built(exchange.NAME, "CODEC", matching(exchange.NONCE, nonce), *words)


def pong(token: str) -> bytes:
    """Answers PING."""
    return built("PONG", matching(exchange.TOKEN, token))


def sunk(size: int) -> bytes:
    """Answers SINK, once all of the block was read."""
    return built("SUNK", str(size))


def data(size: int) -> bytes:
    """Answers SOURCE: a whole block of `size` bytes, its first line included, to be written in one go."""
    return block("DATA", size)


def held(seconds: int) -> bytes:
    """Answers HOLD."""
    return built("HELD", str(seconds))


def aliveness(connection: int, state: State) -> bytes:
    """Answers ALIVE."""
    return built("ALIVE", str(connection), state)


def listening(numbers: Sequence[int]) -> bytes:
    """Answers PORTS; at most MOST_PORTS of them."""
    return built("PORTS", *(str(within(port, 1, 65_535)) for port in numbers[: exchange.MOST_PORTS]))


def error(word: str) -> bytes:
    """The last line before the codec side closes because of what it was sent; a word of ERROR_WORDS."""
    if word not in exchange.ERROR_WORDS:
        raise ValueError("no such word")
    return built("ERROR", word)
