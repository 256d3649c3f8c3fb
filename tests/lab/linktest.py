"""The two ends of a link for the tests of the lab itself, deliberately independent of roomprobe: a program of its own.

linktest.py serve PORT...            the codec's end: a block begins with a line `IN OUT` of 16 bytes; it has IN bytes
                                     in all, and OUT bytes come back
linktest.py ask WAIT ADDRESS CASE... one word a case, all asked at once; CASE is PORT or PORT/IN/OUT; with
                                     PORT/IN/OUT/MSS no segment is longer than that, either way
linktest.py hold ADDRESS PORT        connects, then takes `exchange` or `look`, line by line, on its standard input
Words: `open` (connected; its block stuck), `done` (the block came back), `refused`, `reset`, `eof`, `alive` (nothing
has happened), `silent` (no answer within WAIT seconds), or the errno's name.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

RECVERR = 25  # linux/in6.h: IPV6_RECVERR
HEAD = 16
SETTLE_S = 1.0


def read(sock: socket.socket, count: int) -> int:
    """Read that many bytes, or until the end; how many came."""
    came = 0
    while came < count and (data := sock.recv(count - came)):
        came += len(data)
    return came


def served(client: socket.socket) -> None:
    """Answer block after block."""
    with client:
        while head := client.recv(HEAD, socket.MSG_WAITALL):
            wanted, back = map(int, head.split())
            read(client, wanted - HEAD)
            client.sendall(b"x" * back)


def listen(port: int) -> None:
    """Serve one port for ever."""
    server = socket.create_server(("::", port), family=socket.AF_INET6, backlog=64)
    while True:
        threading.Thread(target=served, args=(server.accept()[0],), daemon=True).start()


def word_of(error: OSError) -> str:
    """The word for what the kernel said."""
    if isinstance(error, TimeoutError):
        return "silent"
    known = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset"}
    return known.get(error.errno or 0) or errno.errorcode.get(error.errno or 0, str(error))


def exchange(sock: socket.socket, wanted: int = HEAD, back: int = 1) -> str:
    """Send one block with one write and wait for what comes back."""
    try:
        sock.sendall(f"{wanted:7} {back:7}\n".encode() + b"x" * (wanted - HEAD))
        return "done" if read(sock, back) == back else "eof"
    except TimeoutError:
        return "open"
    except OSError as error:
        return word_of(error)


def connected(address: str, port: int, wait: float, mss: int = 0) -> socket.socket:
    """A connection; OSError as it comes."""
    # A scope stays apart: the kernel's answer to a missing one is what is to be seen.
    host, _, scope = address.partition("%")
    sock = socket.socket(socket.AF_INET6)
    sock.settimeout(wait)
    sock.setsockopt(socket.IPPROTO_IPV6, RECVERR, 1)
    if mss:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    try:
        sock.connect((host, port, 0, socket.if_nametoindex(scope) if scope else 0))
    except OSError as error:
        with sock:
            # An ICMP error that comes while connect() still runs stands only in the error queue.
            raise queued(sock) or error from None
    return sock


def queued(sock: socket.socket) -> OSError | None:
    """What waits in a socket's error queue."""
    sock.setblocking(False)
    try:
        _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        return None
    return next((OSError(*struct.unpack_from("=I", data), "ICMP") for _, _, data in ancillary), None)


def ask(address: str, case: str, wait: float) -> str:
    """The word for one case."""
    port, *block = map(int, case.split("/"))
    try:
        with connected(address, port, wait, *block[2:]) as sock:
            return exchange(sock, *block[:2]) if block else "open"
    except OSError as error:
        return word_of(error)


def look(sock: socket.socket) -> str:
    """What has happened to a connection that nothing is sent on."""
    sock.setblocking(False)
    try:
        return "eof" if sock.recv(1) == b"" else "data"
    except BlockingIOError:
        return "alive"
    except OSError as error:
        return word_of(error)
    finally:
        sock.settimeout(SETTLE_S)


def hold(address: str, port: int) -> None:
    """One connection, and what its owner asks about it."""
    with connected(address, port, SETTLE_S) as sock:
        print("open", flush=True)
        for line in sys.stdin:
            print(exchange(sock) if line == "exchange\n" else look(sock), flush=True)


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "serve":
        for port in words:
            threading.Thread(target=listen, args=(int(port),)).start()
    elif what == "hold":
        hold(words[0], int(words[1]))
    else:
        with ThreadPoolExecutor(20) as pool:
            print(*pool.map(lambda case: ask(words[1], case, float(words[0])), words[2:]), sep="\n")
