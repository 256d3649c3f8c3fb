"""What was seen of the controller link: its ports one by one, the search for the codec, and what lies between. Nothing concluded.

As in evidence.py: a field is None when it was not seen or the phase never ran, and text from the network is bounded here.
"""

from __future__ import annotations

from typing import Literal

from roomprobe.evidence import Certificate, Connect, Timing
from roomprobe.model import Frozen
from roomprobe.outcome import Reason


class Emulator(Frozen, frozen=True, kw_only=True):
    """The far roomprobe that plays the codec, as it introduced itself; it sees us at `seen_address` and `seen_port`.

    `listening` are the ports that it says it listens on; empty when it was not asked or did not say.
    """

    instance: str
    connection: int
    version: str
    seen_address: str
    seen_port: int
    listening: tuple[int, ...] = ()


class Api(Frozen, frozen=True, kw_only=True):
    """The answer to `GET /auth`: `documented` when it is the JSON of the endpoint control API; salt and challenge are not kept."""

    documented: bool
    iterations: int | None = None
    authenticated: bool | None = None
    problem: str | None = None


class Blocks(Frozen, frozen=True, kw_only=True):
    """Large blocks to and from the emulator on one connection; None: not tried, because the other way was stuck.

    `largest_up` and `largest_down` are the biggest IPv6 packets that got through, in bytes, looked for once `up` or `down` failed.
    `sure`: the next size was stuck in three repeats, and these passed.
    """

    size: int
    up: bool | None = None
    down: bool | None = None
    largest_up: int | None = None
    largest_down: int | None = None
    sure: bool = False


class Hold(Frozen, frozen=True, kw_only=True):
    """The connection kept idle. `end`: alive (it answered afterwards), silent, reset, closed (by the far end), unproven (the
    far end cannot be asked), stopped (by us). `after_s` is when it ended, or the whole time.

    `again` is a new connection to the emulator after a loss: same, restarted (another instance), refused or silent; and
    `far_side` what that instance says of the old connection. `noisy`: a real
    codec sent something meanwhile, so it was not idle.
    """

    asked_s: float
    after_s: float
    end: Literal["alive", "silent", "reset", "closed", "unproven", "stopped"]
    again: Literal["same", "restarted", "refused", "silent"] | None = None
    far_side: Literal["open", "closed", "unknown"] | None = None
    noisy: bool = False


class ControllerEvidence(Frozen, frozen=True, kw_only=True, tag="controller"):
    """One port of the controller link. `ask` is what was asked: listen (nothing sent), tls (handshake and `GET /`), auth.

    `stage`: connect, connected, answered (bytes came). `banner` is hex of unasked bytes, at most 64. `tls_stage` as in TlsEvidence.
    `server` is the HTTP Server header, bounded; `emulator` is None unless the far end proved to be a roomprobe. `named_emulator`:
    some port of the codec claimed to be one. `listened_s` is how long nothing but listening was done. `macs` are the hardware
    addresses that claimed a neighbour's address meanwhile; none when the kernel knew it already.
    """

    connect: Connect
    ask: Literal["listen", "tls", "auth"]
    stage: Literal["connect", "connected", "answered"] = "connect"
    timing: Timing | None = None
    banner: str | None = None
    closed: Literal["closed", "reset"] | None = None
    not_tls: bool = False
    tls_stage: str | None = None
    tls_version: str | None = None
    alert: int | None = None
    certificate: Certificate | None = None
    http_status: int | None = None
    server: str | None = None
    api: Api | None = None
    named_emulator: bool = False
    emulator: Emulator | None = None
    blocks: Blocks | None = None
    hold: Hold | None = None
    listened_s: float | None = None
    macs: tuple[str, ...] = ()
    duration_s: float = 0.0


class Candidate(Frozen, frozen=True, kw_only=True):
    """A neighbour that may be the codec. `open` are the ports of the link that it accepts, `refused` those it refuses.

    `address` has its scope id where it is link-local; `mac` as "aa:bb:cc:dd:ee:ff" when the kernel knows it.
    """

    address: str
    mac: str | None = None
    router: bool = False
    open: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()


class Search(Frozen, frozen=True, kw_only=True, tag="search"):
    """How the codec was looked for. `chosen` is its address, or None with a `reason`; `asked` counts the neighbours tried.

    `candidates` are those that accept or refuse any of the ports; `named`: it was looked for by its configured
    name. `untried` says in sentences what could not be tried, and why.
    """

    candidates: tuple[Candidate, ...] = ()
    asked: int = 0
    named: bool = False
    chosen: str | None = None
    reason: Reason | None = None
    sentence: str = ""
    untried: tuple[str, ...] = ()


class OwnAddress(Frozen, frozen=True, kw_only=True):
    """An IPv6 address of this box at the link's interface. `usable`: neither tentative nor found twice on the link (`failed`).

    `dynamic`: it has a lifetime, as one from a router advertisement or DHCP has.
    """

    address: str
    prefix: int
    usable: bool
    failed: bool = False
    dynamic: bool = False


class Near(Frozen, frozen=True, kw_only=True):
    """An entry of the neighbour cache after the run's own questions; `state` as the kernel names it (RFC 4861 7.3.2).

    `confirmed_s`: how many seconds ago the kernel last had proof that it is there.
    """

    address: str
    mac: str | None
    state: str
    router: bool
    confirmed_s: float | None = None


class Router(Frozen, frozen=True, kw_only=True):
    """A default router of this box; `advertised`: it made itself known by router advertisement."""

    address: str
    interface: str
    advertised: bool
    metric: int


class SourceTry(Frozen, frozen=True, kw_only=True):
    """A connect to the codec from another address of this box than the kernel's own choice."""

    source: str
    port: int
    result: str


class LinkEvidence(Frozen, frozen=True, kw_only=True, tag="link"):
    """What was found on the way to the codec after a port of it had failed.

    `gateway` is None when the codec is a neighbour; `source` is the kernel's choice of our own address, None without a route.
    `heard` answered the all-nodes echo, or refused a datagram, during this look; `untried` says why no echo could be sent, `echoed` whether the
    codec answered one. `elsewhere` are other interfaces on which the same address is a neighbour. `gateway4` is the state of the IPv4 router.
    `since_s`: how long ago the first packet of this run went to the codec; only what was confirmed since then is proof.
    """

    address: str
    interface: str | None
    gateway: str | None
    source: str | None
    carrier: bool | None
    own: tuple[OwnAddress, ...] = ()
    near: tuple[Near, ...] = ()
    heard: tuple[str, ...] = ()
    echoed: bool | None = None
    untried: str | None = None
    elsewhere: tuple[str, ...] = ()
    routers: tuple[Router, ...] = ()
    sources: tuple[SourceTry, ...] = ()
    gateway4: str | None = None
    gateway4_confirmed_s: float | None = None
    since_s: float = 0.0
    duration_s: float = 0.0
