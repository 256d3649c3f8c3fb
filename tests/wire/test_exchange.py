"""ROOMPROBE/1: what one side builds the other side reads, tables of bad lines, and whatever Hypothesis thinks of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe.wire import answering, asking, exchange
from roomprobe.wire.answering import Alive, Bye, Command, Hello, Hold, Ping, Ports, Sink, Source
from roomprobe.wire.exchange import Codec
from roomprobe.wire.reader import Malformed

NONCE = "0123456789abcdef"
ME = Codec(instance="fedcba9876543210", connection=7, version="0.2.0", address="fe80::1", port=40_000)

COMMANDS: dict[str, tuple[bytes, bytes, Command]] = {
    "hello": (asking.hello(NONCE), b"ROOMPROBE/1 HELLO 0123456789abcdef\r\n", Hello(nonce=NONCE)),
    "ping": (asking.ping("a0"), b"PING a0\r\n", Ping(token="a0")),
    "sink": (asking.sink(32)[:9], b"SINK 32\r\n", Sink(size=32)),
    "source": (asking.source(65_536), b"SOURCE 65536\r\n", Source(size=65_536)),
    "hold": (asking.hold(14_400), b"HOLD 14400\r\n", Hold(seconds=14_400)),
    "alive": (asking.alive(0), b"ALIVE 0\r\n", Alive(connection=0)),
    "ports": (asking.ports(), b"PORTS\r\n", Ports()),
    "bye": (asking.bye(), b"BYE\r\n", Bye()),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_built_and_read(name: str) -> None:
    built, line, command = COMMANDS[name]
    assert built == line
    for end in (b"\r\n", b"\n", b"\r", b""):
        assert answering.parse_command(line[:-2] + end) == command


def test_the_codec_side_says_who_it_is() -> None:
    line = answering.codec(NONCE, ME)
    assert line == b"ROOMPROBE/1 CODEC 0123456789abcdef fedcba9876543210 7 0.2.0 fe80::1 40000\r\n"
    assert asking.parse_codec(line, NONCE) == ME
    with pytest.raises(Malformed, match="another nonce"):
        asking.parse_codec(line, NONCE[::-1])


def test_the_longest_greeting_is_still_a_line() -> None:
    longest = Codec(
        instance=ME.instance,
        connection=exchange.MOST_CONNECTION,
        version="9" * 40,
        address=":".join(["ffff"] * 8),
        port=65_535,
    )
    line = answering.codec(NONCE, longest)
    assert len(line) <= exchange.MOST_LINE
    assert asking.parse_codec(line, NONCE) == longest


def test_an_address_comes_out_in_one_form() -> None:
    line = answering.codec(NONCE, ME).replace(b"fe80::1", b"FE80:0:0:0:0:0:0:1")
    assert asking.parse_codec(line, NONCE).address == "fe80::1"


CODEC = "ROOMPROBE/1 CODEC 0123456789abcdef fedcba9876543210 7 0.2.0 fe80::1 40000"
BAD_CODEC = {
    "another protocol": CODEC.replace("ROOMPROBE/1", "ROOMPROBE/2"),
    "another word": CODEC.replace("CODEC", "HELLO"),
    "a word too many": CODEC + " x",
    "a word too few": CODEC.rpartition(" ")[0],
    "two blanks": CODEC.replace("CODEC ", "CODEC  "),
    "instance in capitals": CODEC.replace("fedc", "FEDC"),
    "instance too short": CODEC.replace("fedc", "fed"),
    "version with a slash": CODEC.replace("0.2.0", "0/2"),
    "version too long": CODEC.replace("0.2.0", "9" * 41),
    "IPv4": CODEC.replace("fe80::1", "192.0.2.1"),
    "a scope id": CODEC.replace("fe80::1", "fe80::1%2"),
    "no address": CODEC.replace("fe80::1", "here"),
    "port 0": CODEC.replace("40000", "0"),
    "port too high": CODEC.replace("40000", "65536"),
    "connection negative": CODEC.replace(" 7 ", " -7 "),
    "connection with a zero before": CODEC.replace(" 7 ", " 07 "),
    "connection too high": CODEC.replace(" 7 ", " 1000000000000001 "),
    "connection of other digits": CODEC.replace(" 7 ", " ٧ "),
    "an escape": CODEC.replace("0.2.0", "\x1b[31m"),
    "too long": CODEC + " " * 200,
    "empty": "",
}


@pytest.mark.parametrize("name", BAD_CODEC)
def test_a_bad_greeting_is_malformed(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        asking.parse_codec(BAD_CODEC[name].encode() + b"\r\n", NONCE)
    assert len(str(caught.value)) < 100


BAD_COMMANDS = [
    "", " ", "hello", "HELLO 0123456789abcdef", "ROOMPROBE/1 HELLO", "ROOMPROBE/1 HELLO 0123456789ABCDEF",
    "ROOMPROBE/1 HELLO 0123456789abcdef0", "ROOMPROBE/1 HELLO 0123456789abcde", "ROOMPROBE/2 HELLO 0123456789abcdef",
    "PING", "PING ", "PING A", "PING a b", "PING " + "a" * 33, "PING a-b", "ping a", " PING a", "PING  a", "PING a ", "PING\ta",
    "SINK", "SINK 31", "SINK 65537", "SINK 032", "SINK +32", "SINK 32.0", "SINK 1e3", "SINK -32", "SINK ³2", "SINK 0x20",
    "SINK " + "9" * 100, "SOURCE 0", "SOURCE 31", "SOURCE 65537", "SOURCE", "HOLD 0", "HOLD 14401", "HOLD 1.5", "HOLD",
    "ALIVE", "ALIVE x", "ALIVE -1", "ALIVE 1 2", "ALIVE " + "1" * 17, "BYE now", "bye", "BYE\0", "BYE\r", "GET / HTTP/1.1",
    "PING a" + " " * 200,
]  # fmt: skip


@pytest.mark.parametrize("line", BAD_COMMANDS)
def test_a_bad_command_is_malformed(line: str) -> None:
    with pytest.raises(Malformed):
        answering.parse_command(line.encode() + b"\r\n")


@pytest.mark.parametrize("size", [32, 33, 1_000, 1_440, 65_535, 65_536])
def test_a_block_is_as_long_as_it_says(size: int) -> None:
    sink, data = asking.sink(size), answering.data(size)
    assert len(sink) == len(data) == size
    first, _, padding = sink.partition(b"\r\n")
    assert answering.parse_command(first) == Sink(size=size)
    assert b"\n" not in padding, "padding must never read as a line"
    assert asking.parse_data(data.partition(b"\r\n")[0], size)
    assert not asking.parse_data(data.partition(b"\r\n")[0], size + 1)


ANSWERS: dict[str, tuple[bytes, Callable[[bytes], bool], Callable[[bytes], bool]]] = {
    "pong": (answering.pong("t1"), lambda x: asking.parse_pong(x, "t1"), lambda x: asking.parse_pong(x, "t2")),
    "sunk": (answering.sunk(32), lambda x: asking.parse_sunk(x, 32), lambda x: asking.parse_sunk(x, 3)),
    "data": (b"DATA 32\r\n", lambda x: asking.parse_data(x, 32), lambda x: asking.parse_data(x, 3)),
    "held": (answering.held(9), lambda x: asking.parse_held(x, 9), lambda x: asking.parse_held(x, 90)),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_answers_one_question(name: str) -> None:
    line, right, other = ANSWERS[name]
    assert right(line) and right(line.removesuffix(b"\r\n"))
    assert not other(line)
    for bad in (b"", b"\xff" + line, line * 40, line[1:], line.lower(), b" " + line, line[:-2] + b" \r\n"):
        assert not right(bad), bad


def test_whether_a_connection_is_open() -> None:
    for state in exchange.STATES:
        assert asking.parse_alive(answering.aliveness(7, state), 7) == state
    for line in (
        b"",
        b"ALIVE 7\r\n",
        b"ALIVE 8 open\r\n",
        b"ALIVE 7 shut\r\n",
        b"ALIVE 7 open x\r\n",
        b"PONG 7 open\r\n",
    ):
        with pytest.raises(Malformed):
            asking.parse_alive(line, 7)


def test_the_ports_that_are_listened_on() -> None:
    assert answering.listening((69, 443)) == b"PORTS 69 443\r\n"
    assert asking.parse_listening(answering.listening((69, 65_535))) == (69, 65_535)
    assert len(asking.parse_listening(answering.listening(range(1, 100)))) == exchange.MOST_PORTS
    for line in (
        b"",
        b"PORTS\r\n",
        b"PORTS 0\r\n",
        b"PORTS 65536\r\n",
        b"PORTS 69 x\r\n",
        b"PORTS" + b" 1" * 17,
        b"PORT 69\r\n",
    ):
        with pytest.raises(Malformed):
            asking.parse_listening(line)


def test_errors_have_words() -> None:
    for word in exchange.ERROR_WORDS:
        assert asking.parse_error(answering.error(word)) == word
    assert asking.parse_error(b"ERROR \x1b[0m\r\n") is None
    assert asking.parse_error(b"ERROR whatever\r\n") == "unknown"
    assert asking.parse_error(b"PONG a\r\n") is None
    with pytest.raises(ValueError, match="no such word"):
        answering.error("whatever")


WRONG: list[Callable[[], bytes]] = [
    lambda: asking.hello("0123"),
    lambda: asking.hello(NONCE + "\n"),
    lambda: asking.ping(""),
    lambda: asking.ping("a\r\nBYE"),
    lambda: asking.sink(31),
    lambda: asking.sink(65_537),
    lambda: asking.source(0),
    lambda: answering.data(31),
    lambda: asking.hold(0),
    lambda: asking.hold(14_401),
    lambda: asking.alive(-1),
]


@pytest.mark.parametrize("build", WRONG)
def test_a_wrong_value_is_never_sent(build: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError) as caught:
        build()
    assert not isinstance(caught.value, Malformed)


@given(
    st.binary(max_size=250) | st.lists(st.sampled_from([*(c[1] for c in COMMANDS.values()), b"9", b" "])).map(b"".join)
)
def test_any_line_is_a_command_or_malformed(line: bytes) -> None:
    try:
        command = answering.parse_command(line)
    except Malformed as error:
        assert len(str(error)) < 100
    else:
        assert line.removesuffix(b"\n").removesuffix(b"\r") in {c[1][:-2] for c in COMMANDS.values()} or isinstance(
            command, Ping | Sink | Source | Hold | Alive | Hello
        )
    for parse in (lambda x: asking.parse_codec(x, NONCE), lambda x: asking.parse_alive(x, 1)):
        with pytest.raises(Malformed):
            parse(line)
    asking.parse_error(line)
