"""The client's side of ROOMPROBE/1 (exchange.py): the lines that it sends, and what it makes of those that come back."""

from __future__ import annotations

import ipaddress

from roomprobe.wire import exchange
from roomprobe.wire.exchange import Codec, State, block, built, matching, number, says, within, words_of
from roomprobe.wire.reader import Malformed


def hello(nonce: str) -> bytes:
    """The first line; `nonce` is 16 lower-case hex digits."""
    return built(exchange.NAME, "HELLO", matching(exchange.NONCE, nonce))


def parse_codec(line: bytes, nonce: str) -> Codec:
    """The answer to `hello`; Malformed when it is none, or answers another nonce."""
    words = words_of(line)
    if len(words) != 8 or words[:2] != [exchange.NAME, "CODEC"]:
        raise Malformed("not a CODEC line")
    if words[2] != nonce:
        raise Malformed("answers another nonce")
    if not exchange.NONCE.fullmatch(words[3]) or not exchange.VERSION.fullmatch(words[5]):
        raise Malformed("no such instance or version")
    try:
        address = ipaddress.IPv6Address(words[6])
    except ValueError:
        raise Malformed("no such address") from None
    if address.scope_id is not None:
        raise Malformed("an address with a scope id")
    connection, port = number(words[4], 0, exchange.MOST_CONNECTION), number(words[7], 1, 65_535)
    return Codec(instance=words[3], connection=connection, version=words[5], address=str(address), port=port)


def ping(token: str) -> bytes:
    """A round trip; `token` is 1 to 32 of 0-9 and a-z."""
    return built("PING", matching(exchange.TOKEN, token))


def parse_pong(line: bytes, token: str) -> bool:
    """Whether this answers `ping(token)`."""
    return says(line, "PONG", token)


def sink(size: int) -> bytes:
    """A whole block of `size` bytes (LEAST_BLOCK to MOST_BLOCK), its first line included: to be written in one go."""
    return block("SINK", size)


def parse_sunk(line: bytes, size: int) -> bool:
    """Whether this says that the block of `size` bytes arrived whole."""
    return says(line, "SUNK", str(size))


def source(size: int) -> bytes:
    """Asks for a block of `size` bytes (LEAST_BLOCK to MOST_BLOCK)."""
    return built("SOURCE", str(within(size, exchange.LEAST_BLOCK, exchange.MOST_BLOCK)))


def parse_data(line: bytes, size: int) -> bool:
    """Whether this is the first line of the block that `source(size)` asks for; padding up to `size` bytes follows."""
    return says(line, "DATA", str(size))


def hold(seconds: int) -> bytes:
    """Says that this connection will be idle for so long (1 to MOST_HOLD_S)."""
    return built("HOLD", str(within(seconds, 1, exchange.MOST_HOLD_S)))


def parse_held(line: bytes, seconds: int) -> bool:
    """Whether this answers `hold(seconds)`."""
    return says(line, "HELD", str(seconds))


def alive(connection: int) -> bytes:
    """Asks, over any connection of ours, whether this one (`Codec.connection`) is still open at the codec side."""
    return built("ALIVE", str(within(connection, 0, exchange.MOST_CONNECTION)))


def parse_alive(line: bytes, connection: int) -> State:
    """The answer to `alive(connection)`; Malformed when it is none."""
    words = words_of(line)
    state = next((state for state in exchange.STATES if words[2:] == [state]), None)
    if state is None or words[:2] != ["ALIVE", str(connection)]:
        raise Malformed("not an ALIVE line")
    return state


def ports() -> bytes:
    """Asks on which ports the codec side listens."""
    return built("PORTS")


def parse_listening(line: bytes) -> tuple[int, ...]:
    """The answer to `ports()`, 1 to MOST_PORTS of them; Malformed when it is none."""
    words = words_of(line)
    if words[0] != "PORTS" or not 2 <= len(words) <= exchange.MOST_PORTS + 1:
        raise Malformed("not a PORTS line")
    return tuple(number(word, 1, 65_535) for word in words[1:])


def bye() -> bytes:
    """Asks the codec side to close."""
    return built("BYE")


def parse_error(line: bytes) -> str | None:
    """The word with which the codec side ended the exchange (ERROR_WORDS), "unknown" for any other; None: no error."""
    try:
        words = words_of(line)
    except Malformed:
        return None
    if len(words) != 2 or words[0] != "ERROR":
        return None
    return words[1] if words[1] in exchange.ERROR_WORDS else "unknown"
