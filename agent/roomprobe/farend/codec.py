"""`roomprobe codec`: opens the ports, lets strangers in within the limits, and ends cleanly on a signal.

Ends with status 0; what it cannot begin with is a ConfigError.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import errno
import functools
import itertools
import secrets
import signal
import socket
import ssl
from collections.abc import Sequence

from roomprobe import __version__
from roomprobe.farend import events, listen
from roomprobe.farend.channel import Channel
from roomprobe.farend.events import Listening
from roomprobe.farend.guest import Emulator, Guest, Over
from roomprobe.farend.journal import Journal, Visit, now, rendered
from roomprobe.farend.limits import ACCEPTS_A_TURN, MORE_EVERY_S, MOST_PER_PEER, PORTS
from roomprobe.farend.output import LogFile, Output
from roomprobe.farend.selfsigned import certificate, in_memory
from roomprobe.farend.serve import TLS_PORT, serve
from roomprobe.options import Options

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DAYS = 365  # the certificate is made anew at each start
PAUSE_S = 0.5  # when the kernel has no file or memory for one more connection


def main(options: Options) -> int:
    """Serves until a signal; returns 0. ConfigError for what is in the way, OSError when stdout cannot be written."""
    ports = tuple(Listening(port=port + options.port_offset, stands_for=port) for port in options.ports or PORTS)
    interface = None if options.interface is None else listen.known_interface(options.interface)
    most = listen.most_connections()
    with listen.listening(ports, interface) as sockets:
        log = None if options.log is None else LogFile(options.log)
        context, fingerprint = _tls()
        emulator = Emulator(
            version=__version__,
            instance=secrets.token_hex(8),
            salt=secrets.token_hex(32),
            context=context,
            ports=tuple(one.port for one in ports),
        )
        started = events.Started(
            time=now(),
            version=__version__,
            instance=emulator.instance,
            interface=interface,
            fingerprint=fingerprint if any(port.stands_for == TLS_PORT for port in ports) else None,
            ports=ports,
            addresses=listen.own_addresses(interface),
        )
        trouble = asyncio.run(_run(sockets, emulator, started, log, most, as_json=options.json))
    if trouble is not None:
        raise trouble
    return 0


def _tls() -> tuple[ssl.SSLContext, str]:
    """The server's side of TLS with a new certificate, and the fingerprint of that."""
    import hashlib

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = certificate("Teamline 5141 (roomprobe)", days=DAYS)
    with in_memory(pem, "The port with TLS") as file:
        context.load_cert_chain(file)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0  # nobody resumes, and the first bytes after a handshake are the client's
    end = pem.index(b"-----END CERTIFICATE-----")
    der = ssl.PEM_cert_to_DER_cert(pem[:end].decode() + "-----END CERTIFICATE-----\n")
    return context, hashlib.sha256(der).hexdigest()


async def _run(
    sockets: Sequence[tuple[Listening, socket.socket]],
    emulator: Emulator,
    started: events.Started,
    log: LogFile | None,
    most: int,
    *,
    as_json: bool,
) -> OSError | None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, _stop, stop)

    def ended(why: str) -> tuple[bytes, bytes]:
        return rendered(events.Log(time=now(), why=why), as_json=as_json)

    def failed() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has already ended
            loop.call_soon_threadsafe(stop.set)

    output = Output(log, ended, failed)
    journal = Journal(output.put, as_json=as_json)
    journal.say(started)
    door = Door(emulator, journal, most)
    for port, sock in sockets:
        door.open(port, sock)
    try:
        while not stop.is_set():
            try:
                async with asyncio.timeout(MORE_EVERY_S):
                    await stop.wait()
            except TimeoutError:
                journal.tell_more()
    finally:
        await door.close()
        journal.stopped(output.unsaid)
        output.close()
    return output.trouble


def _stop(stop: asyncio.Event) -> None:
    # A second signal must not cost the summary, nor change the status while Python clears up.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    stop.set()


class Door:
    """Accepts, within the limits, and serves. Who is over a limit is accepted and closed at once: nothing of it stays."""

    def __init__(self, emulator: Emulator, journal: Journal, most: int) -> None:
        self._emulator = emulator
        self._journal = journal
        self._most = most
        self._numbers = itertools.count(1)
        self._open: collections.Counter[str] = collections.Counter()
        self._tasks: set[asyncio.Task[Over]] = set()
        self._sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()

    def open(self, port: Listening, sock: socket.socket) -> None:
        """Begins to accept at a listening socket."""
        self._sockets.append(sock)
        self._loop.add_reader(sock, self._accept, port, sock)

    async def close(self) -> None:
        """No more visits, and an end to those that are here."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
        self._sockets.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, port: Listening, sock: socket.socket) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                accepted, peer = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._loop.remove_reader(sock)
                    self._loop.call_later(PAUSE_S, self._again, port, sock)
                    return
                continue  # that connection is gone again, or its network reported an error: accept(2)
            self._admit(port, accepted, _named(peer), peer[1])

    def _again(self, port: Listening, sock: socket.socket) -> None:
        if sock in self._sockets:
            self._loop.add_reader(sock, self._accept, port, sock)

    def _admit(self, port: Listening, sock: socket.socket, address: str, source_port: int) -> None:
        visit = Visit(next(self._numbers), address, source_port, port.port, port.stands_for)
        full = self._open.total() >= self._most
        if full or self._open[address] >= MOST_PER_PEER:
            sock.close()
            self._journal.refused(visit, "total-limit" if full else "peer-limit")
            return
        sock.setblocking(False)
        # No keepalive: it would refresh the very timers in switches and firewalls that a hold is there to find.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel = Channel(sock)
        self._open[address] += 1
        self._journal.connected(visit)
        task = self._loop.create_task(self._serve(visit, channel))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._left, visit, channel))

    async def _serve(self, visit: Visit, channel: Channel) -> Over:
        guest = Guest(channel, visit, functools.partial(self._journal.saw, visit))
        try:
            await serve(guest, self._emulator)
        except Over as over:
            if over.gently:
                await channel.finish()
            return over

    def _left(self, visit: Visit, channel: Channel, task: asyncio.Task[Over]) -> None:
        # Here and not in the task: one that is cancelled before it began never runs.
        self._tasks.discard(task)
        channel.close()
        self._emulator.forget(visit.connection)
        self._open[visit.address] -= 1
        if not self._open[visit.address]:
            del self._open[visit.address]
        end = Over("codec", "stop")
        if not task.cancelled():
            error = task.exception()
            if error is None:
                end = task.result()
            else:  # our own bug: it costs this connection, and is told
                self._loop.call_exception_handler({"message": "roomprobe codec: internal error", "exception": error})
        self._journal.closed(visit, end.by, end.why, channel.received, channel.sent)


def _named(peer: tuple[str, int, int, int]) -> str:
    """The peer's address, a link-local one with the interface on which it is."""
    if not peer[3]:
        return peer[0]
    try:
        return f"{peer[0]}%{socket.if_indextoname(peer[3])}"
    except OSError:
        return f"{peer[0]}%{peer[3]}"  # the interface has gone
