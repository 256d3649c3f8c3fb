"""The numbers of `roomprobe codec`: its ports, and how much of this box strangers may use; each with its reason.

Constants alone: the command line reads them too, and must stay quick.
"""

from __future__ import annotations

# Rows I1-I5. What each port does is in serve.py.
PORTS = (69, 443, 5000, 5152, 23456)

# One controller opens five connections; a measuring roomprobe a few more. 256 of them cost about 10 MB.
MOST_CONNECTIONS = 256
MOST_PER_PEER = 32  # one neighbour with a port scanner must not keep the real controller out
ACCEPTS_A_TURN = 32  # in a storm of connects those that are open still get their turn
BACKLOG = 256  # the kernel waits with so many while we are busy

HEAD_S = 5.0  # from the first byte to the end of a head, a line or a handshake: a slow sender must not hold a place
IDLE_S = 120.0  # nothing at all for so long: the other end has gone, or does not need the connection
BLOCK_S = 30.0  # one block of the exchange, lost packets and their repeats included; also for a peer that does not read
LINGER_S = 1.0  # after our last word: time for the other end to read it before a reset could destroy it
STOP_S = 0.5  # at the end: for what is still to be printed

CHUNK = 16 * 1024  # bytes read at once; no connection keeps more than this and a head
MOST_UNKNOWN = 64 * 1024  # bytes of no known kind that are counted before we close

REMEMBERED = 256  # connections that ALIVE still knows after they closed

# A line on the terminal for each connection, until they come faster than anybody reads.
LISTED_BURST = 100
LISTED_PER_S = 10.0
MORE_EVERY_S = 5.0  # a line about those that got none of their own
MOST_COUNTED = 1024  # (peer, port) pairs of the summary; further ones are counted together
MOST_PEERS_SHOWN = 50  # of those, in the text at the end; the JSON has them all
MOST_QUEUED = 2000  # lines that wait for a terminal that stands still
MOST_LOG_BYTES = 10 * 1024 * 1024  # a box in a meeting room has a small disk
