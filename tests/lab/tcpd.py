"""TCP listeners of the lab that no real server plays: a program of its own, standard library only.

tcpd.py mute PORT              accepts and says nothing (a firewall that completes every handshake itself)
tcpd.py close PORT             accepts and closes at once
tcpd.py picky PORT CERT KEY CA ADDRESS...
                               TLS that ends with an alert unless the client shows a certificate of CA, as the
                               real border controller does (nginx would answer with an HTTP page instead)
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys

HOLD_S = 30.0


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read and say nothing until the other side goes or HOLD_S have passed."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(HOLD_S):
            while await reader.read(4096):
                pass
    writer.close()


async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Go away at once."""
    writer.close()


async def main(mode: str, port: int, rest: list[str]) -> None:
    """Serve until ended."""
    if mode == "picky":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(rest[0], rest[1])
        context.load_verify_locations(rest[2])
        context.verify_mode = ssl.CERT_REQUIRED
        server = await asyncio.start_server(mute, rest[3:], port, ssl=context)
    else:
        server = await asyncio.start_server(mute if mode == "mute" else close, ["0.0.0.0", "::"], port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
