"""What probes saw, nothing concluded: one frozen Struct a probe kind, all of them storable and replayable.

A field is None when it was not seen or the phase never ran: never zero. Times are seconds on the monotonic clock
relative to the start of the check unless the name says ms. Everything that came from the network is bounded here and
escaped by whoever prints it. That of the controller link stands in link/evidence.py.
"""

from __future__ import annotations

from typing import Literal

from roomprobe.model import Frozen


class Icmp(Frozen, frozen=True, kw_only=True):
    """An ICMP or ICMPv6 error from the socket error queue. `local`: made by this kernel, not received."""

    type: int
    code: int
    offender: str | None
    local: bool = False


class Failure(Frozen, frozen=True, kw_only=True, tag_field="kind", tag="failure"):
    """A socket call that this box itself refused: `operation` (socket, bind, connect, send), errno name as text."""

    operation: str
    errno: str
    detail: str


# --- udp -----------------------------------------------------------------------------------------------------------


class Exchange(Frozen, frozen=True, kw_only=True):
    """One payload shape sent to one port: `payload` names it ("opaque", "stun", "ntp", "openvpn", "ike").

    `sent_s` lists each transmission; `answered_s` the first datagram back; `answer` says in words what it decoded to
    (or "unrecognised"); `answer_bytes` is its length. `valid`: the answer matches the question in that protocol (for opaque:
    any datagram from the asked address and port). `errors` are the ICMP errors in order of arrival.
    """

    payload: str
    source_port: int | None = None
    sent_s: tuple[float, ...] = ()
    answered_s: float | None = None
    answer: str | None = None
    answer_bytes: int | None = None
    valid: bool = False
    errors: tuple[Icmp, ...] = ()
    failure: Failure | None = None


class UdpEvidence(Frozen, frozen=True, kw_only=True, tag="udp"):
    """The exchanges of one UDP row; `source` is the local address used."""

    source: str | None
    exchanges: tuple[Exchange, ...]
    duration_s: float


# --- tcp, tls ------------------------------------------------------------------------------------------------------


class Connect(Frozen, frozen=True, kw_only=True):
    """A TCP connect. `result`: connected, refused (RST), icmp, timeout, failure (our own), proxy (see ProxyAnswer)."""

    result: Literal["connected", "refused", "icmp", "timeout", "failure", "proxy"]
    source: str | None = None
    source_port: int | None = None
    seconds: float | None = None
    errors: tuple[Icmp, ...] = ()
    failure: Failure | None = None


class Timing(Frozen, frozen=True, kw_only=True):
    """What the kernel itself measured on a TCP connection (struct tcp_info, linux/tcp.h).

    `rtt_ms` right after the connect is the time from SYN to SYN/ACK; `min_rtt_ms` the least one until now, None before any data.
    `path_mtu` is the kernel's idea of it and `segment` the most payload of one packet, in bytes. `repeats` counts retransmissions.
    """

    rtt_ms: float | None = None
    min_rtt_ms: float | None = None
    path_mtu: int | None = None
    segment: int | None = None
    repeats: int = 0


class ProxyAnswer(Frozen, frozen=True, kw_only=True):
    """What the web proxy said to CONNECT. `connect` is the TCP connect to the proxy itself; `status` its HTTP status,
    None when it did not answer in HTTP; `detail` its reason phrase, bounded to 200 characters."""

    proxy: str
    connect: Connect
    status: int | None = None
    detail: str | None = None


class Certificate(Frozen, frozen=True, kw_only=True):
    """One certificate of the chain as presented, leaf first. Dates are RFC 3339 UTC, names RFC 4514 text."""

    sha256: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: str
    not_after: str


class Trust(Frozen, frozen=True, kw_only=True):
    """How the presented chain verifies for the asked name against one set of anchors.

    `anchors`: certifi, site (ca_file), system. `verified`: chain, dates and name all good. Otherwise `problem` is the first
    of: name (chain good, other name), not-yet-valid, expired (good but for the dates), issuer (no chain to an anchor).
    """

    anchors: Literal["certifi", "site", "system"]
    verified: bool
    problem: Literal["name", "not-yet-valid", "expired", "issuer"] | None = None


