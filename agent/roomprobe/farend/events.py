"""What `roomprobe codec` says: one shape an event, as JSON on lines and as a line for people (docs/codec.md).

Nothing that was received stands in an event: only addresses, ports, counts and words of our own.
"""

from __future__ import annotations

import datetime

from roomprobe.model import Frozen

# What a connection turned out to be, in words. A connection may be several: TLS handshake, GET /, exchange.
KINDS = {
    "nothing": "nothing sent",
    "unknown": "bytes of no known kind",
    "tls": "TLS handshake",
    "tls-failed": "a TLS handshake that did not succeed",
    "tls-hello": "a TLS handshake on a port without TLS",
    "http": "an HTTP request on a port that answers none",
    "http-auth": "GET /auth",
    "http-root": "GET /",
    "http-other": "an HTTP request for something else",
    "http-bad": "an HTTP request that is not complete or not right",
    "exchange": "roomprobe exchange",
}
# Why a connection ended: (by whom, word) → words.
ENDS = {
    ("client", "end"): "closed by the client",
    ("client", "reset"): "reset by the client",
    ("codec", "idle"): "closed here: idle for too long",
    ("codec", "slow"): "closed here: began and did not finish in time",
    ("codec", "unread"): "closed here: the client did not read",
    ("codec", "unknown"): "closed here: no known kind",
    ("codec", "error"): "closed here: not what the protocol allows",
    ("codec", "answered"): "closed here: answered",
    ("codec", "bye"): "closed here: the client said BYE",
    ("codec", "stop"): "closed here: stopping",
}
REFUSALS = {"peer-limit": "too many open from this address", "total-limit": "too many open in all"}


class Event(Frozen, frozen=True, kw_only=True, tag_field="event"):
    """`time` is UTC, RFC 3339 with milliseconds."""

    time: str


class Listening(Frozen, frozen=True, kw_only=True):
    """`port` is listened on, `stands_for` the port of a 5141 that it is."""

    port: int
    stands_for: int


class OwnAddress(Frozen, frozen=True, kw_only=True):
    """An address of this box that a controller could use; a link-local one is reached with the controller's interface."""

    address: str
    interface: str


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """`fingerprint`: SHA-256 of the certificate on 443, hex, None when 443 is not among the ports."""

    version: str
    instance: str
    interface: str | None
    fingerprint: str | None
    ports: tuple[Listening, ...]
    addresses: tuple[OwnAddress, ...]


class Met(Event, frozen=True, kw_only=True):
    """What every event about one connection says; `address` has the interface when it is link-local."""

    address: str
    source_port: int
    port: int
    stands_for: int


class Connected(Met, frozen=True, kw_only=True, tag="connected"):
    """Somebody connected; `connection` is the number of the exchange."""

    connection: int


class Saw(Met, frozen=True, kw_only=True, tag="saw"):
    """What a connection turned out to be (KINDS): said once for each kind."""

    connection: int
    kind: str


class Closed(Met, frozen=True, kw_only=True, tag="closed"):
    """`by` and `why` are a pair of ENDS. `received`, `sent`: bytes of TCP. `requests` over HTTP, `commands` of the exchange."""

    connection: int
    kinds: tuple[str, ...]
    by: str
    why: str
    seconds: float
    received: int
    sent: int
    requests: int
    commands: int


class Refused(Met, frozen=True, kw_only=True, tag="refused"):
    """A connection that was closed at once, because of a limit (REFUSALS)."""

    why: str


class More(Event, frozen=True, kw_only=True, tag="more"):
    """Connections that got no line of their own since the last such line; `kinds` counts those that ended."""

    connections: int
    refused: int
    kinds: dict[str, int]


class Log(Event, frozen=True, kw_only=True, tag="log"):
    """The log file gets nothing more: `why` says that it is full, or cannot be written."""

    why: str


class Peer(Event, frozen=True, kw_only=True, tag="peer"):
    """At the end, for each address and port: how many connections, how many of them refused, the first and the last."""

    address: str | None
    port: int | None
    connections: int
    refused: int
    first: str
    last: str


class Stopped(Event, frozen=True, kw_only=True, tag="stopped"):
    """The last one. `unsaid` counts events that were dropped because the output stood still."""

    seconds: float
    connections: int
    refused: int
    unsaid: int


AnyEvent = Started | Connected | Saw | Closed | Refused | More | Log | Peer | Stopped


def rfc3339(at: datetime.datetime) -> str:
    """A moment as events say it."""
    return at.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
