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
import socket
import ssl
import sys
import threading

HOLD_S = 30.0
HANDSHAKE_S = 1.0


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


def picky(server: socket.socket, context: ssl.SSLContext) -> None:
    """Shake hands with one after the other: on a plain socket the alert is sent, asyncio would swallow it."""
    while True:
        client, _ = server.accept()
        client.settimeout(HANDSHAKE_S)
        with contextlib.suppress(OSError), client, context.wrap_socket(client, server_side=True) as tls:
            tls.recv(1)


async def main(mode: str, port: int) -> None:
    """Serve until ended."""
    server = await asyncio.start_server(mute if mode == "mute" else close, ["0.0.0.0", "::"], port)
    async with server:
        await server.serve_forever()


def main_picky(port: int, cert: str, key: str, ca: str, *addresses: str) -> None:
    """One thread an address, until ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.create_server((address, port), family=family)
        threading.Thread(target=picky, args=(server, context)).start()


if __name__ == "__main__":
    if sys.argv[1] == "picky":
        main_picky(int(sys.argv[2]), *sys.argv[3:])
    else:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
