"""The UDP far end of the lab: echoes every datagram on some ports, and holds others open in silence.

A program of its own (standard library only): farend.py ADDRESS,... ANSWERING,... SILENT,...
One socket per address and port, so that the answer leaves from the address that was asked. A port in neither
list is not bound: the kernel then answers with port-unreachable, which is a fault of its own to show.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys


def main(addresses: list[str], answering: list[int], silent: list[int]) -> None:
    """Serve until ended."""
    waiting = selectors.DefaultSelector()
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for port in answering + silent:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.bind((address, port))
            sock.setblocking(False)
            waiting.register(sock, selectors.EVENT_READ, (sock, port in answering))
    while True:
        for key, _ in waiting.select():
            sock, answers = key.data
            # A refused answer of before may show here as an error; it concerns the asker only.
            with contextlib.suppress(OSError):
                payload, asker = sock.recvfrom(2048)
                if answers:
                    sock.sendto(payload, asker)


if __name__ == "__main__":
    lists = [[word for word in argument.split(",") if word] for argument in sys.argv[1:4]]
    main(lists[0], [int(port) for port in lists[1]], [int(port) for port in lists[2]])