class TlsEvidence(Frozen, frozen=True, kw_only=True, tag="tls"):
    """One TCP connect, TLS handshake and `GET /`. `stage` is the last thing reached:

    connect, handshake (ClientHello sent), certificate (chain seen, handshake not finished), established, answered
    (bytes of application data back). `alert` is the TLS alert number received. `first_bytes` is hex (at most 16 bytes) of what came
    when it was not TLS. `closed`: the peer closed or reset before the handshake finished. `pinned`: a chain
    certificate matches a configured pin (None: no pin for the name). `clock` is the wall time used, RFC 3339.
    """

    connect: Connect
    proxy: ProxyAnswer | None = None
    stage: Literal["connect", "handshake", "certificate", "established", "answered"] = "connect"
    sni: str | None = None
    alpn: str | None = None
    version: str | None = None
    chain: tuple[Certificate, ...] = ()
    trust: tuple[Trust, ...] = ()
    pinned: bool | None = None
    alert: int | None = None
    closed: Literal["closed", "reset"] | None = None
    not_tls: bool = False
    first_bytes: str | None = None
    http_status: int | None = None
    handshake_s: float | None = None
    clock: str | None = None
    duration_s: float = 0.0


class TcpEvidence(Frozen, frozen=True, kw_only=True, tag="tcp"):
    """A plain TCP connect with a short passive listen; `banner` is hex, at most 64 bytes."""

    connect: Connect
    proxy: ProxyAnswer | None = None
    banner: str | None = None
    closed: Literal["closed", "reset"] | None = None
    duration_s: float = 0.0


# --- dns -----------------------------------------------------------------------------------------------------------


class DnsAnswer(Frozen, frozen=True, kw_only=True):
    """One question to one resolver. `rcode` is its text (NOERROR, NXDOMAIN ...), None without a usable answer.

    `problem`: timeout, refused (RST or port-unreachable), icmp, malformed, failure (our own). Addresses sorted.
    `truncated`: the answer did not fit (TC bit), the same question over TCP has the rest.
    """

    qname: str
    qtype: Literal["A", "AAAA"]
    rcode: str | None = None
    addresses: tuple[str, ...] = ()
    problem: Literal["timeout", "refused", "icmp", "malformed", "failure"] | None = None
    errors: tuple[Icmp, ...] = ()
    failure: Failure | None = None
    truncated: bool = False
    seconds: float | None = None


class DnsEvidence(Frozen, frozen=True, kw_only=True, tag="dns"):
    """A and AAAA of the name through one resolver over one transport, and of a random sibling label beside it."""

    resolver: str
    transport: Literal["udp", "tcp"]
    answers: tuple[DnsAnswer, ...]
    sibling: tuple[DnsAnswer, ...] = ()
    duration_s: float = 0.0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address answered for the name itself, IPv4 first as asked."""
        return tuple(dict.fromkeys(a for answer in self.answers for a in answer.addresses))


# --- path ----------------------------------------------------------------------------------------------------------


StepResult = Literal["hop", "answer", "refused", "icmp", "silent", "failure"]


class Step(Frozen, frozen=True, kw_only=True):
    """One ladder packet and what came of it.

    `result`: hop (time exceeded), answer (reply datagram, or TCP handshake completed), refused (RST), icmp (another ICMP
    error), silent, failure (this box refused to send). `round` 0 is the first pass, then the boundary repeats.
    """

    ttl: int
    round: int
    result: StepResult
    address: str | None = None
    icmp: tuple[int, int] | None = None
    ms: float | None = None


class Flow(Frozen, frozen=True, kw_only=True):
    """One ladder: a transport and port towards one address. `role`: suspect (a check that failed) or control.

    `payload` names the UDP payload shape, None for TCP. UDP holds one source port; TCP uses consecutive ones.
    """

    transport: Literal["udp", "tcp"]
    port: int
    payload: str | None
    role: Literal["suspect", "control"]
    source_ports: tuple[int, ...]
    steps: tuple[Step, ...]


class PathEvidence(Frozen, frozen=True, kw_only=True, tag="path"):
    """Every ladder towards one address, taken in one survey. `complete` False: the time ran out before the repeats.

    `witnesses`: controls towards *other* addresses, sent in the rounds of the same survey, with the router at that distance.
    A router that answered one of them still had an answer to give in that round, whatever address it was asked for.
    """

    address: str
    flows: tuple[Flow, ...]
    complete: bool
    duration_s: float
    witnesses: tuple[Step, ...] = ()
