"""The codec side of the recognition exchange: who we are, round trips, blocks both ways, holding, is it still open.

Commands come one at a time: the next is read when the answer to the last has left.
"""

from __future__ import annotations

import time
from typing import NoReturn

from roomprobe.farend.guest import Emulator, Guest, Over
from roomprobe.farend.limits import BLOCK_S, HEAD_S
from roomprobe.wire import answering, exchange
from roomprobe.wire.answering import Alive, Bye, Command, Hello, Hold, Ping, Ports, Sink, Source
from roomprobe.wire.exchange import Codec
from roomprobe.wire.reader import Malformed

_PREFIX = b"ROOMPROBE/"


def begins(data: bytes) -> bool | None:
    """Whether `data` begins as an exchange does; None while too little of it is there to tell."""
    if data.startswith(_PREFIX):
        return True
    return None if _PREFIX.startswith(data) else False


async def converse(guest: Guest, emulator: Emulator, until: float) -> NoReturn:
    """The whole exchange, whose first line has begun and must be there by then; ends with Over."""
    command = await _command(guest, until)
    if not isinstance(command, Hello):
        await _fail(guest, "hello")
    guest.saw("exchange")
    visit = guest.visit
    emulator.met[visit.connection] = visit.address
    me = Codec(
        instance=emulator.instance,
        connection=visit.connection,
        version=emulator.version,
        address=visit.address.partition("%")[0],
        port=visit.source_port,
    )
    await guest.send(answering.codec(command.nonce, me), BLOCK_S)
    while True:
        await guest.first()
        command = await _command(guest, time.monotonic() + HEAD_S)
        await guest.send(await _obey(guest, emulator, command), BLOCK_S)


async def _obey(guest: Guest, emulator: Emulator, command: Command) -> bytes:
    """Does it; the answer."""
    guest.visit.commands += 1
    match command:
        case Ping(token=token):
            return answering.pong(token)
        case Sink(size=size):
            return answering.sunk(size)
        case Source(size=size):
            return answering.data(size)
        case Hold(seconds=seconds):
            guest.idle_s = seconds + exchange.GRACE_S
            return answering.held(seconds)
        case Alive(connection=connection):
            return answering.aliveness(connection, emulator.state(connection, guest.visit.address))
        case Ports():
            return answering.listening(emulator.ports)
        case Bye():
            raise Over("codec", "bye", gently=True)
        case Hello():
            await _fail(guest, "hello")


async def _command(guest: Guest, until: float) -> Command:
    """The next command; that of a block comes when all of the block was read."""
    channel = guest.channel
    while (end := channel.buffer.find(b"\n", 0, exchange.MOST_LINE)) < 0:
        if len(channel.buffer) >= exchange.MOST_LINE:
            await _fail(guest, "line")
        await guest.more(until, "slow")
    line = channel.take(end + 1)
    try:
        command = answering.parse_command(line)
    except Malformed:
        await _fail(guest, "command")
    if isinstance(command, Sink):
        await _swallow(guest, command.size - len(line))
    return command


async def _swallow(guest: Guest, count: int) -> None:
    until = time.monotonic() + BLOCK_S
    while count := count - len(guest.channel.take(count)):
        await guest.more(until, "slow")


async def _fail(guest: Guest, word: str) -> NoReturn:
    await guest.send(answering.error(word), HEAD_S)
    raise Over("codec", "error", gently=True)
