"""A stand-in for a real Teamline 5141, which cannot run here: no roomprobe, and no wiser than the ports page says.

A program of its own (standard library only): codec_standin.py LIMIT LOG CERTIFICATE KEY [OFFSET]
LIMIT says what becomes of a second connection to a port that is in use: `newest` closes the one before, `oldest`
resets the newcomer, `closed` does not listen meanwhile, `none` serves all. What it sees goes to LOG, a JSON object a
line.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any, TextIO

QUIET, WEB, AUTH = (69, 5000, 5152), 443, 23456
LIMITS = ("newest", "oldest", "closed", "none")
HANDSHAKE_S = 10.0
HEAD = 8192  # bytes of a request's head
SHOWN = 64  # bytes of what was received that are written down
PAGE = b"<!doctype html><title>Teamline</title><p>Teamline 5141</p>\n"


class Connection:
    """One connection of a controller, or of somebody else."""

    def __init__(
        self, codec: Codec, port: int, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ):
        self.codec, self.port, self.number = codec, port, number
        self.reader, self.writer = reader, writer
        self.peer, self.source = writer.get_extra_info("peername")[:2]
        self.received = 0
        self.why = ""

    def log(self, event: str, **more: Any) -> None:
        """Write down what happened to it."""
        who = {"port": self.port, "connection": self.number, "peer": self.peer, "source": self.source}
        self.codec.log(event, **who, **more)

    def end(self, why: str) -> None:
        """Close it from our side; `refused` is a reset."""
        self.why = why
        if why == "refused":
            linger = b"\x01\0\0\0\0\0\0\0"
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.writer.transport.abort()
        else:
            self.writer.close()

    async def serve(self) -> None:
        """Answer until one side has had enough."""
        try:
            if self.port == WEB:
                await self.writer.start_tls(self.codec.context, ssl_handshake_timeout=HANDSHAKE_S)
                self.log("tls")
            if self.port in QUIET:
                while data := await self.reader.read(65536):
                    self.note(data)
            else:
                while await self.answer():
                    pass
        except asyncio.IncompleteReadError as ended:
            if ended.partial:
                self.note(ended.partial)
        except asyncio.LimitOverrunError:
            self.note(await self.reader.read(HEAD))
            self.why = self.why or "garbage"
        except OSError as error:
            self.why = self.why or ("reset" if isinstance(error, ConnectionResetError) else type(error).__name__)
        finally:
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()
            self.log("close", why=self.why or "peer", received=self.received)

    def note(self, data: bytes) -> None:
        """Write down that something came."""
        self.received += len(data)
        self.log("received", bytes=len(data), data=data[:SHOWN].hex())

    async def answer(self) -> bool:
        """One HTTP request; False when there will be no further one."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.note(head)
        method, _, rest = head.decode("latin-1").partition(" ")
        path, known = rest.partition(" ")[0], rest.partition("\r\n")[0].endswith((" HTTP/1.1", " HTTP/1.0"))
        if not known:
            status, kind, body = "400 Bad Request", "text/plain", b""
        elif method != "GET":
            status, kind, body = "405 Method Not Allowed", "text/plain", b""
        elif self.port == WEB and path == "/":
            status, kind, body = "200 OK", "text/html", PAGE
        elif self.port == AUTH and path == "/auth":
            status, kind, body = "200 OK", "application/json", self.codec.authentication()
        else:
            status, kind, body = "404 Not Found", "text/plain", b""
        last = not known or "\r\nconnection: close" in head.decode("latin-1").lower()
        fields = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(f"{fields}{'Connection: close' + chr(13) + chr(10) if last else ''}\r\n".encode() + body)
        await self.writer.drain()
        self.why = "answered" if last else ""
        return not last


class Codec:
    """The device: five ports, one controller."""

    def __init__(self, limit: str, log: TextIO, context: ssl.SSLContext, offset: int) -> None:
        self.limit, self.context, self.offset = limit, context, offset
        self._log = log
        self._salt = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self._now: dict[int, Connection] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def log(self, event: str, **more: Any) -> None:
        """One line of what it saw."""
        print(json.dumps({"time": time.time(), "event": event, **more}), file=self._log, flush=True)

    def authentication(self) -> bytes:
        """The JSON at /auth of a StarLeaf endpoint."""
        fields = {"salt": self._salt, "iterations": 1000, "challenge": secrets.token_hex(16), "authenticated": False}
        return json.dumps(fields).encode()

    async def listen(self, port: int) -> None:
        """Accept on one port, IPv6 only."""

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._accepted(port, reader, writer)

        where = ("::", port + self.offset)
        self._servers[port] = await asyncio.start_server(accepted, *where, family=socket.AF_INET6, limit=HEAD)

    async def _accepted(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, port, next(self._numbers), reader, writer)
        before = self._now.get(port)
        connection.log("connect")
        if before is not None and self.limit in ("oldest", "closed"):
            connection.end("refused")
            connection.log("close", why="refused", received=0)
            return
        if before is not None and self.limit == "newest":
            before.end("replaced")
        self._now[port] = connection
        if self.limit == "closed":
            self._servers[port].close()
        await connection.serve()
        if self._now.get(port) is connection:
            del self._now[port]
            if self.limit == "closed":
                await self.listen(port)


async def main(codec: Codec) -> None:
    """Serve until ended."""
    for port in (*QUIET, WEB, AUTH):
        await codec.listen(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    limit, where, certificate, key = sys.argv[1:5]
    if limit not in LIMITS:
        sys.exit(f"LIMIT is {limit!r}; allowed are {', '.join(LIMITS)}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Path(where).open("a") as log:
        asyncio.run(main(Codec(limit, log, context, int(sys.argv[5]) if len(sys.argv) > 5 else 0)))
