"""One accepted connection: bytes in and out, plain or in TLS, counted as they are on the wire.

Nothing waits in a buffer of ours to be sent: whoever sends is held up until the kernel has taken it, and bounds the wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from roomprobe.farend.limits import CHUNK, LINGER_S, MOST_UNKNOWN


class Channel:
    """`buffer` holds what came and was not used yet; `received` and `sent` count bytes of TCP."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.buffer = bytearray()
        self.received = 0
        self.sent = 0

    async def more(self) -> bool:
        """Adds at most CHUNK bytes to the buffer; False when the other end has closed. OSError (SSLError too)."""
        data = await (self._read() if self._tls is None else self._decrypted(self._tls))
        self.buffer += data
        return bool(data)

    def take(self, count: int) -> bytes:
        """Takes so many bytes, or as many as there are, out of the buffer."""
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    async def handshake(self, context: ssl.SSLContext) -> bool:
        """TLS as the server, what is in the buffer first; False when the other end closed during it. SSLError, OSError."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(self.take(len(self.buffer)))
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._read()
                if not data:
                    return False
                self._incoming.write(data)
            except ssl.SSLError:
                await self._flush()  # the alert
                raise
            else:
                await self._flush()
                self._tls = tls
                # The client's last flight has no answer: a client without TCP_NODELAY waits for its ACK before it asks.
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                return True

    async def send(self, data: bytes) -> None:
        """Hands all of it to the kernel, in one write when there is room. OSError."""
        if self._tls is None:
            await self._write(data)
        else:
            self._tls.write(data)
            await self._flush()

    async def finish(self) -> None:
        """Closes our direction and gives the other end LINGER_S to close its own, so that our last words are not lost."""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(LINGER_S):
                await self._farewell()
                self._sock.shutdown(socket.SHUT_WR)
                until = self.received + MOST_UNKNOWN
                while self.received < until and await self._read():
                    pass

    async def _farewell(self) -> None:
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()  # close_notify; that of the other end is not waited for
            await self._flush()

    def close(self) -> None:
        """Gives the socket back; may be called twice."""
        self._sock.close()

    async def _decrypted(self, tls: ssl.SSLObject) -> bytes:
        while True:
            try:
                return tls.read(CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._read()
                if not data:
                    return b""  # without close_notify (RFC 8446 6.1); nothing here depends on the end being vouched for
                self._incoming.write(data)

    async def _read(self) -> bytes:
        await asyncio.sleep(0)  # sock_recv does not wait while bytes are there, and a flood must not starve the others
        data = await self._loop.sock_recv(self._sock, CHUNK)
        self.received += len(data)
        return data

    async def _write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)
        self.sent += len(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._write(self._outgoing.read())
